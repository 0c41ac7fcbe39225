"""PostgreSQL's own form of placing and posting: one statement each, because its CTEs may write.

There every statement is a message there and back, and step by step the two would have seven beside
BEGIN and COMMIT. All CTEs of a statement see the database as it was before; one that finds no row
leaves the next nothing to do. The same tests hold this and SQLite's form (``gathered.py``).

Other servers write at the same time, so every guard is part of the statement that relies on it.
"""
# ruff: noqa: S608 - what is filled in are names of our own columns

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ScalarSelect, select, update
from sqlalchemy.engine import Dialect

from bandari.adapters.storage.database import Connection, Outright, Written
from bandari.adapters.storage.rows import (
    Ended,
    basis_row,
    count_row,
    ratio_row,
    receipt_of,
    receipt_row,
    usage_row,
)
from bandari.adapters.storage.schema import Int64, accounts, receipts, wallets
from bandari.adapters.storage.statements import (
    BASIS,
    COUNT,
    RATIO,
    RECEIPT,
    USAGE,
    HotStatements,
    compiled,
    compiled_insert,
    given,
)
from bandari.domain.ledger import Charge, Hold, Line, Receipt, TransactionKind, Wallet
from bandari.service.ports import Placement

_HOLD = (
    *("amount", "epoch", "key_id", "rate_card_id", "model", "created_ms", "end_user"),
    *COUNT,
    *RATIO,
)
_TEXTS = frozenset({"id", "model", "end_user", "rule", "target", "ending"})
_TEXTS |= {"finish_reason", "reasoning_effort"}
_CHARGE = (
    *USAGE,
    *("rule", "ending", "ended_ms", "target", "finish_reason", "reasoning_effort"),
    "repeated_tokens",
)


def _given(*names: str) -> str:
    """Parameters by name, with their types: in a SELECT, PostgreSQL cannot infer them."""
    return ", ".join(f"%({name})s::{'text' if name in _TEXTS else 'bigint'}" for name in names)


def _named(*names: str) -> str:
    return ", ".join(f"{_given(name)} AS {name}" for name in names)


PLACE = f"""
WITH reserved AS (
    UPDATE wallets SET held = held + %(amount)s
    WHERE account_id = %(account_id)s AND end_user = %(sub_wallet)s AND asset = %(asset)s
        AND balance - held >= %(amount)s
    RETURNING id, balance, held
), placed AS (
    INSERT INTO holds (id, wallet_id, {", ".join(_HOLD)})
    SELECT {_given("id")}, reserved.id, {_given(*_HOLD)} FROM reserved
)
SELECT id, balance, held FROM reserved
"""
"""The wallet right after, if it had as much free. For ``place_parameters``."""

_ENDED = (
    *("key_id", "rate_card_id", "model", "created_ms", "end_user"),
    *RATIO,
)
_ENTER = f"""
entered AS (
    INSERT INTO transactions (kind, created_ms)
    SELECT '{TransactionKind.CHARGE.value}', {_given("ended_ms")} FROM taken
    RETURNING id
), posted AS (
    INSERT INTO postings (transaction_id, position, asset, amount, wallet_id, line)
    SELECT entered.id, side.position, asset, side.amount, side.wallet_id, side.line
    FROM entered, taken, LATERAL (VALUES
        (0, -%(amount)s::bigint, taken.id, NULL),
        (1, %(amount)s::bigint, NULL, '{Line.REVENUE.value}')
    ) AS side (position, amount, wallet_id, line)
    WHERE side.amount <> 0
), receipted AS (
    INSERT INTO receipts (
        id, transaction_id, wallet_id, {", ".join(_ENDED)},
        amount, overrun, balance_after, {", ".join((*_CHARGE, *BASIS))}
    )
    SELECT
        {_given("id")}, entered.id, taken.id, {", ".join(_ENDED)},
        {_given("amount")}, 0, balance, {_given(*_CHARGE, *BASIS)}
    FROM ended, taken, entered
)
SELECT
    wallet_id, amount, {", ".join(_ENDED)},
    (SELECT version FROM rate_cards WHERE id = ended.rate_card_id),
    taken.asset, taken.balance, (SELECT name FROM accounts WHERE id = taken.account_id)
"""
"""What follows once the charge is ``taken`` from its wallet, for a hold that has ``ended``."""

