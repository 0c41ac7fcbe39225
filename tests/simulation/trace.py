"""What happened in a world, in order: for people who look for a cause, and as one digest.

Knows neither the books nor what is right.
"""

from __future__ import annotations

import zlib
from collections import Counter, deque
from collections.abc import Callable

KEPT_LINES = 400


class Violation(AssertionError):
    """Something that must always hold did not."""


class Trace:
    """``happened`` counts by kind; ``digest`` depends on every line and their order."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.happened: Counter[str] = Counter()
        self.digest = 0
        self.lines = 0
        self._now = now
        self._last: deque[str] = deque(maxlen=KEPT_LINES)

    def tell(self, what: str, about: str = "") -> None:
        """A thing that happened, as a line and as a number."""
        self.happened[what] += 1
        line = f"{self._now():12.6f} {what} {about}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        self.lines += 1
        self._last.append(line)

    def count(self, what: str, times: int = 1) -> None:
        """A thing that happened, as a number only."""
        self.happened[what] += times

    def last(self, lines: int, about: str = "") -> list[str]:
        """The last lines, those about one thing only if it is named."""
        found = [line for line in self._last if about in line]
        return found[-lines:]
