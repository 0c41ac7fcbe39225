"""The forms of an export, as a table: adding one is a row.

Rule 1: no I/O. An export is its head, then page after page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bandari.domain.ledger import Receipt
from bandari.domain.reports import Dimension, UsageRow
from bandari.wire.reports import bodies, tables


class Export(Struct, frozen=True):
    """How a list is spelled as a stream. ``suffix`` is that of a file's name."""

    media_type: str
    suffix: str
    receipts_head: bytes
    receipts: Callable[[Iterable[Receipt]], bytes]
    usage_head: Callable[[Sequence[Dimension]], bytes]
    usage: Callable[[Iterable[UsageRow], Sequence[Dimension]], bytes]


EXPORTS: Final = {
    "csv": Export(
        media_type="text/csv; charset=utf-8; header=present",
        suffix=".csv",
        receipts_head=tables.receipts_header(),
        receipts=tables.receipt_rows,
        usage_head=tables.usage_header,
        usage=tables.usage_rows,
    ),
    "jsonl": Export(
        media_type="application/x-ndjson",
        suffix=".jsonl",
        receipts_head=b"",
        receipts=bodies.receipt_lines,
        usage_head=lambda _by: b"",
        usage=bodies.usage_lines,
    ),
}
"""By the name that a client asks for one with."""

CUSTOMER_EXPORTS: Final = {
    "csv": replace(
        EXPORTS["csv"],
        receipts_head=tables.receipts_header(tells_target=False),
        receipts=partial(tables.receipt_rows, tells_target=False),
    ),
    "jsonl": replace(EXPORTS["jsonl"], receipts=partial(bodies.receipt_lines, tells_target=False)),
}
"""The same for customers, who are not told which provider has answered."""
