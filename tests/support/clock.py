"""A clock that stands still until a test moves it."""

from __future__ import annotations

START_MS = 1_700_000_000_000


class SetClock:
    """The port ``Clock``. Wall time and monotonic time move together."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self._now_ms = now_ms
        self._monotonic_ns = 5_000_000_000

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def pass_ms(self, milliseconds: int) -> None:
        self._now_ms += milliseconds
        self._monotonic_ns += milliseconds * 1_000_000
