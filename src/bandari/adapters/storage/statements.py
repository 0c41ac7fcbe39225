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
    ScalarSelect,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    literal_column,
    null,
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
from bandari.domain.ledger import Line

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


def account_name() -> ScalarSelect[str]:
    """The name of a wallet's account, for a RETURNING clause (which cannot join)."""
    return (
        select(accounts.c.name)
        .where(accounts.c.id == wallets.c.account_id)
        .correlate(wallets)
        .scalar_subquery()
    )


def rate_card_version() -> ScalarSelect[int]:
    """The version of a hold's rate card, for a RETURNING clause."""
    return (
        select(rate_cards.c.version)
        .where(rate_cards.c.id == holds.c.rate_card_id)
        .correlate(holds)
        .scalar_subquery()
    )


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


class HotStatements:
    """The statements that every answer passes through, as text for one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        free = wallets.c.balance - wallets.c.held

        # Placing a hold: the guard is part of the update, so two processes cannot both pass it.
        self.reserve = compiled(
            dialect,
            update(wallets)
            .values(held=wallets.c.held + given("amount", Int64))
            .where(
                wallets.c.account_id == given("account_id"),
                wallets.c.asset == given("asset"),
                free >= given("amount", Int64),
            )
            .returning(wallets.c.id, wallets.c.balance, wallets.c.held),
            *("amount", "account_id", "asset", "amount"),
        )
        self.insert_hold = compiled_insert(
            dialect,
            holds,
            *("id", "wallet_id", "amount", "epoch", "key_id", "rate_card_id", "model"),
            *("created_ms", "end_user"),
            *COUNT,
        )

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
            .returning(
                holds.c.wallet_id,
                holds.c.amount,
                holds.c.key_id,
                holds.c.rate_card_id,
                holds.c.model,
                holds.c.created_ms,
                holds.c.end_user,
                rate_card_version(),
            ),
            "id",
        )
        self.release = compiled(
            dialect,
            update(wallets)
            .values(held=wallets.c.held - given("held", Int64))
            .where(wallets.c.id == given("wallet_id")),
            *("held", "wallet_id"),
        )
        self.take_charge = compiled(
            dialect,
            update(wallets)
            .values(
                balance=wallets.c.balance - given("amount", Int64),
                held=wallets.c.held - given("held", Int64),
            )
            .where(
                wallets.c.id == given("wallet_id"),
                free + given("held", Int64) >= given("amount", Int64),
            )
            .returning(wallets.c.asset, wallets.c.balance, account_name()),
            *("amount", "held", "wallet_id", "held", "amount"),
        )
        self.free_of_wallet = compiled(
            dialect,
            select(free).where(wallets.c.id == given("wallet_id")).with_for_update(key_share=True),
            "wallet_id",
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
        # A charge that the wallet covers has just these two postings, in one statement.
        self.insert_charge = compiled(
            dialect,
            insert(postings).values(
                [
                    {
                        "transaction_id": given("transaction_id", Int64),
                        "position": constant(0),
                        "asset": given("asset", postings.c.asset.type),
                        "amount": given("taken", Int64),
                        "wallet_id": given("wallet_id", Int64),
                        "line": null(),
                    },
                    {
                        "transaction_id": given("transaction_id", Int64),
                        "position": constant(1),
                        "asset": given("asset", postings.c.asset.type),
                        "amount": given("earned", Int64),
                        "wallet_id": null(),
                        "line": constant(Line.REVENUE.value),
                    },
                ]
            ),
            *("transaction_id", "asset", "taken", "wallet_id"),
            *("transaction_id", "asset", "earned"),
        )
        self.insert_posting = compiled_insert(
            dialect,
            postings,
            *("transaction_id", "position", "asset", "amount", "wallet_id", "line"),
        )
        self.insert_receipt = compiled_insert(
            dialect,
            receipts,
            *("id", "transaction_id", "wallet_id", "key_id", "rate_card_id", "model", "target"),
            *("amount", "overrun", "balance_after"),
            *USAGE,
            *("rule", "ending", "created_ms", "ended_ms"),
            *("end_user", "finish_reason", "reasoning_effort"),
            *BASIS,
        )
