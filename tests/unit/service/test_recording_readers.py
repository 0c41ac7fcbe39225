"""Who reads a recording, and what it calls when they come and leave."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import until_idle
from tests.support.virtual_time import VirtualLoop

from bandari.domain.problem import Blame, Problem
from bandari.service.recording import Recording, RecordingFull

LOOPS = {"virtual": VirtualLoop}

PROBLEM = Problem(502, "upstream_error", "The model's provider failed.", Blame.UPSTREAM)


def recording(*frames: bytes) -> Recording:
    made = Recording("str_1", 1_000_000)
    made.append(frames)
    return made


# -- who reads -------------------------------------------------------------------------------------


def watched(*frames: bytes) -> tuple[Recording, list[tuple[str, int]]]:
    """A recording, and what it calls: with how many read it then."""
    made, told = recording(*frames), []
    made.when_read = lambda: told.append(("read", made.readers))
    made.when_unread = lambda: told.append(("unread", made.readers))
    made.when_ended = lambda: told.append(("ended", made.readers))
    return made, told


async def test_readers_are_counted_from_their_making_to_their_close():
    made, told = watched(b"a")
    first = made.reader()
    second = made.reader()
    assert (made.readers, told) == (2, [("read", 0)])
    first.close()
    assert (made.readers, told) == (1, [("read", 0)])
    second.close()
    assert (made.readers, told) == (0, [("read", 0), ("unread", 0)])
    made.reader().close()
    assert told[2:] == [("read", 0), ("unread", 0)]


async def test_a_reader_closes_once():
    made, told = watched(b"a")
    reader, other = made.reader(), made.reader()
    reader.close()
    reader.close()
    assert made.readers == 1
    other.close()
    other.close()
    assert (made.readers, told) == (0, [("read", 0), ("unread", 0)])


async def test_one_who_names_a_frame_that_is_not_there_is_no_reader():
    made, told = watched(b"a")
    with pytest.raises(IndexError):
        made.reader(1)
    assert (made.readers, told) == (0, [])


async def test_one_for_whom_there_is_no_room_is_no_reader():
    made = recording(b"a")

    def refuse() -> None:
        raise RecordingFull

    made.when_read = refuse
    with pytest.raises(RecordingFull):
        made.reader()
    assert made.readers == 0
    made.when_read = None
    made.reader().close()
    assert made.readers == 0


async def test_a_closed_reader_reads_nothing_more():
    made = recording(b"there")
    reader = made.reader()
    reader.close()
    assert await reader.read() == b""
    made.append([b"more"])
    assert await reader.read() == b""


async def test_a_reader_may_be_closed_by_who_takes_its_frames():
    made = recording()
    reader, other = made.reader(), made.reader()
    has_left = False

    def take(frames: bytes) -> bool:
        nonlocal has_left
        if has_left:
            return False
        has_left = True
        reader.close()
        return True

    reading = asyncio.create_task(reader.read_within(60, take))
    beside = asyncio.create_task(other.read())
    await until_idle()
    made.append([b"one"])
    made.append([b"two"])
    assert (await reading, await beside) == (b"", b"onetwo")
    assert (made.readers, made._waiting) == (1, [])


async def test_the_end_is_told_once_when_all_is_there():
    for end in (Recording.finish, lambda made, last: made.fail(PROBLEM, last)):
        made, told = recording(b"a"), []
        made.when_ended = lambda made=made, told=told: told.append((made.ended, made.bytes_from(0)))
        end(made, [b"z"])
        assert told == [(True, b"az")]


async def test_a_recording_without_a_watch_may_be_read_and_ended():
    made = recording(b"a")
    made.reader().close()
    made.finish()
    assert made.ended


async def test_a_client_that_takes_nothing_is_woken_at_once():
    made = recording()
    waiting = asyncio.create_task(made.reader().read_within(60, lambda _frames: False))
    await until_idle()
    made.append([b"frame"])
    assert await waiting == b"frame"


async def test_a_wait_that_is_over_does_not_end_the_next():
    made, loop = recording(), asyncio.get_running_loop()
    reader = made.reader()
    loop.call_later(5, made.append, [b"frame"])
    assert await reader.read_within(10) == b"frame"
    assert await reader.read_within(100) is None
    assert loop.time() == 105
