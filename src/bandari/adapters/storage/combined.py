"""PostgreSQL's own form of placing and posting: one statement each, because its CTEs may write.

There every statement is a message there and back, and the two have seven beside BEGIN and COMMIT
(``HotStatements``). These do the same, and the same tests hold them. All CTEs of a statement see
the database as it was before; one that finds no row leaves the next nothing to do.
"""
# ruff: noqa: S608 - what is filled in are names of our own columns

from __future__ import annotations

from typing import Any

from bandari.adapters.storage.rows import basis_row, count_row, usage_row
from bandari.adapters.storage.statements import BASIS, COUNT, USAGE
from bandari.domain.ledger import Charge, Hold, Line, TransactionKind

_HOLD = ("amount", "epoch", "key_id", "rate_card_id", "model", "created_ms", "end_user", *COUNT)
_TEXTS = frozenset({"id", "model", "end_user", "rule", "target", "ending"})
_TEXTS |= {"finish_reason", "reasoning_effort"}
_CHARGE = (*USAGE, "rule", "ending", "ended_ms", "target", "finish_reason", "reasoning_effort")


def _given(*names: str) -> str:
    """Parameters by name, with their types: in a SELECT, PostgreSQL cannot infer them."""
    return ", ".join(f"%({name})s::{'text' if name in _TEXTS else 'bigint'}" for name in names)


PLACE = f"""
WITH reserved AS (
    UPDATE wallets SET held = held + %(amount)s
    WHERE account_id = %(account_id)s AND asset = %(asset)s AND balance - held >= %(amount)s
    RETURNING id, balance, held
), placed AS (
    INSERT INTO holds (id, wallet_id, {", ".join(_HOLD)})
    SELECT {_given("id")}, reserved.id, {_given(*_HOLD)} FROM reserved
)
SELECT id, balance, held FROM reserved
"""
"""The wallet right after, if it had as much free. For ``place_parameters``."""

POST = f"""
WITH ended AS (
    DELETE FROM holds WHERE id = %(id)s
    RETURNING wallet_id, amount, key_id, rate_card_id, model, created_ms, end_user
), taken AS (
    UPDATE wallets SET balance = balance - %(amount)s, held = held - ended.amount FROM ended
    WHERE wallets.id = ended.wallet_id AND balance - held + ended.amount >= %(amount)s
    RETURNING wallets.id, account_id, asset, balance
), entered AS (
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
        id, transaction_id, wallet_id, key_id, rate_card_id, model, created_ms, end_user,
        amount, overrun, balance_after, {", ".join((*_CHARGE, *BASIS))}
    )
    SELECT
        {_given("id")}, entered.id, taken.id, key_id, rate_card_id, model, created_ms, end_user,
        {_given("amount")}, 0, balance, {_given(*_CHARGE, *BASIS)}
    FROM ended, taken, entered
)
SELECT
    wallet_id, amount, key_id, rate_card_id, model, created_ms, end_user,
    (SELECT version FROM rate_cards WHERE id = ended.rate_card_id),
    taken.asset, taken.balance, (SELECT name FROM accounts WHERE id = taken.account_id)
FROM ended LEFT JOIN taken ON true
"""
"""The hold that ended, and the wallet right after. No asset: the wallet does not cover the charge,
and nothing was done but to end the hold. For ``post_parameters``.
"""


def place_parameters(hold: Hold) -> dict[str, Any]:
    return {
        "id": hold.id,
        "account_id": hold.account_id,
        "asset": hold.asset,
        "amount": hold.amount,
        "epoch": hold.epoch,
        "key_id": hold.key_id,
        "rate_card_id": hold.rate_card_id,
        "model": hold.model,
        "created_ms": hold.created_ms,
        "end_user": hold.end_user,
        **dict(zip(COUNT, count_row(hold.counted), strict=True)),
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
        **dict(zip(BASIS, basis_row(count.basis), strict=True)),
    }
