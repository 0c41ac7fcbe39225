"""How long to wait before the next start.

Pure: it is told how long the last life lasted, and has no clock.
"""

from __future__ import annotations


class Backoff:
    """``first_s``, doubled by each life shorter than ``reset_s``, at most ``ceiling_s``."""

    def __init__(self, *, first_s: float, ceiling_s: float, reset_s: float) -> None:
        self._first_s = first_s
        self._ceiling_s = ceiling_s
        self._reset_s = reset_s
        self._next_s = first_s

    def after(self, uptime_s: float) -> float:
        """Seconds to wait after a life of ``uptime_s`` (0 for one that never became ready)."""
        if uptime_s >= self._reset_s:
            self._next_s = self._first_s
        delay_s = self._next_s
        self._next_s = min(self._next_s * 2, self._ceiling_s)
        return delay_s
