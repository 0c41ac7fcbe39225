"""SQL, written once in SQLAlchemy Core and compiled once to text for the driver's own cursor.

Executing through SQLAlchemy costs more than SQLite itself does; compiled text with positional
parameters costs nothing. The order of a statement's parameters is written beside it and checked
when it is compiled, so it cannot drift from the SQL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import Executable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from bandari.adapters.storage.schema import (
    Int64,
    accounts,
    holds,
    postings,
    rate_cards,
    receipts,
    transactions,
    wallets,
)

_MARK = "given_"


def given(name: str, kind: TypeEngine[Any] | None = None) -> BindParameter[Any]:
    """A parameter. Its name is marked because SQLAlchemy keeps the columns' names for itself."""
    return bindparam(_MARK + name, type_=kind)


def constant(value: int | str) -> ColumnElement[Any]:
    """A value that is part of the SQL text, not a parameter."""
    if isinstance(value, int):
        return literal_column(str(value))
    if not value.replace("_", "").isalnum():
        raise ValueError("a constant in SQL is a number or a plain word")
    return literal_column(f"'{value}'")


def first(statement: Select[Any], count: ColumnElement[int]) -> Select[Any]:
    """The first rows of an answer. (Without an offset, SQLite is given a parameter for 0.)"""
    return statement.limit(count).offset(constant(0))


def compiled(dialect: Dialect, statement: Executable, *names: str) -> str:
    """The statement's SQL, whose positional parameters are ``names``, in this order."""
    compiler = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    assert isinstance(compiler, SQLCompiler)
    found = tuple(name.removeprefix(_MARK) for name in compiler.positiontup or ())
    if found != names:
        raise AssertionError(f"the parameters are {found}, not {names}: {compiler}")
    return str(compiler)


def compiled_insert(dialect: Dialect, table: Table, *names: str) -> str:
    """The SQL that inserts one row of these columns."""
    compiler = insert(table).compile(dialect=dialect, column_keys=list(names))
    assert isinstance(compiler, SQLCompiler)
    if tuple(compiler.positiontup or ()) != names:
        raise AssertionError(f"the parameters are {compiler.positiontup}, not {names}")
    return str(compiler)


USAGE = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
"""The columns of a usage, in the order of ``Usage``."""

BASIS = ("input_bytes", "images", "output_bytes", "input_ratio", "output_ratio")
"""The columns of what an estimate goes by, in the order of ``Basis`` and its ``Ratios``."""

COUNT = (*USAGE, "rule", *BASIS)
"""The columns of a count, on a hold and on a receipt."""

RATIO = ("ratio_numerator", "ratio_denominator")
"""The columns of a price ratio, in the order of ``PriceRatio``."""

RECEIPT = (
    *("id", "transaction_id", "wallet_id", "key_id", "rate_card_id", "model", "target"),
    *("amount", "overrun", "balance_after"),
    *USAGE,
    *("rule", "ending", "created_ms", "ended_ms", "end_user", "finish_reason", "reasoning_effort"),
    *BASIS,
    *RATIO,
    "repeated_tokens",
)
"""The columns of a receipt, in the order of ``rows.receipt_row``."""


def read_receipts() -> Select[Any]:
    """All receipts, each with the columns that ``rows.receipt_read`` takes, in its order."""
    return select(
        receipts.c.id,
        accounts.c.name,
        receipts.c.key_id,
        receipts.c.model,
        receipts.c.target,
        wallets.c.asset,
        receipts.c.amount,
        receipts.c.overrun,
        receipts.c.balance_after,
        rate_cards.c.version,
        *(receipts.c[name] for name in COUNT),
        receipts.c.ending,
        receipts.c.created_ms,
        receipts.c.ended_ms,
        receipts.c.end_user,
        receipts.c.finish_reason,
        receipts.c.reasoning_effort,
        *(receipts.c[name] for name in RATIO),
        receipts.c.repeated_tokens,
    ).select_from(
        receipts.join(wallets, wallets.c.id == receipts.c.wallet_id)
        .join(accounts, accounts.c.id == wallets.c.account_id)
        .join(rate_cards, rate_cards.c.id == receipts.c.rate_card_id)
    )


class HotStatements:
    """The statements that every answer passes through, as text for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        free = wallets.c.balance - wallets.c.held

        # Extending one.
        self.free_of_hold = compiled(
            dialect,
            select(wallets.c.id, free)
            .select_from(holds.join(wallets, wallets.c.id == holds.c.wallet_id))
            .where(holds.c.id == given("id"))
            .with_for_update(of=wallets, key_share=True),
            "id",
        )
        self.enlarge_reserve = compiled(
            dialect,
            update(wallets)
            .values(held=wallets.c.held + given("amount", Int64))
            .where(wallets.c.id == given("wallet_id")),
            *("amount", "wallet_id"),
        )
        self.enlarge_hold = compiled(
            dialect,
            update(holds)
            .values(amount=holds.c.amount + given("amount", Int64))
            .where(holds.c.id == given("id")),
            *("amount", "id"),
        )

        # Running counts.
        self.count = compiled(
            dialect,
            update(holds)
            .values({holds.c[name]: given(name, holds.c[name].type) for name in COUNT})
            .where(holds.c.id == given("id")),
            *COUNT,
            "id",
        )

        # Ending one: whoever deletes the row has the right to end it, and nobody else does.
        self.end_hold = compiled(
            dialect,
            delete(holds)
            .where(holds.c.id == given("id"))
            .returning(holds.c.wallet_id, holds.c.amount),
            "id",
        )
        self.release = compiled(
            dialect,
            update(wallets)
            .values(held=wallets.c.held - given("held", Int64))
            .where(wallets.c.id == given("wallet_id")),
            *("held", "wallet_id"),
        )
        self.insert_transaction = compiled(
            dialect,
            insert(transactions)
            .values(
                kind=given("kind"),
                who=given("who"),
                why=given("why"),
                created_ms=given("created_ms"),
            )
            .returning(transactions.c.id),
            *("kind", "who", "why", "created_ms"),
        )
        self.insert_posting = compiled_insert(
            dialect,
            postings,
            *("transaction_id", "position", "asset", "amount", "wallet_id", "line"),
        )
