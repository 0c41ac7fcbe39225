"""Windows, allotments and places, against what they promise. Time is simulated."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.limits import (
    DAY_MS,
    DAY_NS,
    HOUR_MS,
    HOUR_NS,
    MINUTE_NS,
    NS_IN_MS,
    Allotment,
    Places,
    Span,
    Window,
    least_left,
)
from bandari.domain.outcome import Standing

START_NS = 10**15
SECOND_NS = 10**9
NOON_MS = round(datetime(2026, 11, 21, 12, 30, tzinfo=UTC).timestamp()) * 1000


def window(limit: int, period_ns: int = MINUTE_NS) -> Window:
    return Window("key.tokens_per_minute", limit, period_ns, START_NS)


def admitted(limit: int, times_ns: list[int], period_ns: int = MINUTE_NS) -> list[int]:
    """Which of the requests at these times pass."""
    made, passed = window(limit, period_ns), []
    for now_ns in times_ns:
        if made.wait_ns(1, now_ns) == 0:
            made.book(1, now_ns)
            passed.append(now_ns)
    return passed


# Requests: GCRA, on a window of weights of one.


@pytest.mark.parametrize(("limit", "period_ns"), [(1, MINUTE_NS), (7, MINUTE_NS), (6, 11)])
def test_a_burst_admits_exactly_the_limit(limit: int, period_ns: int) -> None:
    assert len(admitted(limit, [START_NS] * 100, period_ns)) == limit


def test_after_a_burst_one_passes_for_every_interval() -> None:
    burst = [START_NS] * 60
    after = [START_NS + tick * SECOND_NS // 10 for tick in range(1, 101)]
    assert admitted(60, burst + after)[60:] == [
        START_NS + second * SECOND_NS for second in range(1, 11)
    ]


def test_nothing_is_rounded_away_where_the_interval_is_no_whole_number() -> None:
    """Seven a minute, asked as often as can be, are seven thousand in a thousand minutes."""
    made, now_ns, passed = window(7), START_NS, 0
    while now_ns < START_NS + 1000 * MINUTE_NS:
        made.book(1, now_ns)
        passed += 1
        now_ns += made.wait_ns(1, now_ns)
    assert passed == 7 + 7000 - 1


def test_a_part_of_a_nanosecond_has_to_be_waited_for() -> None:
    made = window(7, 10)
    made.book(7, START_NS)
    assert made.wait_ns(1, START_NS) == 2
    assert made.wait_ns(1, START_NS + 1) == 1
    assert made.wait_ns(1, START_NS + 2) == 0


def test_after_a_period_of_rest_the_whole_burst_is_back() -> None:
    times = [START_NS] * 6 + [START_NS + MINUTE_NS] * 6
    assert admitted(5, times) == [START_NS] * 5 + [START_NS + MINUTE_NS] * 5


# Weights, reserved and settled.


def test_what_is_reserved_does_not_drain() -> None:
    made = window(1000)
    made.reserve(1000)
    assert made.remaining(START_NS + DAY_NS) == 0
    assert made.wait_ns(1, START_NS + DAY_NS) == MINUTE_NS // 1000


def test_a_refund_makes_no_room_that_time_has_made_already() -> None:
    """A bucket that books what is reserved, and takes back what was not used, would be empty at the
    end, and had let 1,000 pass a moment ago.
    """
    made, now_ns = window(1000), START_NS
    made.reserve(1000)
    now_ns += MINUTE_NS
    assert made.wait_ns(1000, now_ns) != 0
    made.settle(1000, 1000, now_ns)
    assert made.remaining(now_ns) == 0
    now_ns += MINUTE_NS
    made.reserve(500)
    made.book(500, now_ns)
    now_ns += MINUTE_NS // 2
    made.settle(500, 1, now_ns)
    assert made.remaining(now_ns) == 999


def test_use_beyond_what_was_reserved_has_to_drain() -> None:
    made = window(600)
    made.reserve(100)
    made.settle(100, 1200, START_NS)
    assert made.remaining(START_NS) == -600
    assert made.wait_ns(1, START_NS) == 60 * SECOND_NS + SECOND_NS // 10
    assert made.remaining(START_NS + 60 * SECOND_NS) == 0


def test_more_than_the_limit_never_fits() -> None:
    assert window(10).wait_ns(11, START_NS) is None
    assert window(10).wait_ns(10, START_NS) == 0


def test_a_limit_that_changes_keeps_what_was_used() -> None:
    made = window(100)
    made.book(100, START_NS)
    made.set_limit(50, START_NS + MINUTE_NS // 2)
    assert made.remaining(START_NS + MINUTE_NS // 2) == 0  # what drained until then did at 100
    made.set_limit(200, START_NS + MINUTE_NS // 2)
    assert made.remaining(START_NS + MINUTE_NS // 2) == 150


@pytest.mark.parametrize("back_ns", [1, SECOND_NS, MINUTE_NS, 100 * MINUTE_NS])
def test_a_clock_that_went_back_locks_out_for_one_period_at_most(back_ns: int) -> None:
    made = window(2)
    made.book(2, START_NS)
    assert made.remaining(START_NS - back_ns) == 0
    assert made.remaining(START_NS - back_ns + MINUTE_NS) == 2


def test_a_window_that_holds_something_is_not_idle() -> None:
    made = window(10)
    assert made.is_idle(START_NS)
    made.reserve(1)
    assert not made.is_idle(START_NS + DAY_NS)
    made.settle(1, 1, START_NS + DAY_NS)
    assert not made.is_idle(START_NS + DAY_NS + MINUTE_NS // 10 - 1)
    assert made.is_idle(START_NS + DAY_NS + MINUTE_NS // 10)


steps = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 5, 17, 97, 400, 3_600_000, -1, -50, -3_600_000]),
        st.sampled_from(["ask", "ask", "settle", "progress", "release"]),
        st.integers(0, 45),
        st.integers(0, 100),
    ),
    max_size=60,
)


class _Oracle:
    """The same by the definition: a list of what was booked when, and fractions."""

    def __init__(self, limit: int, period_ns: int) -> None:
        self.limit, self.period_ns = limit, period_ns
        self.passed_ns = 0
        """Time by the clock's own steps forward: what goes back is not taken from it."""
        self.level = Fraction(0)
        self.booked: list[tuple[int, int, int]] = []

    def step(self, by_ns: int) -> None:
        if by_ns > 0:
            self.passed_ns += by_ns
            self.level = max(Fraction(0), self.level - Fraction(by_ns * self.limit, self.period_ns))

    def book(self, used: int, beyond: int) -> None:
        self.level += used
        self.booked.append((self.passed_ns, used, beyond))

    def check(self) -> None:
        for first, (begin, _, _) in enumerate(self.booked):
            total = beyond = 0
            for end, used, over in self.booked[first:]:
                total += used
                beyond += over
                most = self.limit + Fraction(self.limit * (end - begin), self.period_ns)
                assert total - beyond <= most


