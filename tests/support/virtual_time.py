"""Time that passes only when there is nothing left to do: an event loop for simulations.

Rule 1: nothing in here waits. When no callback is ready, the clock jumps to the next timer.
Rule 2: there are no files, no sockets and no other threads; whoever needs one is in the wrong loop.
Rule 3: callbacks run in the order in which they were scheduled, so that a run can be repeated.
"""

from __future__ import annotations

import asyncio
from asyncio.base_events import BaseEventLoop
from collections import deque
from heapq import heappop
from typing import Any

START_MS = 1_700_000_000_000


class NothingToWaitFor(Exception):
    """Everybody waits, and nobody is left who could wake them."""


class VirtualLoop(BaseEventLoop):
    """An event loop whose ``time()`` is virtual, in seconds from 0.

    It replaces the one step in which asyncio's own loop would ask a selector to wait; tasks,
    futures, timers and their order are asyncio's.
    """

    _ready: deque[asyncio.Handle]
    _scheduled: list[Any]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            while scheduled and scheduled[0].cancelled():
                heappop(scheduled)._scheduled = False
            if not scheduled:
                raise NothingToWaitFor
            self._now = max(self._now, scheduled[0].when())
        while scheduled and scheduled[0].when() <= self._now:
            timer = heappop(scheduled)
            timer._scheduled = False
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Cancelled timers are dropped when their time comes."""

    def _process_events(self, event_list: object) -> None:
        """There are no events but timers."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


class VirtualClock:
    """The port ``Clock``, on a loop's virtual time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return START_MS + int(self._loop.time() * 1000)

    def monotonic_ns(self) -> int:
        return int(self._loop.time() * 1e9)
