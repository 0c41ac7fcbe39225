"""The machine's clocks."""

from __future__ import annotations

import time
from collections.abc import Callable

_PACE = 2
"""How much slower than time itself our own goes while the machine's clock is behind it."""


class SystemClock:
    """Wall time never goes back here, whatever is done to the machine's clock.

    Where that is set back, ours goes on at half the pace until it has been caught up with: a day
    does not begin twice, and what has expired stays so. Where it is set forward, ours follows.
    ``wall_ns`` and ``steady_ns`` read the machine's clocks. For one thread.
    """

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        # When we last went with the wall: its time, and the steady clock's.
        self._last_wall_ns = wall_ns()
        self._last_steady_ns = steady_ns()
        # The steady clock itself: it is read several times for every request.
        self.monotonic_ns = steady_ns

    def now_ms(self) -> int:
        wall_ns, steady_ns = self._wall_ns(), self._steady_ns()
        at_least_ns = self._last_wall_ns + (steady_ns - self._last_steady_ns) // _PACE
        if wall_ns < at_least_ns:
            return at_least_ns // 1_000_000
        self._last_wall_ns, self._last_steady_ns = wall_ns, steady_ns
        return wall_ns // 1_000_000
