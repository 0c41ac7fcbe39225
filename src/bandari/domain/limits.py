"""Limits as arithmetic on integers: sliding windows, allotments of the calendar, and places.

There is no clock here: times are given, ``now_ns`` (monotonic) to windows and ``now_ms`` (since
1970, UTC) to allotments. Nothing is rounded away, and nothing here waits or knows who is limited.

What an answer may use is *reserved* before it is made and *settled* after it for what it did use.
Between the two it neither drains nor expires, so that a refund makes no room that time has made
already.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

from bandari.domain.outcome import LimitState, Standing

MINUTE_NS: Final = 60_000_000_000
HOUR_NS: Final = 60 * MINUTE_NS
DAY_NS: Final = 24 * HOUR_NS
NS_IN_MS: Final = 1_000_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


class Window:
    """A leaky bucket: it holds ``limit``, and drains ``limit`` in each period.

    So what is booked in any time T is at most ``limit`` + ``limit`` x T / period, and beyond that
    only what was used without having been reserved. For weights of one this is GCRA.
    """

    __slots__ = ("_as_of_ns", "_level", "_outstanding", "is_loaded", "limit", "name", "period_ns")

    def __init__(self, name: str, limit: int, period_ns: int, now_ns: int) -> None:
        self.name = name
        self.limit = limit
        self.period_ns = period_ns
        self.is_loaded = True
        """False while what was booked before a restart is not known yet."""
        self._level = 0
        """What has not drained yet, times ``period_ns``: so that a nanosecond drains ``limit``."""
        self._outstanding = 0
        self._as_of_ns = now_ns

    def set_limit(self, limit: int, now_ns: int) -> None:
        """From now on it is this. What was booked and reserved stays."""
        self._drain(now_ns)
        self.limit = limit

    def wait_ns(self, weight: int, now_ns: int) -> int | None:
        """How long until ``weight`` more fits: 0 is now, and None never.

        What is reserved is taken to be used now.
        """
        if weight > self.limit:
            return None
        if now_ns != self._as_of_ns:
            self._drain(now_ns)
        room = self.limit - self._outstanding - weight
        excess = self._level - room * self.period_ns
        return 0 if excess <= 0 else -(-excess // self.limit)

    def remaining(self, now_ns: int) -> int:
        """How much more fits now; below 0 where more was used than the limit is by now."""
        if now_ns != self._as_of_ns:
            self._drain(now_ns)
        return self.limit - self._outstanding - -(-self._level // self.period_ns)

    def full_in_ns(self, now_ns: int) -> int:
        """How long until all of it is there again, if what is reserved were used now."""
        if now_ns != self._as_of_ns:
            self._drain(now_ns)
        return -(-(self._level + self._outstanding * self.period_ns) // self.limit)

    def state(self, now_ns: int) -> LimitState:
        reset_ms = -(-self.full_in_ns(now_ns) // NS_IN_MS)
        used = -(-self._level // self.period_ns)
        return LimitState(self.name, self.limit, used, self._outstanding, reset_ms)

    def book(self, weight: int, now_ns: int) -> None:
        """It was used now."""
        if now_ns != self._as_of_ns:
            self._drain(now_ns)
        self._level += weight * self.period_ns

    def take_back(self, weight: int) -> None:
        """Undo a booking during which the window was never empty: else time has undone it."""
        self._level = max(0, self._level - weight * self.period_ns)

    def reserve(self, weight: int) -> None:
        """Set it aside; below 0: give back so much of what was."""
        self._outstanding += weight
        assert self._outstanding >= 0, "what is given back was reserved"

    def release(self, weight: int) -> None:
        self.reserve(-weight)

    def settle(self, reserved: int, used: int, now_ns: int) -> None:
        """Of what is reserved, this much has come to its end, and so much of it was used."""
        self._outstanding -= reserved
        assert self._outstanding >= 0, "what is given back was reserved"
        if now_ns != self._as_of_ns:
            self._drain(now_ns)
        self._level += used * self.period_ns

    def forget(self) -> None:
        """What was booked will be known from the store. What is reserved stays."""
        self._level = 0

    def remember(self, hours: Iterable[tuple[int, int]], now_ms: int, now_ns: int) -> None:
        """Add what was booked before: weights by the hour's beginning, oldest first.

        Each is taken to have been booked as late as it can have been. A window is never fuller than
        full by what it was let to admit, so it is not taken to be.
        """
        full, per_ms = self.limit * self.period_ns, self.limit * NS_IN_MS
        level, as_of_ms = 0, 0
        for hour_ms, weight in hours:
            at_ms = max(as_of_ms, min(hour_ms + HOUR_MS, now_ms))
            level = max(0, level - (at_ms - as_of_ms) * per_ms)
            level = min(full, level + weight * self.period_ns)
            as_of_ms = at_ms
        if now_ns != self._as_of_ns:
            self._drain(now_ns)
        self._level += max(0, level - (now_ms - as_of_ms) * per_ms)

    def is_idle(self, now_ns: int) -> bool:
        """Whether nothing is lost with it."""
        if now_ns != self._as_of_ns:
            self._drain(now_ns)
        return self._level == 0 and self._outstanding == 0

    @property
    def outstanding(self) -> int:
        return self._outstanding

    def _drain(self, now_ns: int) -> None:
        passed_ns = now_ns - self._as_of_ns
        if passed_ns > 0 and self._level:
            level = self._level - passed_ns * self.limit
            self._level = level if level > 0 else 0
        # Also where the clock went back: else nothing would drain until it has caught up.
        self._as_of_ns = now_ns


def least_left(windows: Iterable[Window], now_ns: int) -> Standing | None:
    """How the window stands that has the least left; None where there is none."""
    least, tightest = 0, None
    for window in windows:
        remaining = window.remaining(now_ns)
        if tightest is None or remaining < least:
            least, tightest = remaining, window
    if tightest is None:
        return None
    reset_ms = -(-tightest.full_in_ns(now_ns) // NS_IN_MS)
    return Standing(tightest.name, tightest.limit, max(0, least), reset_ms)


class Span(Enum):
    """For how long an allotment is."""

    DAY = "day"
    MONTH = "month"
    LIFETIME = "lifetime"


class Allotment:
    """How much may be used in a day or month of the calendar in UTC, or ever.

    ``used`` + ``outstanding`` never exceeds ``limit`` by what is reserved. A new period begins only
    forward, however the clock is set: what is used belongs to the period in which it ends, and what
    is reserved moves along. ``asset`` is that of an amount of money, empty for tokens.

    Where the store is read (again), what was booked since the read began is kept beside it; so is
    all that was booked here in the period, should the store know of less.
    """

    __slots__ = (
        "_end_ms",
        "_fresh",
        "_own",
        "_past",
        "asset",
        "is_loaded",
        "limit",
        "name",
        "outstanding",
        "span",
        "start_ms",
        "used",
    )

    def __init__(self, name: str, limit: int, span: Span, now_ms: int, asset: str = "") -> None:
        self.name = name
        self.limit = limit
        self.span = span
        self.asset = asset
        self.is_loaded = True
        """False while what was used before a restart is not known yet."""
        self.outstanding = 0
        self._begin(now_ms)

    def _begin(self, now_ms: int) -> None:
        self.used = self._own = self._fresh = self._past = 0
        self.start_ms, self._end_ms = _bounds(self.span, now_ms)

    def _turn(self, now_ms: int) -> None:
        if self._end_ms is not None and now_ms >= self._end_ms:
            self._begin(now_ms)

    def left(self, now_ms: int) -> int:
        """How much more may be reserved; below 0 where more was used than the limit is by now."""
        self._turn(now_ms)
        return self.limit - self.used - self.outstanding

    def ends_in_ms(self, now_ms: int) -> int | None:
        """How long until the next period begins; None: never."""
        self._turn(now_ms)
        return None if self._end_ms is None else self._end_ms - now_ms

    def state(self, now_ms: int) -> LimitState:
        reset_ms = self.ends_in_ms(now_ms)
        return LimitState(self.name, self.limit, self.used, self.outstanding, reset_ms)

    def book(self, weight: int, now_ms: int) -> None:
        """It was used now."""
        self._turn(now_ms)
        self.used += weight
        self._own += weight
        self._fresh += weight

    def reserve(self, weight: int) -> None:
        """Set it aside; below 0: give back so much of what was."""
        self.outstanding += weight
        assert self.outstanding >= 0, "what is given back was reserved"

    def release(self, weight: int) -> None:
        self.reserve(-weight)

    def settle(self, reserved: int, used: int, now_ms: int) -> None:
        """Of what is reserved, this much has come to its end, and so much of it was used."""
        self.release(reserved)
        self.book(used, now_ms)

    def begin_read(self, now_ms: int) -> None:
        """From here on the store may or may not know what is booked."""
        self._turn(now_ms)
        self._fresh = 0

    def end_read(self, hours: Iterable[tuple[int, int]], cut_ms: int, *, is_whole: bool) -> bool:
        """What the store knows: weights by the hour's beginning, all or what the last cut left out.

        Hours before ``cut_ms`` need not be read again. Returns whether something was booked that
        the store may have told of too.
        """
        if is_whole:
            self._past = 0
        latest = 0
        for hour_ms, weight in hours:
            if hour_ms >= self.start_ms:
                if hour_ms < cut_ms:
                    self._past += weight
                else:
                    latest += weight
        self.used = max(self._past + latest + self._fresh, self._own)
        self.is_loaded = True
        return self._fresh > 0


class Places:
    """How many may be at it at once."""

    __slots__ = ("limit", "name", "taken")

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.taken = 0

    def state(self) -> LimitState:
        """Nobody knows when they will all have ended who have taken a place."""
        return LimitState(self.name, self.limit, 0, self.taken, None if self.taken else 0)

    def take(self) -> None:
        self.taken += 1

    def leave(self) -> None:
        self.taken -= 1
        assert self.taken >= 0, "who leaves has come"


def _bounds(span: Span, now_ms: int) -> tuple[int, int | None]:
    """The beginning of the period that ``now_ms`` is in, and that of the next."""
    if span is Span.LIFETIME:
        return 0, None
    if span is Span.DAY:
        start_ms = now_ms - now_ms % DAY_MS
        return start_ms, start_ms + DAY_MS
    first = _first_of_month(now_ms // DAY_MS)
    # No month has more days than 31, and none so few that this would be in the one after the next.
    return first * DAY_MS, _first_of_month(first + 31) * DAY_MS


def _first_of_month(day: int) -> int:
    """The first day of the month that ``day`` is in; days are counted from 1970.

    Years are taken to begin in March, so that the leap day is a year's last: then the months from
    March on begin on day (153 x month + 2) // 5 of it.
    """
    # Eras of 400 years have 146,097 days each; 1970 began 719,468 days after 1 March of the year 0.
    of_era = (day + 719_468) % 146_097
    year = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return day - (of_year - (153 * month + 2) // 5)
