"""Counts, price ratios and receipts as rows: the values of the columns that ``statements`` names,
in its order; and back.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from bandari.adapters.storage.database import Row
from bandari.adapters.storage.statements import BASIS, COUNT
from bandari.domain.estimate import Basis, Ratios
from bandari.domain.ledger import Charge, Count, Ending, Receipt
from bandari.domain.pricing import FULL_PRICE, PriceRatio
from bandari.domain.usage import CountRule, Usage


class Ended(Struct, frozen=True, array_like=True):
    """A hold that has just ended: what its receipt needs to know of it."""

    wallet_id: int
    amount: int
    key_id: int
    rate_card_id: int
    model: str
    created_ms: int
    end_user: str | None
    ratio_numerator: int
    ratio_denominator: int
    rate_card_version: int


_NOT_COUNTED = (None,) * len(COUNT)
_NO_BASIS = (None,) * len(BASIS)


def count_row(count: Count | None) -> tuple[int | str | None, ...]:
    if count is None:
        return _NOT_COUNTED
    return (*usage_row(count.usage), count.rule.value, *basis_row(count.basis))


def usage_row(usage: Usage) -> tuple[int, ...]:
    return (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )


def basis_row(basis: Basis | None) -> tuple[int | None, ...]:
    if basis is None:
        return _NO_BASIS
    ratios = basis.ratios
    return (basis.input_bytes, basis.images, basis.output_bytes, ratios.input, ratios.output)


def ratio_row(ratio: PriceRatio) -> tuple[int, int]:
    return (ratio.numerator, ratio.denominator)


def ratio_read(numerator: int, denominator: int) -> PriceRatio:
    # Nearly all are this one, and to make another checks it.
    return FULL_PRICE if numerator == denominator else PriceRatio(numerator, denominator)


def basis_read(row: Row) -> Basis | None:
    if row[0] is None:
        return None
    input_bytes, images, output_bytes, input_ratio, output_ratio = row
    return Basis(input_bytes, images, output_bytes, Ratios(input_ratio, output_ratio))


def receipt_read(row: Row) -> Receipt:
    """The receipt of a row whose first columns are those of ``statements.read_receipts``."""
    fields: list[Any] = [
        *row[:10],
        Usage(*row[10:15]),
        CountRule(row[15]),
        basis_read(row[16:21]),
        Ending(row[21]),
        *row[22:27],
        ratio_read(row[27], row[28]),
        row[29],
    ]
    return Receipt(*fields)


def receipt_of(
    charge: Charge, ended: Ended, asset: str, taken: int, balance: int, account: str
) -> Receipt:
    """The receipt of a charge of which the wallet paid ``taken``, and has ``balance`` left."""
    count = charge.count
    return Receipt(
        charge.hold_id,
        account,
        ended.key_id,
        ended.model,
        charge.target,
        asset,
        taken,
        charge.amount - taken,
        balance,
        ended.rate_card_version,
        count.usage,
        count.rule,
        count.basis,
        charge.ending,
        ended.created_ms,
        charge.ended_ms,
        ended.end_user,
        charge.finish_reason,
        charge.reasoning_effort,
        ratio_read(ended.ratio_numerator, ended.ratio_denominator),
        charge.repeated_tokens,
    )


def receipt_row(
    receipt: Receipt, transaction_id: int, wallet_id: int, rate_card_id: int
) -> tuple[int | str | None, ...]:
    """The values of the columns that ``statements.RECEIPT`` names, in its order."""
    return (
        receipt.id,
        transaction_id,
        wallet_id,
        receipt.key_id,
        rate_card_id,
        receipt.model,
        receipt.target,
        receipt.amount,
        receipt.overrun,
        receipt.balance_after,
        *usage_row(receipt.usage),
        receipt.rule.value,
        receipt.ending.value,
        receipt.created_ms,
        receipt.ended_ms,
        receipt.end_user,
        receipt.finish_reason,
        receipt.reasoning_effort,
        *basis_row(receipt.basis),
        *ratio_row(receipt.price_ratio),
        receipt.repeated_tokens,
    )
