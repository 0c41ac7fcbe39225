"""Receipts and usage as JSON: one object, a page of a list, and a line for each.

Rule 1: no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bandari.domain.ledger import Receipt
from bandari.domain.reports import Dimension, UsageRow
from bandari.wire.reports.fields import of_receipt, of_usage_row

_encoder = msgspec.json.Encoder()


def receipt_body(receipt: Receipt, *, tells_target: bool = True) -> bytes:
    """One receipt as an object."""
    return _encoder.encode({"object": "receipt", **of_receipt(receipt, tells_target=tells_target)})


def receipts_body(
    receipts: Iterable[Receipt], next_after: int | None, *, tells_target: bool = True
) -> bytes:
    """A page. ``next`` is the cursor (``after``) of what lies behind it, null at the end."""
    data = [of_receipt(receipt, tells_target=tells_target) for receipt in receipts]
    return _encoder.encode({"object": "list", "data": data, "next": next_after})


def usage_body(rows: Iterable[UsageRow], by: Sequence[Dimension]) -> bytes:
    """All rows, with what they are told apart by."""
    data = [of_usage_row(row, by) for row in rows]
    return _encoder.encode({"object": "list", "by": list(by), "data": data})


def receipt_lines(receipts: Iterable[Receipt], *, tells_target: bool = True) -> bytes:
    """A line for each, ending with a line feed."""
    return _encoder.encode_lines(
        [of_receipt(receipt, tells_target=tells_target) for receipt in receipts]
    )


def usage_lines(rows: Iterable[UsageRow], by: Sequence[Dimension]) -> bytes:
    """A line for each, ending with a line feed."""
    return _encoder.encode_lines([of_usage_row(row, by) for row in rows])