@given(st.integers(1, 40), st.sampled_from([60, 97, 1000]), steps)
def test_no_time_sees_more_than_the_limit_and_what_drains_in_it(limit, period_ns, script) -> None:
    """Whatever the clock does, and in whatever order answers end with whatever they have used."""
    made, oracle, now_ns = window(limit, period_ns), _Oracle(limit, period_ns), START_NS
    open_answers: list[list[int]] = []  # reserved, booked
    for by_ns, what, weight, which in script:
        now_ns += by_ns
        oracle.step(by_ns)
        if what == "ask":
            reserved = sum(max(0, each[0] - each[1]) for each in open_answers)
            fits = oracle.level + reserved + weight <= limit
            assert (made.wait_ns(weight, now_ns) == 0) == fits
            if fits:
                made.reserve(weight)
                open_answers.append([weight, 0])
        elif open_answers:
            answer = open_answers[which % len(open_answers)]
            reserved, booked = answer
            used = 0 if what == "release" else max(booked, weight)
            rest = max(0, used - booked)
            unbooked = max(0, reserved - booked)
            if what == "progress":
                answer[1] = used
                made.settle(unbooked - max(0, reserved - used), rest, now_ns)
            else:
                open_answers.remove(answer)
                made.settle(unbooked, rest, now_ns)
            oracle.book(rest, max(0, used - max(reserved, booked)))
        reserved = sum(max(0, each[0] - each[1]) for each in open_answers)
        assert made.outstanding == reserved
        level = oracle.level
        assert made.remaining(now_ns) == limit - reserved - -(-level.numerator // level.denominator)
    oracle.check()


@given(
    st.integers(1, 50),
    st.sampled_from([60, 997, 10**6, MINUTE_NS]),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 50)), min_size=1, max_size=60),
)
def test_who_waits_as_long_as_told_passes_and_no_sooner(limit, period_ns, asked) -> None:
    made, now_ns = window(limit, period_ns), START_NS
    for gap_ns, weight in asked:
        now_ns += gap_ns
        wait_ns = made.wait_ns(weight, now_ns)
        if wait_ns is None:
            assert weight > limit
            continue
        if wait_ns:
            assert made.wait_ns(weight, now_ns + wait_ns - 1) == 1
            now_ns += wait_ns
        assert made.wait_ns(weight, now_ns) == 0
        made.book(weight, now_ns)


