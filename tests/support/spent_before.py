"""What the port ``Reports`` tells limits: what was used before, and what is in a test's books.

``failing`` are raised, one a call. ``held_up`` gives a ``Gate`` that the next call passes after it
has looked and before it answers, or, where that is ``early``, before it looks.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.support.books_in_memory import BooksInMemory
from tests.support.gates import Gate

from bandari.domain.allowance import Subject
from bandari.domain.ledger import Receipt
from bandari.domain.reports import HOUR_MS, Spent


class SpentBefore:
    def __init__(self, *hours: Spent, books: BooksInMemory | None = None) -> None:
        self.hours = list(hours)
        self.books = books
        self.asked: list[tuple[Subject, tuple[int | str, ...], int]] = []
        self.failing: list[BaseException] = []
        self._gate: Gate | None = None
        self._early = False

    def held_up(self, *, early: bool = False) -> Gate:
        self._gate, self._early = Gate(), early
        return self._gate

    async def spent(
        self, subject: Subject, identity: tuple[int | str, ...], since_ms: int
    ) -> Sequence[Spent]:
        self.asked.append((subject, identity, since_ms))
        if self.failing:
            raise self.failing.pop(0)
        gate, self._gate = self._gate, None
        if gate is not None and self._early:
            await gate.passing()
        found = self._found(subject, identity)
        if gate is not None and not self._early:
            await gate.passing()
        return [hour for hour in found if hour.hour_ms >= since_ms]

    def _found(self, subject: Subject, identity: tuple[int | str, ...]) -> list[Spent]:
        hours = {hour.hour_ms: hour for hour in self.hours}
        receipts = self.books.receipts.values() if self.books is not None else ()
        for receipt in receipts:
            if _is_of(receipt, subject, identity):
                hour_ms = receipt.ended_ms // HOUR_MS * HOUR_MS
                hours[hour_ms] = _plus(hours.get(hour_ms) or Spent(hour_ms, 0, 0, {}), receipt)
        return [hour for _, hour in sorted(hours.items())]


def _is_of(receipt: Receipt, subject: Subject, identity: tuple[int | str, ...]) -> bool:
    if subject is Subject.END_USER:
        return receipt.end_user == identity[-1]
    what = {Subject.KEY: receipt.key_id, Subject.MODEL: receipt.model}
    return what.get(subject, identity[0]) == identity[0]


def _plus(hour: Spent, receipt: Receipt) -> Spent:
    amounts = dict(hour.amounts)
    amounts[receipt.asset] = amounts.get(receipt.asset, 0) + receipt.amount
    return Spent(hour.hour_ms, hour.requests + 1, hour.tokens + receipt.usage.total_tokens, amounts)
