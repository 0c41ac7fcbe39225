"""One limit and one end for all that is open."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.support.gates import until, until_idle

from bandari.domain.faults import Draining, Overloaded
from bandari.service.open_requests import OpenRequests


async def test_no_more_than_the_limit_at_once():
    requests = OpenRequests(2)
    first, _ = requests.enter(), requests.enter()
    with pytest.raises(Overloaded) as refused:
        requests.enter()
    assert refused.value.retry_after_ms == 1000
    first.leave()
    first.leave()
    assert requests.count == 1
    requests.enter()


async def test_draining_waits_for_what_is_open_and_takes_nothing_new():
    requests = OpenRequests(2)
    one, other = requests.enter(), requests.enter()
    draining = asyncio.create_task(requests.drain(60, 60))
    await until_idle()
    with pytest.raises(Draining):
        requests.enter()
    one.leave()
    await until_idle()
    assert not draining.done()
    other.leave()
    await draining
    assert requests.is_draining
    assert not requests.is_cut


async def test_what_is_late_is_cut_and_waited_for():
    requests = OpenRequests(3)
    cut = []
    one, other, silent = (requests.enter() for _ in range(3))
    one.when_cut(lambda: cut.append("one"))
    other.when_cut(lambda: (cut.append("other"), other.leave()))
    draining = asyncio.create_task(requests.drain(0, 60))
    await until(lambda: requests.is_cut)
    await until_idle()
    assert sorted(cut) == ["one", "other"]
    assert not draining.done()
    one.leave()
    silent.leave()
    await draining


async def test_what_begins_to_run_after_the_cut_is_cut_at_once():
    requests = OpenRequests(1)
    late = requests.enter()
    await requests.drain(0, 0)
    cut = []
    late.when_cut(lambda: cut.append("late"))
    assert cut == ["late"]


async def test_what_never_ends_is_not_waited_for_for_ever():
    requests = OpenRequests(1)
    requests.enter()
    await requests.drain(0, 0)
    assert requests.count == 1


async def test_draining_with_nothing_open_cuts_nothing():
    requests = OpenRequests(1)
    await requests.drain(0, 0)
    assert not requests.is_cut


async def test_what_is_cut_is_cut_in_the_order_in_which_it_began():
    """A seed must give the same world again."""
    requests, order = OpenRequests(100), []
    for number in range(50):
        entered = requests.enter()
        entered.when_cut(partial(order.append, number))
        if number % 7 == 3:
            entered.leave()
    await requests.drain(0.0, 0.0)
    assert order == [number for number in range(50) if number % 7 != 3]


def entered(requests: OpenRequests, priority: int) -> int:
    """How many are open when no more of that priority may enter."""
    while True:
        try:
            requests.enter(priority)
        except Overloaded:
            return requests.count


async def test_the_last_places_are_kept_for_higher_priorities():
    requests = OpenRequests(100, [5, -3, 0, 5, 0])
    assert [entered(requests, priority) for priority in (-3, 0, 5)] == [80, 90, 100]


async def test_half_of_the_places_are_anybodys():
    requests = OpenRequests(100, range(20))
    assert [entered(requests, priority) for priority in (0, 14, 15, 19)] == [50, 50, 60, 100]


async def test_with_one_priority_all_places_are_anybodys():
    assert entered(OpenRequests(10, [3]), 3) == 10
    assert entered(OpenRequests(10), 0) == 10
    assert entered(OpenRequests(10), -5) == 10


async def test_a_priority_that_is_not_in_use_ranks_below_those_above_it():
    assert entered(OpenRequests(10, [3, 7]), 5) == 9
    assert entered(OpenRequests(10, [3, 7]), 0) == 8


async def test_somebody_may_enter_the_smallest_house():
    assert entered(OpenRequests(1, range(9)), 0) == 1


async def test_priorities_change_with_the_groups():
    requests = OpenRequests(10, [0])
    requests.rank([0, 1])
    assert entered(requests, 0) == 9
    requests.rank([0])
    assert entered(requests, 0) == 10
