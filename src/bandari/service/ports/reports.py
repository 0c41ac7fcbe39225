"""What the books say afterwards: receipts one by one, and usage added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bandari.domain.allowance import Subject
from bandari.domain.ledger import Receipt
from bandari.domain.reports import Dimension, Selection, Spent, UsageRow


class Reports(Protocol):
    async def receipts(
        self, selection: Selection, after: int, limit: int, last: int | None = None
    ) -> Sequence[tuple[int, Receipt]]:
        """Receipts in the order in which they were charged, each with its number.

        Those with numbers above ``after``, at most ``limit``, and none beyond ``last``. None comes
        later with a lower number than one that was given.
        """
        ...

    async def last_number(self) -> int:
        """The highest number up to which no receipt can appear any more."""
        ...

    async def usage(
        self, selection: Selection, by: Sequence[Dimension], limit: int
    ) -> Sequence[UsageRow]:
        """What the selected receipts add up to, to the unit, by asset and by what is asked.

        Includes receipts that were charged a moment ago. Ordered by what it is told apart by; at
        most ``limit``.
        """
        ...

    async def spent(
        self, subject: Subject, identity: tuple[int | str, ...], since_ms: int
    ) -> Sequence[Spent]:
        """What somebody has used since that hour began, by the hour, oldest first.

        ``identity`` is the key's or account's id, the model's id, the group's name (of those keys
        that are in it now), or an end user's account id and name.
        """
        ...

    async def roll_up(self, limit: int) -> int:
        """Add up at most ``limit`` transactions more; returns how many there were."""
        ...
