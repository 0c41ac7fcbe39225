"""What is open in this server, whichever use case it belongs to: how much, and how all of it ends.

One limit and one draining for all that is asked of models.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from bandari.domain.faults import Draining, Overloaded

RETRY_AFTER_MS = 1000


class OpenRequest:
    """One that has begun. ``leave`` when it has ended, whatever came of it."""

    __slots__ = ("_requests", "_stop")

    def __init__(self, requests: OpenRequests) -> None:
        self._requests = requests
        self._stop: Callable[[], None] | None = None

    def when_cut(self, stop: Callable[[], None]) -> None:
        """Have ``stop`` called when it may run no longer: now, if that is so already."""
        self._stop = stop
        if self._requests.is_cut:
            stop()

    def cut(self) -> None:
        if self._stop is not None:
            self._stop()

    def leave(self) -> None:
        """Harmless when it has left."""
        self._requests.remove(self)


class OpenRequests:
    """``is_draining``: nothing new is taken. ``is_cut``: and what runs has to end now.

    They end in the order in which they began. ``levels`` are the priorities in use: for each that
    is above a request's own, a tenth of the places is kept free of it, up to half of them all.
    """

    def __init__(self, max_open: int, levels: Iterable[int] = ()) -> None:
        self._max_open = max_open
        self.rank(levels)
        self._open: dict[OpenRequest, None] = {}
        self._fewer = asyncio.Event()
        """Set while draining, whenever something has ended."""
        self.is_draining = False
        self.is_cut = False

    @property
    def count(self) -> int:
        return len(self._open)

    def rank(self, levels: Iterable[int]) -> None:
        """From here on the priorities in use are these."""
        self._levels = tuple(sorted(set(levels), reverse=True))

    def enter(self, priority: int = 0) -> OpenRequest:
        """One more. Raises ``Draining`` or ``Overloaded``."""
        if self.is_draining:
            raise Draining
        if len(self._open) >= self._room(priority):
            raise Overloaded(retry_after_ms=RETRY_AFTER_MS)
        entered = OpenRequest(self)
        self._open[entered] = None
        return entered

    def _room(self, priority: int) -> int:
        """How many may be open for one of that priority to enter."""
        if len(self._levels) < 2:
            return self._max_open
        tenths = max(5, 10 - sum(level > priority for level in self._levels))
        return -(-self._max_open * tenths // 10)

    def remove(self, request: OpenRequest) -> None:
        self._open.pop(request, None)
        if self.is_draining:
            self._fewer.set()

    async def drain(self, timeout_s: float, last_s: float) -> None:
        """Take nothing new, wait for what runs, and cut it after ``timeout_s``.

        What was cut has ``last_s`` to end its holds.
        """
        self.is_draining = True
        if await self._all_ended(timeout_s):
            return
        self.is_cut = True
        for request in list(self._open):
            request.cut()
        await self._all_ended(last_s)

    async def _all_ended(self, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                while self._open:
                    self._fewer.clear()
                    await self._fewer.wait()
        except TimeoutError:
            return False
        return True
