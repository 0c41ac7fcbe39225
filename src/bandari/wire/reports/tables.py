"""Receipts and usage as CSV (RFC 4180): UTF-8, a header row, CRLF after every row.

Rule 1: no I/O.
Rule 2: a text that a spreadsheet would take for a formula (it begins with ``=``, ``+``, ``-`` or
``@``, in full width too, or with a tab or a line's end) gets a quote before it, as OWASP advises:
clients choose the names of their end users. Numbers stay as they are, and JSON Lines has every text
as it is.
Rule 3: what is not there is an empty field. What is an object in JSON is several columns here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bandari.domain.ledger import Receipt
from bandari.domain.reports import TIME_DIMENSIONS, Dimension, UsageRow
from bandari.domain.usage import Usage
from bandari.wire.reports.fields import of_basis, of_receipt, of_usage, of_usage_row

_FORMULA = (*"=+-@\uff1d\uff0b\uff0d\uff20", "\t", "\r", "\n")
_QUOTED = frozenset('",\r\n')
_USAGE = tuple(of_usage(Usage()))
_BASIS = tuple(of_basis(None))
_RECEIPT = (
    *("id", "account", "key_id", "end_user", "model", "target", "asset", "amount", "overrun"),
    *("balance_after", "rate_card_version", "price_ratio", *_USAGE, "repeated_tokens", "rule"),
    *(*_BASIS, "ending"),
    *("finish_reason", "reasoning_effort", "created_ms", "created", "ended_ms", "ended"),
)
_ADDED_UP = ("asset", "requests", "amount", "overrun", *_USAGE)


def receipts_header(*, tells_target: bool = True) -> bytes:
    return _row(_receipt_columns(tells_target))


def receipt_rows(receipts: Iterable[Receipt], *, tells_target: bool = True) -> bytes:
    columns = _receipt_columns(tells_target)
    rows = []
    for receipt in receipts:
        said = of_receipt(receipt, tells_target=tells_target)
        said |= said["usage"] | of_basis(receipt.basis)
        rows.append(_row([said[column] for column in columns]))
    return b"".join(rows)


def usage_header(by: Sequence[Dimension]) -> bytes:
    return _row(_usage_columns(by))


def usage_rows(rows: Iterable[UsageRow], by: Sequence[Dimension]) -> bytes:
    columns = _usage_columns(by)
    spelled = []
    for row in rows:
        said = of_usage_row(row, by)
        said |= said["usage"]
        spelled.append(_row([said[column] for column in columns]))
    return b"".join(spelled)


def _receipt_columns(tells_target: bool) -> Sequence[str]:
    return [column for column in _RECEIPT if tells_target or column != "target"]


def _usage_columns(by: Sequence[Dimension]) -> Sequence[str]:
    columns: list[str] = []
    for dimension in by:
        if dimension in TIME_DIMENSIONS:
            columns += ("start_ms", "start")
        else:
            columns.append("key_id" if dimension is Dimension.KEY else dimension.value)
    return (*columns, *_ADDED_UP)


def _row(values: Iterable[Any]) -> bytes:
    return ",".join(map(_field, values)).encode() + b"\r\n"


def _field(value: int | str | None) -> str:
    if value is None:
        return ""
    if isinstance(value, int):
        return str(value)
    text = f"'{value}" if value.startswith(_FORMULA) else value
    if _QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
