from __future__ import annotations

import logging

import pytest
from tests.support.clock import SetClock
from tests.support.recorded_metrics import RecordedMetrics

from bandari.domain.outcome import Deny, Reason
from bandari.service import guesses as module
from bandari.service.guesses import AT_ONCE, Guesses, network_of

HERE = "198.51.100.7"


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def metrics():
    return RecordedMetrics()


@pytest.fixture
def guesses(clock, metrics):
    return Guesses(clock, metrics)


async def fail(guesses, times: int, address: str = HERE) -> list[int | None]:
    """So many attempts that fail; for each that was refused, how long to wait."""
    waits = []
    for _ in range(times):
        attempt = await guesses.attempt(address)
        if isinstance(attempt, Deny):
            assert attempt.reason is Reason.TOO_MANY_FAILURES
            waits.append(attempt.retry_after_ms)
        else:
            attempt.end(failed=True)
    return waits


async def test_twenty_failures_at_once_then_one_in_three_seconds(guesses, clock):
    assert await fail(guesses, AT_ONCE) == []
    assert await fail(guesses, 2) == [3000, 3000]
    clock.pass_ms(2999)
    assert await fail(guesses, 1) == [1]
    clock.pass_ms(1)
    assert await fail(guesses, 2) == [3000]
    clock.pass_ms(3000)
    assert await fail(guesses, 1) == []


async def test_twenty_in_each_minute_and_not_one_more(guesses, clock):
    await fail(guesses, AT_ONCE)
    passed = 0
    for _ in range(600):
        clock.pass_ms(100)
        passed += not await fail(guesses, 1)
    assert passed == 20


async def test_after_a_minute_without_failures_all_are_there_again(guesses, clock):
    await fail(guesses, AT_ONCE)
    clock.pass_ms(60_000)
    assert await fail(guesses, AT_ONCE + 1) == [3000]


async def test_attempts_that_do_not_fail_are_free(guesses):
    for _ in range(100):
        (await guesses.attempt(HERE)).end(failed=False)
    assert await fail(guesses, AT_ONCE) == []


async def test_what_failed_at_once_counts_the_same(guesses):
    assert [guesses.failed(HERE) for _ in range(AT_ONCE)] == [None] * AT_ONCE
    refused = guesses.failed(HERE)
    assert (refused.reason, refused.retry_after_ms) == (Reason.TOO_MANY_FAILURES, 3000)
    assert await fail(guesses, 1) == [3000]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("198.51.100.7", "198.51.100.8", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("", "", True),
        ("", "198.51.100.7", False),
    ],
)
async def test_a_source_is_an_address_or_the_network_of_one(guesses, first, second, same):
    await fail(guesses, AT_ONCE, first)
    assert bool(await fail(guesses, 1, second)) is same


def test_what_is_no_address_is_a_source_by_itself():
    assert network_of("a:b") == "a:b"


async def test_every_refusal_is_counted_and_one_line_a_minute_tells_of_them(
    guesses, clock, metrics, caplog
):
    await fail(guesses, AT_ONCE + 5)
    assert len(metrics.of("guess_refused")) == 5
    (line,) = caplog.records
    assert (line.levelno, line.source, line.refused) == (logging.WARNING, HERE, 1)
    for _ in range(59):
        clock.pass_ms(1000)
        guesses.failed(HERE)
        await fail(guesses, 2)
    assert len(caplog.records) == 1
    clock.pass_ms(1000)
    guesses.failed(HERE)
    await fail(guesses, 1)
    refused = len(metrics.of("guess_refused"))
    assert [record.refused for record in caplog.records] == [1, refused - 1]


async def test_each_source_has_its_own_line_and_an_unknown_one_is_called_so(guesses, caplog):
    for address in (HERE, "2001:db8:1:2::1", ""):
        await fail(guesses, AT_ONCE + 2, address)
    assert [line.source for line in caplog.records] == [HERE, "2001:db8:1:2::/64", "unknown"]


async def test_sources_are_bounded_and_the_one_that_was_longest_silent_goes(guesses, monkeypatch):
    monkeypatch.setattr(module, "MAX_SOURCES", 2)
    await fail(guesses, AT_ONCE, "192.0.2.1")
    await fail(guesses, AT_ONCE, "192.0.2.2")
    await fail(guesses, 1, "192.0.2.1")
    await fail(guesses, 1, "192.0.2.3")
    assert await fail(guesses, 1, "192.0.2.1") == [3000]
    assert len(guesses._sources) == 2
    assert await fail(guesses, 1, "192.0.2.2") == []


async def test_where_nothing_fails_nothing_is_remembered(guesses):
    attempt = await guesses.attempt(HERE)
    attempt.end(failed=False)
    assert not guesses._sources
