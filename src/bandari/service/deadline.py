"""A deadline that moves, and the one timer that watches it.

Moving a timer costs as much as all else that is done for an event or a request. So the timer stays
where it is, and looks again where the deadline has moved on.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """``reached`` is called when ``at`` (of the loop's clock, in seconds) has come.

    To put it off, write to ``at``; ``math.inf`` takes it away. ``set`` may also bring it forward.
    """

    __slots__ = ("_loop", "_reached", "_timer", "_timer_at", "at")

    def __init__(self, loop: asyncio.AbstractEventLoop, reached: Callable[[], None]) -> None:
        self._loop = loop
        self._reached: Callable[[], None] | None = reached
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self.at = math.inf

    def set(self, at: float) -> None:
        self.at = at
        if at < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = at
            self._timer = self._loop.call_at(at, self._look)

    def end(self) -> None:
        """Never call again, and keep nobody alive."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._reached = None
        self._timer_at = -math.inf

    def _look(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        if self._loop.time() < self.at:
            self.set(self.at)
        elif self._reached is not None:
            self._reached()
