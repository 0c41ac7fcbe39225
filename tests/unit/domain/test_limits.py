"""GCRA: ``count`` at once, then one for every ``period / count``. Time is simulated, in ns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.limits import MINUTE_NS, RequestRate, admit
from bandari.domain.outcome import Allow, Deny, Reason

START_NS = 10**15
SECOND_NS = 10**9

rates = st.builds(
    RequestRate, count=st.integers(1, 50), period_ns=st.sampled_from([60, 997, 10**6, MINUTE_NS])
)


def ask(rate: RequestRate, times_ns: list[int]) -> list[Allow | Deny]:
    """The decisions on requests at these times."""
    state, outcomes = 0, []
    for now_ns in times_ns:
        outcome, state = admit(rate, state, now_ns)
        outcomes.append(outcome)
    return outcomes


def admitted(rate: RequestRate, times_ns: list[int]) -> list[int]:
    return [
        now
        for now, outcome in zip(times_ns, ask(rate, times_ns), strict=True)
        if isinstance(outcome, Allow)
    ]


@pytest.mark.parametrize("count", [1, 2, 7, 60, 600, 300_007])
def test_a_burst_admits_exactly_the_count(count: int) -> None:
    rate, state, passed = RequestRate(count), 0, 0
    while True:
        outcome, state = admit(rate, state, START_NS)
        if isinstance(outcome, Deny):
            break
        passed += 1
    assert passed == count


def test_a_burst_is_the_count_where_the_period_is_not_a_multiple_of_it() -> None:
    assert len(admitted(RequestRate(6, period_ns=11), [START_NS] * 20)) == 6


def test_after_a_burst_one_passes_for_every_interval() -> None:
    rate = RequestRate(60)
    burst = [START_NS] * 60
    after = [START_NS + tick * SECOND_NS // 10 for tick in range(1, 101)]
    assert admitted(rate, burst + after)[60:] == [
        START_NS + second * SECOND_NS for second in range(1, 11)
    ]


def test_requests_that_keep_to_the_rate_all_pass() -> None:
    times = [START_NS + second * SECOND_NS for second in range(300)]
    assert admitted(RequestRate(60), times) == times


def test_after_a_period_of_rest_the_whole_burst_is_back() -> None:
    rate = RequestRate(5)
    times = [START_NS] * 6 + [START_NS + MINUTE_NS] * 6
    assert admitted(rate, times) == [START_NS] * 5 + [START_NS + MINUTE_NS] * 5


def test_a_refusal_says_when_the_next_request_passes() -> None:
    rate = RequestRate(60)
    refused = ask(rate, [START_NS] * 61)[-1]
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.REQUESTS_PER_MINUTE
    assert refused.retry_after_ms == 1000
    assert refused.limit == 60
    assert refused.detail == "Rate limit reached: 60 requests per minute. Try again in 1.0 s."


def test_one_request_per_minute_is_spelled_as_one() -> None:
    refused = ask(RequestRate(1), [START_NS, START_NS])[-1]
    assert isinstance(refused, Deny)
    assert refused.detail == "Rate limit reached: 1 request per minute. Try again in 60.0 s."


def test_a_short_wait_is_not_told_as_none() -> None:
    refused = ask(RequestRate(6000), [START_NS] * 6001)[-1]
    assert isinstance(refused, Deny)
    assert refused.retry_after_ms == 10
    assert refused.detail.endswith("Try again in 0.1 s.")


@given(rates, st.lists(st.integers(0, 10**6), min_size=1, max_size=60))
def test_who_waits_as_long_as_told_passes(rate: RequestRate, gaps_ns: list[int]) -> None:
    state, now = 0, START_NS
    for gap in gaps_ns:
        now += gap
        outcome, state = admit(rate, state, now)
        if isinstance(outcome, Deny):
            assert outcome.retry_after_ms is not None
            assert outcome.retry_after_ms > 0
            now += outcome.retry_after_ms * 1_000_000
            outcome, state = admit(rate, state, now)
            assert isinstance(outcome, Allow)


def test_the_headers_numbers_count_down_and_recover() -> None:
    first, second, third, later = ask(
        RequestRate(3), [START_NS, START_NS, START_NS, START_NS + 40 * SECOND_NS]
    )
    assert first == Allow(limit=3, remaining=2, reset_ms=20_000)
    assert second == Allow(limit=3, remaining=1, reset_ms=40_000)
    assert third == Allow(limit=3, remaining=0, reset_ms=60_000)
    assert later == Allow(limit=3, remaining=1, reset_ms=40_000)


@given(rates, st.lists(st.integers(0, 40), max_size=120), st.sampled_from([1, 10, 1000]))
def test_no_window_sees_more_than_its_burst_and_its_refill(
    rate: RequestRate, gaps: list[int], divisor: int
) -> None:
    unit = max(1, rate.interval_ns // divisor)
    times = [START_NS]
    for gap in gaps:
        times.append(times[-1] + gap * unit)
    passed = admitted(rate, times)
    for first, begin in enumerate(passed):
        for last in range(first, len(passed)):
            window_ns = passed[last] - begin
            assert last - first + 1 <= rate.count + window_ns // rate.interval_ns


@given(rates, st.integers(1, 100))
def test_a_refusal_costs_nothing(rate: RequestRate, refusals: int) -> None:
    state = 0
    for _ in range(rate.count):
        _, state = admit(rate, state, START_NS)
    before = state
    for _ in range(refusals):
        outcome, state = admit(rate, state, START_NS)
        assert isinstance(outcome, Deny)
    assert state == before


@pytest.mark.parametrize("back_ns", [1, SECOND_NS, MINUTE_NS, 100 * MINUTE_NS])
def test_a_clock_that_went_back_locks_out_for_one_interval_only(back_ns: int) -> None:
    rate = RequestRate(2)
    state = 0
    for _ in range(2):
        _, state = admit(rate, state, START_NS)
    now = START_NS - back_ns
    outcome, state = admit(rate, state, now)
    assert isinstance(outcome, Deny)
    assert outcome.retry_after_ms is not None
    assert outcome.retry_after_ms <= MINUTE_NS // 1_000_000
    outcome, _ = admit(rate, state, now + MINUTE_NS)
    assert isinstance(outcome, Allow)


@pytest.mark.parametrize("count", [0, -1, 1_000_000_001])
def test_a_rate_out_of_bounds_cannot_be_built(count: int) -> None:
    with pytest.raises(ValueError, match=r"between 1 and 1,000,000,000"):
        RequestRate(count)


def test_a_rate_beyond_the_clocks_resolution_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="one request per nanosecond"):
        RequestRate(11, period_ns=10)
    assert len(admitted(RequestRate(10, period_ns=10), [START_NS] * 20)) == 10