POST = f"""
WITH ended AS (
    DELETE FROM holds WHERE id = %(id)s
    RETURNING wallet_id, amount, {", ".join(_ENDED)}
), taken AS (
    UPDATE wallets SET balance = balance - %(amount)s, held = held - ended.amount FROM ended
    WHERE wallets.id = ended.wallet_id AND balance - held + ended.amount >= %(amount)s
    RETURNING wallets.id, account_id, asset, balance
), {_ENTER}
FROM ended LEFT JOIN taken ON true
"""
"""The hold that ended, and the wallet right after. No asset: the wallet does not cover the charge,
and nothing was done but to end the hold. For ``post_parameters``.
"""

CHARGE = f"""
WITH taken AS (
    UPDATE wallets SET balance = balance - %(amount)s
    WHERE account_id = %(account_id)s AND end_user = %(sub_wallet)s AND asset = %(asset)s
        AND balance - held >= %(amount)s
        AND NOT EXISTS (SELECT FROM receipts WHERE receipts.id = %(id)s)
    RETURNING id, account_id, asset, balance
), ended AS (
    SELECT taken.id AS wallet_id, {_given("amount")} AS amount, {_named(*_ENDED)} FROM taken
), {_ENTER}
FROM ended, taken
"""
"""As ``POST`` says it, if the wallet has as much free and this was not charged before. For
``place_parameters`` and ``post_parameters``.
"""


class _Charged(NamedTuple):
    """A wallet right after its charge; ``taken`` is what it paid."""

    asset: str
    taken: int
    balance: int
    account: str


def _account_name() -> ScalarSelect[str]:
    """The name of a wallet's account, for a RETURNING clause (which cannot join)."""
    return (
        select(accounts.c.name)
        .where(accounts.c.id == wallets.c.account_id)
        .correlate(wallets)
        .scalar_subquery()
    )


