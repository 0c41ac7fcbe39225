"""The resume window: what becomes of an answer that nobody reads."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.recordings_registry import Registry, left_after
from tests.support.virtual_time import VirtualLoop

from bandari.domain.ledger import Ending
from bandari.service.recordings import LONGEST_KEPT_S, LOOK_AGAIN_S

LOOPS = {"virtual": VirtualLoop}


# -- the window of what runs -----------------------------------------------------------------------


async def test_without_a_window_it_is_stopped_when_its_reader_leaves():
    registry = Registry()
    entry = registry.made(window_s=0)
    await left_after(entry, 5)
    assert registry.stopped == [("a", Ending.CLIENT_LEFT)]


async def test_it_goes_on_for_its_window_and_not_longer():
    registry = Registry()
    await left_after(registry.made(window_s=30), 5)
    await asyncio.sleep(29.9)
    assert registry.stopped == []
    await asyncio.sleep(0.2)
    assert registry.stopped == [("a", Ending.CLIENT_LEFT)]
    assert registry.has()


async def test_one_that_has_no_end_to_its_window_is_never_stopped():
    registry = Registry()
    entry = registry.made(window_s=None)
    await left_after(entry, 5)
    await asyncio.sleep(1_000_000)
    assert registry.stopped == []
    entry.recording.finish()
    assert not registry.has()  # nobody has a window to come back in


async def test_while_anybody_reads_no_window_runs():
    registry = Registry()
    entry = registry.made(window_s=30)
    stays = entry.recording.reader()
    await left_after(entry, 1)
    await asyncio.sleep(1_000)
    assert registry.stopped == []
    stays.close()
    await asyncio.sleep(30.1)
    assert registry.stopped == [("a", Ending.CLIENT_LEFT)]


async def test_who_comes_back_in_time_has_the_window_begin_anew():
    registry = Registry()
    entry = registry.made(window_s=30)
    for _ in range(5):
        await left_after(entry, 5)
        await asyncio.sleep(29)
    assert registry.stopped == []
    reader = entry.recording.reader()
    await asyncio.sleep(1_000)
    assert registry.stopped == []
    reader.close()
    await asyncio.sleep(31)
    assert registry.stopped == [("a", Ending.CLIENT_LEFT)]


async def test_a_reader_that_comes_and_goes_twice_in_a_window_leaves_one_timer():
    registry = Registry()
    entry = registry.made(window_s=30)
    await left_after(entry, 1)
    await asyncio.sleep(20)
    await left_after(entry, 1)
    await asyncio.sleep(29)
    assert registry.stopped == []
    await asyncio.sleep(2)
    await asyncio.sleep(100)
    assert registry.stopped == [("a", Ending.CLIENT_LEFT)]


async def test_one_that_nobody_has_read_yet_waits_for_its_first_reader():
    registry = Registry()
    registry.made(window_s=0)
    registry.made("b", window_s=30)
    await asyncio.sleep(1_000)
    assert registry.stopped == []


# -- the window of what has ended ------------------------------------------------------------------


@pytest.mark.parametrize("window_s", [0, None])
async def test_without_a_window_it_is_forgotten_when_its_reader_leaves(window_s):
    registry = Registry()
    entry = registry.made(window_s=window_s)
    reader = entry.recording.reader()
    entry.recording.finish()
    assert registry.has()
    reader.close()
    assert not registry.has()
    assert (registry.count, registry.space.used, registry.stopped) == (0, 0, [])


async def test_it_is_kept_for_its_window_after_its_end():
    registry = Registry()
    registry.ended(window_s=30)
    await asyncio.sleep(29.9)
    assert registry.has()
    await asyncio.sleep(0.2)
    assert not registry.has()
    assert (registry.space.used, registry.stopped) == (0, [])


async def test_it_is_kept_for_its_window_after_its_last_reader():
    registry = Registry()
    entry = registry.ended(window_s=30)
    await asyncio.sleep(20)
    stays = entry.recording.reader()
    await left_after(entry, 5)
    await asyncio.sleep(100)
    assert registry.has()
    stays.close()
    await asyncio.sleep(29.9)
    assert registry.has()
    await asyncio.sleep(0.2)
    assert not registry.has()


async def test_a_window_that_began_before_the_end_begins_anew_with_it():
    registry = Registry()
    entry = registry.made(window_s=30)
    await left_after(entry, 1)
    await asyncio.sleep(20)
    entry.recording.finish()
    await asyncio.sleep(29.9)
    assert registry.has()
    await asyncio.sleep(0.2)
    assert not registry.has()
    assert registry.stopped == []


async def test_one_that_is_read_again_and_again_is_kept_for_an_hour():
    registry = Registry()
    entry = registry.ended(window_s=300)
    while registry.has():
        await left_after(entry, 1)
        await asyncio.sleep(99)
        assert asyncio.get_running_loop().time() < 2 * LONGEST_KEPT_S
    assert asyncio.get_running_loop().time() == pytest.approx(LONGEST_KEPT_S, abs=100)


async def test_who_reads_when_the_hour_is_over_reads_on():
    registry = Registry()
    entry = registry.ended(window_s=300)
    reader = entry.recording.reader()
    await asyncio.sleep(2 * LONGEST_KEPT_S)
    assert registry.has()
    assert await reader.read() == b"01."
    reader.close()
    assert not registry.has()


async def test_one_whose_window_is_longer_than_an_hour_is_kept_for_its_window_and_no_longer():
    registry = Registry()
    entry = registry.ended(window_s=86_400)
    await asyncio.sleep(80_000)
    await left_after(entry, 1)
    assert registry.has()
    await asyncio.sleep(6_398)
    assert registry.has()
    await asyncio.sleep(2)
    assert not registry.has()


@pytest.mark.parametrize("window_s", [0, 30])
async def test_one_that_is_waited_for_goes_on_until_it_is_not(window_s):
    registry = Registry()
    entry = registry.made(window_s=window_s)
    entry.answer.is_awaited = True
    await left_after(entry, 5)
    await asyncio.sleep(1_000)
    assert registry.stopped == []
    entry.answer.is_awaited = False
    await asyncio.sleep(LOOK_AGAIN_S)
    assert registry.stopped == [("a", Ending.CLIENT_LEFT)]


async def test_who_comes_back_while_it_is_waited_for_has_a_window_of_his_own():
    registry = Registry()
    entry = registry.made(window_s=30)
    entry.answer.is_awaited = True
    await left_after(entry, 5)
    await asyncio.sleep(40)
    await left_after(entry, 5)
    entry.answer.is_awaited = False
    await asyncio.sleep(29)
    assert registry.stopped == []
    await asyncio.sleep(1.1)
    assert registry.stopped == [("a", Ending.CLIENT_LEFT)]


async def test_what_has_ended_is_not_kept_from_the_collector_by_who_made_it():
    registry = Registry()
    entry = registry.made(window_s=30)
    entry.recording.finish()
    assert entry.answer is None
