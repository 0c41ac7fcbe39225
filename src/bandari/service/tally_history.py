"""What was used before a tally was begun, and by other servers: from the store.

Nothing is admitted on a guess: where the store cannot be read, ``StoreUnavailable`` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from bandari.domain.faults import StoreUnavailable
from bandari.domain.limits import HOUR_MS, NS_IN_MS, Allotment, Window
from bandari.domain.reports import Spent
from bandari.service.ports import Clock, Reports
from bandari.service.tallies import Tally

READ_TIMEOUT_S: Final = 10.0
DOUBT_MS: Final = 1000
"""After which what may have been counted twice is read again."""

OVERLAP_MS: Final = HOUR_MS
"""Before the present hour: what another server's clock may still put there."""


class History:
    """``refresh_ms``: how old what other servers have booked may be; None where there are none.

    ``is_posting`` says whether an answer that a tally counts is being charged at the moment.
    """

    def __init__(
        self,
        reports: Reports,
        clock: Clock,
        refresh_ms: int | None,
        is_posting: Callable[[Tally], bool],
    ) -> None:
        self._reports = reports
        self._clock = clock
        self._refresh_ms = refresh_ms
        self._is_posting = is_posting

    def is_due(self, tally: Tally) -> bool:
        """Whether the tally has to be brought up to date before it may say yes."""
        if tally.needs_load:
            return True
        if not tally.has_allotments:
            return False
        after_ms = DOUBT_MS if tally.in_doubt else self._refresh_ms
        if after_ms is None:
            return False
        return self._clock.monotonic_ns() - tally.read_ns >= after_ms * NS_IN_MS

    async def bring(self, tally: Tally) -> None:
        """Bring it up to date. Those who ask meanwhile wait for the same reading."""
        if tally.loading is None:
            tally.loading = asyncio.create_task(self._bring(tally))
            tally.loading.add_done_callback(_seen)
        await asyncio.shield(tally.loading)

    async def _bring(self, tally: Tally) -> None:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                await self._read(tally)
        except TimeoutError as error:
            raise StoreUnavailable from error
        finally:
            tally.loading = None

    async def _read(self, tally: Tally) -> None:
        now_ms, read_ns = self._clock.now_ms(), self._clock.monotonic_ns()
        counters = tally.counters.values()
        allotments = [each for each in counters if isinstance(each, Allotment)]
        windows = [each for each in counters if isinstance(each, Window) and not each.is_loaded]
        is_whole = any(not each.is_loaded for each in allotments)
        starts = [now_ms - each.period_ns // NS_IN_MS for each in windows]
        for allotment in allotments:
            allotment.begin_read(now_ms)
            starts.append(allotment.start_ms if is_whole else tally.cut_ms)
        for window in windows:
            if not tally.counts_requests(window):
                window.forget()
        since_ms = min(starts) // HOUR_MS * HOUR_MS
        hours = await self._reports.spent(tally.subject, tally.identity, since_ms)
        cut_ms = max(0, now_ms // HOUR_MS * HOUR_MS - OVERLAP_MS)
        if not is_whole:
            cut_ms = max(cut_ms, tally.cut_ms)
        in_doubt = self._is_posting(tally)
        for allotment in allotments:
            weights = [
                (hour.hour_ms, _weight(hour, allotment.asset))
                for hour in hours
                if is_whole or hour.hour_ms >= tally.cut_ms
            ]
            in_doubt |= allotment.end_read(weights, cut_ms, is_whole=is_whole)
        for window in windows:
            self._tell(window, hours, of_requests=tally.counts_requests(window))
        tally.cut_ms, tally.read_ns, tally.in_doubt = cut_ms, read_ns, in_doubt
        tally.note_loads()

    def _tell(self, window: Window, hours: Sequence[Spent], *, of_requests: bool) -> None:
        window.remember(
            ((hour.hour_ms, hour.requests if of_requests else hour.tokens) for hour in hours),
            self._clock.now_ms(),
            self._clock.monotonic_ns(),
        )
        window.is_loaded = True


def _weight(hour: Spent, asset: str) -> int:
    return hour.amounts.get(asset, 0) if asset else hour.tokens


def _seen(task: asyncio.Task[None]) -> None:
    """Whoever asked for it has heard of its failure, or has left."""
    if not task.cancelled():
        task.exception()