def test_the_standing_is_that_of_the_window_with_the_least_left() -> None:
    assert least_left([], START_NS) is None
    wide, tight = window(1000), Window("account.tokens_per_hour", 100, HOUR_NS, START_NS)
    wide.book(500, START_NS)
    tight.book(40, START_NS)
    tight.reserve(20)
    assert least_left([wide, tight], START_NS) == Standing(
        "account.tokens_per_hour", 100, 40, 60 * 36_000
    )
    tight.book(100, START_NS)
    assert least_left([wide, tight], START_NS).remaining == 0


# What was booked before a restart.


def remembered(limit: int, period_ns: int, *hours: tuple[int, int], now_ms: int = NOON_MS) -> int:
    made = window(limit, period_ns)
    made.remember(hours, now_ms, START_NS)
    return limit - made.remaining(START_NS)


def test_an_hour_is_taken_to_have_been_used_at_its_end() -> None:
    noon = NOON_MS - 30 * 60_000
    assert remembered(240, DAY_NS, (noon - 3 * HOUR_MS, 100)) == 100 - 25
    assert remembered(240, DAY_NS, (noon, 100)) == 100
    assert remembered(240, DAY_NS, (noon - HOUR_MS, 50), (noon, 50)) == 95


def test_a_window_is_not_taken_to_have_been_fuller_than_full() -> None:
    noon = NOON_MS - 30 * 60_000
    assert remembered(100, HOUR_NS, (noon - HOUR_MS, 150), (noon, 80)) == 100
    assert remembered(100, HOUR_NS, (noon - HOUR_MS, 180)) == 50


def test_hours_of_a_clock_that_was_ahead_are_now() -> None:
    assert remembered(240, DAY_NS, (NOON_MS + 5 * HOUR_MS, 100)) == 100


def test_what_is_booked_meanwhile_comes_on_top() -> None:
    made = window(100, DAY_NS)
    made.book(30, START_NS)
    made.remember([(NOON_MS - NOON_MS % HOUR_MS, 20)], NOON_MS, START_NS)
    assert made.remaining(START_NS) == 50


@given(
    st.integers(1, 60),
    st.sampled_from([HOUR_NS, DAY_NS]),
    st.lists(st.tuples(st.integers(0, 90), st.integers(1, 60)), max_size=40),
)
def test_after_a_restart_it_is_never_emptier_than_it_was(limit, period_ns, asked) -> None:
    made, now_ms, hours = window(limit, period_ns), NOON_MS, {}
    for minutes, weight in asked:
        now_ms += minutes * 60_000
        now_ns = START_NS + (now_ms - NOON_MS) * NS_IN_MS
        if made.wait_ns(weight, now_ns) == 0:
            made.book(weight, now_ns)
            hour = now_ms // HOUR_MS * HOUR_MS
            hours[hour] = hours.get(hour, 0) + weight
    now_ns = START_NS + (now_ms - NOON_MS) * NS_IN_MS
    again = Window("again", limit, period_ns, now_ns)
    again.remember(sorted(hours.items()), now_ms, now_ns)
    assert 0 <= again.remaining(now_ns) <= made.remaining(now_ns)


# Allotments.


def allotment(limit: int = 100, span: Span = Span.DAY, now_ms: int = NOON_MS) -> Allotment:
    return Allotment("key.quota.per_day", limit, span, now_ms)


def test_used_and_reserved_are_what_is_not_left() -> None:
    made = allotment()
    made.reserve(60)
    assert made.left(NOON_MS) == 40
    made.settle(60, 25, NOON_MS)
    assert (made.used, made.outstanding, made.left(NOON_MS)) == (25, 0, 75)


