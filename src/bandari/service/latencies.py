"""How long models take to their first token: of each, the median of its last answers."""

from __future__ import annotations

from collections import defaultdict, deque
from statistics import median
from typing import Final

LAST_ANSWERS: Final = 100


class Latencies:
    """By what a model is counted under. Forgets everything when the server ends."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=LAST_ANSWERS)
        )

    def observe(self, model: str, seconds: float) -> None:
        """An answer's first token came that long after its upstream was asked."""
        self._seconds[model].append(seconds)

    def median_ms(self, model: str) -> int | None:
        """None before there is an answer."""
        seconds = self._seconds.get(model)
        return round(median(seconds) * 1000) if seconds else None
