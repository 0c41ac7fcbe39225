"""The port ``Reports`` in memory: receipts in a list, and usage added up when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from tests.support.gates import Gate

from bandari.domain.ledger import Ending, Receipt
from bandari.domain.reports import HOUR_MS, Dimension, Selection, UsageRow
from bandari.domain.usage import CountRule, Usage

ENDED_MS = 1_700_000_000_000
_SIZES = {Dimension.HOUR: HOUR_MS, Dimension.DAY: 24 * HOUR_MS, Dimension.MONTH: 720 * HOUR_MS}


def a_receipt(number: int = 1, **changes: Any) -> Receipt:
    fields: dict[str, Any] = {
        "id": f"receipt-{number}",
        "account": "amina",
        "key_id": 1,
        "model": "bandari-1",
        "target": "acme:acme-1",
        "asset": "TOKEN",
        "amount": 30,
        "overrun": 0,
        "balance_after": 970,
        "rate_card_version": 1,
        "usage": Usage(input_tokens=10, output_tokens=20),
        "rule": CountRule.REPORTED,
        "basis": None,
        "ending": Ending.COMPLETED,
        "created_ms": ENDED_MS - 500,
        "ended_ms": ENDED_MS + number,
    }
    return Receipt(**fields | changes)


class ReportsInMemory:
    """``asked`` counts pages. A gate holds every page up; ``failing`` is raised instead of one."""

    def __init__(self) -> None:
        self.booked: list[tuple[int, Receipt]] = []
        self.asked = 0
        self.gate: Gate | None = None
        self.failing: Exception | None = None

    def book(self, account_id: int, *receipts: Receipt) -> None:
        self.booked += [(account_id, receipt) for receipt in receipts]

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        for owner, receipt in self.booked:
            if receipt.id == receipt_id and account_id in (None, owner):
                return receipt
        return None

    # The port.

    async def receipts(
        self, selection: Selection, after: int, limit: int, last: int | None = None
    ) -> Sequence[tuple[int, Receipt]]:
        self.asked += 1
        if self.gate is not None:
            await self.gate.passing()
        if self.failing is not None:
            raise self.failing
        found = (
            (number, receipt)
            for number, (owner, receipt) in enumerate(islice(self.booked, after, last), after + 1)
            if _is_selected(selection, owner, receipt)
        )
        return list(islice(found, limit))

    async def last_number(self) -> int:
        return len(self.booked)

    async def usage(
        self, selection: Selection, by: Sequence[Dimension], limit: int
    ) -> Sequence[UsageRow]:
        sums: dict[tuple[object, ...], UsageRow] = {}
        for owner, receipt in self.booked:
            if not _is_selected(selection, owner, receipt):
                continue
            said = _said(receipt, by)
            row = sums.get((receipt.asset, *said.values()))
            sums[receipt.asset, *said.values()] = UsageRow(
                asset=receipt.asset,
                requests=1 + (row.requests if row else 0),
                usage=_plus(receipt.usage, row.usage if row else Usage()),
                amount=receipt.amount + (row.amount if row else 0),
                overrun=receipt.overrun + (row.overrun if row else 0),
                **said,
            )
        return list(sums.values())[:limit]


def _is_selected(selection: Selection, owner: int, receipt: Receipt) -> bool:
    return (
        selection.account_id in (None, owner)
        and selection.key_id in (None, receipt.key_id)
        and selection.end_user in (None, receipt.end_user)
        and selection.model in (None, receipt.model)
        and (selection.start_ms is None or receipt.ended_ms >= selection.start_ms)
        and (selection.end_ms is None or receipt.ended_ms < selection.end_ms)
    )


def _said(receipt: Receipt, by: Sequence[Dimension]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for dimension in by:
        if dimension in _SIZES:
            said["start_ms"] = receipt.ended_ms - receipt.ended_ms % _SIZES[dimension]
        else:
            name = "key_id" if dimension is Dimension.KEY else dimension.value
            said[name] = getattr(receipt, name) or ""
    return said


def _plus(one: Usage, other: Usage) -> Usage:
    return Usage(one.input_tokens + other.input_tokens, one.output_tokens + other.output_tokens)