@pytest.mark.parametrize(
    ("span", "ends"),
    [
        (Span.DAY, datetime(2026, 11, 22, tzinfo=UTC)),
        (Span.MONTH, datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_period_begins_anew_by_the_calendar_and_what_is_reserved_moves_along(span, ends) -> None:
    made = allotment(span=span)
    made.book(70, NOON_MS)
    made.reserve(20)
    end_ms = round(ends.timestamp()) * 1000
    assert made.ends_in_ms(NOON_MS) == end_ms - NOON_MS
    assert made.left(end_ms - 1) == 10
    assert made.left(end_ms) == 80
    made.settle(20, 15, end_ms)
    assert made.used == 15


@given(st.integers(0, 253_000_000_000))
def test_a_month_is_the_calendars(seconds: int) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    made = allotment(span=Span.MONTH, now_ms=seconds * 1000)
    start = datetime(at.year, at.month, 1, tzinfo=UTC)
    assert made.start_ms == round(start.timestamp()) * 1000
    after = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    assert made.ends_in_ms(made.start_ms) == round((after - start).total_seconds()) * 1000


def test_a_december_ends_with_its_year() -> None:
    now_ms = round(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 1000
    assert allotment(span=Span.MONTH, now_ms=now_ms).ends_in_ms(now_ms) == 1000


def test_a_clock_that_is_set_back_brings_no_former_period() -> None:
    made = allotment()
    made.book(70, NOON_MS)
    made.book(5, NOON_MS + DAY_MS)
    made.book(6, NOON_MS)
    assert made.used == 11
    assert made.left(NOON_MS + DAY_MS) == 89


def test_a_lifetime_never_ends() -> None:
    made = allotment(span=Span.LIFETIME)
    made.book(70, NOON_MS)
    assert made.ends_in_ms(NOON_MS) is None
    assert made.left(NOON_MS + 4000 * DAY_MS) == 30


def test_what_the_store_knows_is_used_and_what_came_since_is_kept() -> None:
    made = allotment()
    made.book(5, NOON_MS)  # charged before: the store knows
    made.begin_read(NOON_MS)
    made.book(7, NOON_MS)
    hour = NOON_MS - NOON_MS % HOUR_MS
    yesterday = hour - DAY_MS
    in_doubt = made.end_read([(yesterday, 90), (hour, 40)], hour - HOUR_MS, is_whole=True)
    assert made.used == 47
    assert in_doubt


def test_hours_that_are_over_need_not_be_read_again() -> None:
    made, hour = allotment(1000), NOON_MS - NOON_MS % HOUR_MS
    rows = [(hour - 5 * HOUR_MS, 100), (hour - HOUR_MS, 20), (hour, 3)]
    made.begin_read(NOON_MS)
    assert not made.end_read(rows, hour - HOUR_MS, is_whole=True)
    assert made.used == 123
    made.begin_read(NOON_MS)
    made.end_read([(hour - HOUR_MS, 25), (hour, 4)], hour, is_whole=False)
    assert made.used == 129
    made.begin_read(NOON_MS)
    made.end_read([(hour, 4)], hour, is_whole=False)
    assert made.used == 129
    made.begin_read(NOON_MS)
    made.end_read(rows, hour, is_whole=True)
    assert made.used == 123


def test_what_was_booked_here_is_not_forgotten_where_the_store_knows_of_less() -> None:
    made = allotment()
    made.book(30, NOON_MS)
    made.begin_read(NOON_MS)
    made.end_read([], NOON_MS, is_whole=True)
    assert made.used == 30


def test_a_reading_over_midnight_counts_for_the_day_that_has_begun() -> None:
    made = allotment()
    midnight = NOON_MS - NOON_MS % DAY_MS + DAY_MS
    made.begin_read(midnight - 1)
    made.book(9, midnight)
    made.end_read([(midnight - HOUR_MS, 50), (midnight, 2)], midnight, is_whole=True)
    assert made.used == 11


@given(st.lists(st.tuples(st.integers(-2, 3), st.integers(0, 40), st.integers(0, 60)), max_size=40))
def test_no_day_exceeds_its_allotment_by_what_was_reserved(script) -> None:
    made, now_ms, by_period = allotment(100), NOON_MS, {}
    open_answers: list[int] = []
    for days, weight, used in script:
        now_ms += days * DAY_MS // 2
        if made.left(now_ms) >= weight:
            made.reserve(weight)
            open_answers.append(weight)
        if open_answers and used % 2:
            reserved = open_answers.pop(used % len(open_answers))
            made.settle(reserved, min(used, reserved), now_ms)
            by_period[made.start_ms] = by_period.get(made.start_ms, 0) + min(used, reserved)
        assert made.used + made.outstanding <= 100
        assert made.used == by_period.get(made.start_ms, 0)
    assert all(total <= 100 for total in by_period.values())
    assert list(by_period) == sorted(by_period)


def test_places_are_taken_and_left() -> None:
    places = Places("key.concurrent_requests", 1)
    places.take()
    assert places.taken == places.limit
    places.leave()
    with pytest.raises(AssertionError):
        places.leave()