class CombinedEntries:
    """``database.Entries`` on PostgreSQL."""

    def __init__(self, dialect: Dialect) -> None:
        self._hot = HotStatements(dialect)
        self._wallet = compiled(
            dialect,
            select(wallets.c.id, wallets.c.balance, wallets.c.held).where(
                wallets.c.account_id == given("account_id"),
                wallets.c.end_user == given("sub_wallet"),
                wallets.c.asset == given("asset"),
            ),
            *("account_id", "sub_wallet", "asset"),
        )
        free = wallets.c.balance - wallets.c.held
        self._take_charge = compiled(
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
            .returning(wallets.c.asset, wallets.c.balance, _account_name()),
            *("amount", "held", "wallet_id", "held", "amount"),
        )
        self._free_of_wallet = compiled(
            dialect,
            select(free).where(wallets.c.id == given("wallet_id")).with_for_update(key_share=True),
            "wallet_id",
        )
        self._was_charged = compiled(
            dialect, select(receipts.c.id).where(receipts.c.id == given("id")), "id"
        )
        self._insert_receipt = compiled_insert(dialect, receipts, *RECEIPT)

    def write(
        self,
        connection: Connection,
        charges: Sequence[Charge],
        outright: Sequence[Outright],
        holds: Sequence[Hold],
    ) -> Written:
        posted = [self._post(connection, charge) for charge in charges]
        charged = [self._charge(connection, one.hold, one.charge) for one in outright]
        return posted, charged, [self._place(connection, hold) for hold in holds]

    def _place(self, connection: Connection, hold: Hold) -> Placement:
        row = connection.cursor.execute(PLACE, place_parameters(hold)).fetchone()
        return self._refusal(connection, hold) if row is None else _placement(True, hold, *row)

    def _refusal(self, connection: Connection, hold: Hold) -> Placement:
        """With the wallet as it is, if there is one."""
        whose = (hold.account_id, hold.sub_wallet, hold.asset)
        row = connection.cursor.execute(self._wallet, whose).fetchone()
        return Placement(False, None) if row is None else _placement(False, hold, *row)

    def _charge(
        self, connection: Connection, hold: Hold, charge: Charge
    ) -> Receipt | Placement | None:
        execute = connection.cursor.execute
        row = execute(CHARGE, place_parameters(hold) | post_parameters(charge)).fetchone()
        if row is not None:
            asset, balance, account = row[10:]
            return receipt_of(charge, Ended(*row[:10]), asset, charge.amount, balance, account)
        if execute(self._was_charged, (hold.id,)).fetchone() is not None:
            return None
        return self._refusal(connection, hold)

    def _post(self, connection: Connection, charge: Charge) -> Receipt | None:
        row = connection.cursor.execute(POST, post_parameters(charge)).fetchone()
        if row is None:
            return None
        ended = Ended(*row[:10])
        asset, balance, account = row[10:]
        if asset is None:
            return self._post_overrun(connection, charge, ended)
        return receipt_of(charge, ended, asset, charge.amount, balance, account)

    def _post_overrun(self, connection: Connection, charge: Charge, ended: Ended) -> Receipt:
        """Charge the wallet of a hold that has ended, and did not cover the charge."""
        cursor = connection.cursor
        charged = self._take(connection, charge.amount, ended)
        if charged is None:
            # More than the hold and all that is free: take that, and book the rest to overruns.
            (free,) = cursor.execute(self._free_of_wallet, (ended.wallet_id,)).fetchone()
            charged = self._take(connection, ended.amount + free, ended)
            assert charged is not None, "the wallet is locked now"
        asset, taken, balance, account = charged
        receipt = receipt_of(charge, ended, asset, taken, balance, account)
        (number,) = cursor.execute(
            self._hot.insert_transaction,
            (TransactionKind.CHARGE.value, None, None, charge.ended_ms),
        ).fetchone()
        postings = (
            (number, 0, asset, -taken, ended.wallet_id, None),
            (number, 1, asset, charge.amount, None, Line.REVENUE.value),
            (number, 2, asset, -receipt.overrun, None, Line.OVERRUNS.value),
        )
        cursor.executemany(
            self._hot.insert_posting, [posting for posting in postings if posting[3]]
        )
        cursor.execute(
            self._insert_receipt,
            receipt_row(receipt, number, ended.wallet_id, ended.rate_card_id),
        )
        return receipt

    def _take(self, connection: Connection, taken: int, ended: Ended) -> _Charged | None:
        """Take the charge from the wallet, and what was held for it, if it has as much free."""
        held, wallet_id = ended.amount, ended.wallet_id
        row = connection.cursor.execute(
            self._take_charge, (taken, held, wallet_id, held, taken)
        ).fetchone()
        return None if row is None else _Charged(row[0], taken, row[1], row[2])


def _placement(placed: bool, hold: Hold, wallet_id: int, balance: int, held: int) -> Placement:
    wallet = Wallet(wallet_id, hold.account_id, hold.asset, balance, held, hold.sub_wallet)
    return Placement(placed, wallet)


def place_parameters(hold: Hold) -> dict[str, Any]:
    return {
        "id": hold.id,
        "account_id": hold.account_id,
        "sub_wallet": hold.sub_wallet,
        "asset": hold.asset,
        "amount": hold.amount,
        "epoch": hold.epoch,
        "key_id": hold.key_id,
        "rate_card_id": hold.rate_card_id,
        "model": hold.model,
        "created_ms": hold.created_ms,
        "end_user": hold.end_user,
        **dict(zip(COUNT, count_row(hold.counted), strict=True)),
        **dict(zip(RATIO, ratio_row(hold.price_ratio), strict=True)),
    }


def post_parameters(charge: Charge) -> dict[str, Any]:
    count = charge.count
    return {
        "id": charge.hold_id,
        "amount": charge.amount,
        **dict(zip(USAGE, usage_row(count.usage), strict=True)),
        "rule": count.rule.value,
        "ending": charge.ending.value,
        "ended_ms": charge.ended_ms,
        "target": charge.target,
        "finish_reason": charge.finish_reason,
        "reasoning_effort": charge.reasoning_effort,
        "repeated_tokens": charge.repeated_tokens,
        **dict(zip(BASIS, basis_row(count.basis), strict=True)),
    }
