"""What a receipt and a row of usage say, by name, in the order in which every form says it.

Rule 1: no I/O. Rule 2: what a customer does not see is left out here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bandari.domain.estimate import Basis
from bandari.domain.ledger import Receipt
from bandari.domain.reports import TIME_DIMENSIONS, Dimension, UsageRow
from bandari.domain.usage import Usage

Value = int | str | None
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def of_usage(usage: Usage) -> dict[str, int]:
    """Tokens by kind. ``input_tokens`` and ``output_tokens`` are whole, the others parts."""
    return {
        "input_tokens": usage.input_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "total_tokens": usage.total_tokens,
    }


def of_basis(basis: Basis | None) -> dict[str, Value]:
    """What an estimate goes by; ratios are in millionths of a token for each byte."""
    if basis is None:
        return dict.fromkeys(_BASIS)
    ratios = basis.ratios
    values = (basis.input_bytes, basis.images, basis.output_bytes, ratios.input, ratios.output)
    return dict(zip(_BASIS, values, strict=True))


_BASIS = ("input_bytes", "images", "output_bytes", "input_ratio", "output_ratio")


def of_receipt(receipt: Receipt, *, tells_target: bool = True) -> dict[str, Any]:
    """``usage`` and ``basis`` are objects in it. ``tells_target``: which provider has answered."""
    said: dict[str, Any] = {
        "id": receipt.id,
        "account": receipt.account,
        "key_id": receipt.key_id,
        "end_user": receipt.end_user,
        "model": receipt.model,
        "target": receipt.target,
        "asset": receipt.asset,
        "amount": receipt.amount,
        "overrun": receipt.overrun,
        "balance_after": receipt.balance_after,
        "rate_card_version": receipt.rate_card_version,
        "price_ratio": str(receipt.price_ratio),
        "usage": of_usage(receipt.usage),
        "repeated_tokens": receipt.repeated_tokens,
        "rule": receipt.rule.value,
        "basis": None if receipt.basis is None else of_basis(receipt.basis),
        "ending": receipt.ending.value,
        "finish_reason": receipt.finish_reason,
        "reasoning_effort": receipt.reasoning_effort,
        "created_ms": receipt.created_ms,
        "created": iso(receipt.created_ms),
        "ended_ms": receipt.ended_ms,
        "ended": iso(receipt.ended_ms),
    }
    if not tells_target:
        del said["target"]
    return said


def of_usage_row(row: UsageRow, by: Sequence[Dimension]) -> dict[str, Any]:
    """What it is told apart by, in that order, and then what it adds up to.

    ``end_user`` is empty for what was asked on nobody's behalf.
    """
    said: dict[str, Any] = {}
    for dimension in by:
        if dimension in TIME_DIMENSIONS:
            said["start_ms"] = row.start_ms
            said["start"] = None if row.start_ms is None else iso(row.start_ms)
        else:
            name = _NAMES[dimension]
            said[name] = getattr(row, name)
    return {
        **said,
        "asset": row.asset,
        "requests": row.requests,
        "amount": row.amount,
        "overrun": row.overrun,
        "usage": of_usage(row.usage),
    }


_NAMES = {
    Dimension.ACCOUNT: "account",
    Dimension.KEY: "key_id",
    Dimension.END_USER: "end_user",
    Dimension.MODEL: "model",
}


def iso(at_ms: int) -> str | None:
    """The moment in ISO 8601, to the millisecond, UTC. None beyond the year 9999."""
    try:
        at = _EPOCH + timedelta(milliseconds=at_ms)
    except OverflowError:
        return None
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
