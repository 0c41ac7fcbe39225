"""Rate limits as arithmetic: the generic cell rate algorithm (GCRA), on integers of nanoseconds.

The state of a limit is one number, the theoretical arrival time of the next request. There is no
clock here: every function takes ``now_ns`` (monotonic).
"""

from __future__ import annotations

from msgspec import Struct

from bandari.domain.outcome import Allow, Deny, Reason

MINUTE_NS = 60_000_000_000


class RequestRate(Struct, frozen=True):
    """``count`` requests at once, and one more each ``period / count`` after that.

    So no period sees more than twice ``count``, and the long run sees ``count`` per period.
    """

    count: int
    period_ns: int = MINUTE_NS

    def __post_init__(self) -> None:
        if not 1 <= self.count <= 1_000_000_000:
            raise ValueError("a rate is between 1 and 1,000,000,000 requests")
        if self.period_ns < self.count:
            raise ValueError("a rate is at most one request per nanosecond")

    @property
    def interval_ns(self) -> int:
        """How long one request takes to be forgotten."""
        return self.period_ns // self.count


def admit(rate: RequestRate, arrival_ns: int, now_ns: int) -> tuple[Allow | Deny, int]:
    """Decide on one request; ``arrival_ns`` is the state that the last decision returned, or 0.

    Returns the decision and the new state. A refusal adds nothing to the state.
    """
    interval_ns = rate.interval_ns
    # Not the period: the interval is rounded down, and ``count`` of them are the burst.
    burst_ns = interval_ns * rate.count
    # A clock that went back must not lock the caller out for longer than one period.
    base_ns = min(max(arrival_ns, now_ns), now_ns + burst_ns)
    earliest_ns = base_ns + interval_ns - burst_ns
    if earliest_ns > now_ns:
        wait_ms = -(-(earliest_ns - now_ns) // 1_000_000)
        return (
            Deny(
                Reason.REQUESTS_PER_MINUTE,
                f"Rate limit reached: {rate.count} request{'s' if rate.count > 1 else ''} per "
                f"minute. Try again in {max(wait_ms, 100) / 1000:.1f} s.",
                retry_after_ms=wait_ms,
                limit=rate.count,
            ),
            base_ns,
        )
    next_ns = base_ns + interval_ns
    remaining = (now_ns + burst_ns - next_ns) // interval_ns
    reset_ms = -(-(next_ns - now_ns) // 1_000_000)
    return Allow(limit=rate.count, remaining=remaining, reset_ms=reset_ms), next_ns
