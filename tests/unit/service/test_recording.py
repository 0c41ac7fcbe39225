from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import until_idle
from tests.support.virtual_time import VirtualLoop

from bandari.domain.problem import Blame, Problem
from bandari.service.recording import SEGMENT_BYTES, About, Recording, RecordingFull

PROBLEM = Problem(502, "upstream_error", "The model's provider failed.", Blame.UPSTREAM)


def recording(*frames: bytes, max_bytes: int = 1_000_000) -> Recording:
    made = Recording("str_1", max_bytes)
    made.append(frames)
    return made


async def rest_of(reader) -> bytes:
    data = b""
    while piece := await reader.read():
        data += piece
    return data


async def test_a_reader_gets_all_frames_that_are_there_at_once():
    made = recording(b"one ", b"two ")
    reader = made.reader()
    assert await reader.read() == b"one two "
    made.append([b"three"])
    assert reader.has_more
    assert await reader.read() == b"three"
    assert not reader.has_more
    made.finish()
    assert await reader.read() == b""
    assert await reader.read() == b""


async def test_a_reader_begins_behind_any_frame():
    made = recording(b"0", b"11", b"", b"333")
    made.finish([b"4"])
    assert [await made.reader(frame).read() for frame in range(-1, 5)] == [
        b"0113334",
        b"113334",
        b"3334",
        b"3334",
        b"4",
        b"",
    ]


@pytest.mark.parametrize("frame", [-2, 2, 100])
async def test_a_frame_that_is_not_there_is_an_error(frame):
    made = recording(b"a", b"b")
    with pytest.raises(IndexError):
        made.reader(frame)


async def test_frames_are_kept_whole_over_many_segments():
    frames = [bytes([index % 256]) * (SEGMENT_BYTES // 3 + index) for index in range(20)]
    frames.insert(7, b"x" * (SEGMENT_BYTES + 1))  # larger than a segment
    made = recording(*frames, max_bytes=10 * SEGMENT_BYTES * len(frames))
    made.finish()
    whole = b"".join(frames)
    assert (made.size, made.frame_count) == (len(whole), len(frames))
    for after in range(-1, len(frames)):
        assert await rest_of(made.reader(after)) == b"".join(frames[after + 1 :])
    # From every offset around the seams of segments, not only where frames begin.
    for offset in range(0, len(whole), SEGMENT_BYTES // 5):
        assert made.bytes_from(offset) == whole[offset:]
    assert made.bytes_from(len(whole)) == b""
    assert made.bytes_from(len(whole) + 1) == b""


async def test_what_a_reader_got_stays_as_it_was_when_more_comes():
    made = recording(b"first")
    got = await made.reader().read()
    made.append([b" second"])
    assert got == b"first"


async def test_many_readers_each_at_its_own_pace():
    made = recording(b"a")
    readers = [made.reader() for _ in range(5)]
    slow = made.reader()
    got = [asyncio.create_task(rest_of(reader)) for reader in readers]
    for frame in (b"b", b"c"):
        await until_idle()
        made.append([frame])
    made.finish([b"d"])
    assert await asyncio.gather(*got) == [b"abcd"] * 5
    assert await slow.read() == b"abcd"  # it held nobody up, and missed nothing


async def test_a_waiting_reader_is_woken_by_a_frame_and_by_the_end():
    made = recording()
    reader = made.reader()
    waiting = asyncio.create_task(reader.read())
    await until_idle()
    assert not waiting.done()
    made.append([b"frame"])
    assert await waiting == b"frame"
    waiting = asyncio.create_task(reader.read())
    await until_idle()
    assert not waiting.done()
    made.finish()
    assert await waiting == b""


async def test_appending_nothing_does_not_end_a_read():
    made = recording()
    waiting = asyncio.create_task(made.reader().read())
    await until_idle()
    made.append([])
    await until_idle()
    assert not waiting.done()
    made.finish()
    assert await waiting == b""


async def test_a_reader_that_gives_up_leaves_nothing_behind_and_loses_nothing():
    made = recording()
    reader = made.reader()
    for _ in range(3):
        waiting = asyncio.create_task(reader.read())
        await until_idle()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not made._waiting
    made.append([b"frame"])
    assert await reader.read() == b"frame"


async def test_a_reader_that_gives_up_just_as_a_frame_comes_finds_it_next_time():
    made = recording()
    reader = made.reader()
    waiting = asyncio.create_task(reader.read())
    other = asyncio.create_task(made.reader().read())
    await until_idle()
    waiting.cancel()
    made.append([b"frame"])  # the waiter is cancelled, and has not run yet
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await other == b"frame"
    assert await reader.read() == b"frame"

    waiting = asyncio.create_task(reader.read())
    await until_idle()
    made.append([b"second"])
    waiting.cancel()  # woken, and cancelled before it could look
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await reader.read() == b"second"


async def test_a_limit_bounds_what_is_kept():
    made = recording(b"12345", max_bytes=10)
    with pytest.raises(RecordingFull) as caught:
        made.append([b"678", b"9abc"])
    assert (caught.value.status, caught.value.code) == (500, "answer_too_large")
    assert await made.reader().read() == b"12345678"  # what fitted stays
    made.append([b"9a"])
    assert made.size == 10


async def test_the_frames_that_tell_the_end_are_kept_beyond_the_limit():
    made = recording(b"12345", max_bytes=5)
    made.fail(PROBLEM, [b"too large"])
    assert await made.reader().read() == b"12345too large"


@pytest.mark.parametrize("end", [Recording.finish, lambda made: made.fail(PROBLEM)])
async def test_a_recording_ends_once_and_takes_nothing_after(end):
    made = recording(b"a")
    made.finish([b"z"])
    with pytest.raises(AssertionError):
        made.append([b"b"])
    with pytest.raises(AssertionError):
        end(made)
    with pytest.raises(AssertionError):
        made.finish([b"b"])
    with pytest.raises(AssertionError):
        made.fail(PROBLEM, [b"b"])
    assert made.ended
    assert made.problem is None
    assert await made.reader().read() == b"az"


async def test_failing_before_the_first_frame_is_early():
    made = recording()
    made.fail(PROBLEM, [b"problem"])
    assert made.failed_early
    assert made.problem is PROBLEM
    assert await made.reader().read() == b"problem"


async def test_failing_after_a_frame_is_late():
    made = recording(b"text")
    made.fail(PROBLEM, [b"problem"])
    assert not made.failed_early
    assert made.ended
    assert await rest_of(made.reader()) == b"textproblem"


# -- frames that are taken at once -----------------------------------------------------------------


class Client:
    """Takes frames while it ``reads``."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.reads = True

    def take(self, frames: bytes) -> bool:
        if self.reads:
            self.got.append(frames)
        return self.reads


async def test_frames_are_given_to_a_client_that_reads_without_waking_its_task():
    made, client = recording(b"first"), Client()
    reader = made.reader()
    assert await reader.read_within(60, client.take) == b"first"
    waiting = asyncio.create_task(reader.read_within(60, client.take))
    await until_idle()
    made.append([b"a", b"b"])
    made.append([b"c"])
    assert client.got == [b"ab", b"c"]
    await until_idle()
    assert not waiting.done()
    made.finish([b"the end"])
    assert await waiting == b"the end"
    assert await reader.read_within(60, client.take) == b""


async def test_a_client_that_does_not_read_misses_nothing():
    made, client = recording(), Client()
    reader = made.reader()
    waiting = asyncio.create_task(reader.read_within(60, client.take))
    await until_idle()
    made.append([b"taken "])
    client.reads = False
    made.append([b"not "])
    made.append([b"taken"])  # its task has been woken, and has not run yet
    assert await waiting == b"not taken"
    assert client.got == [b"taken "]


async def test_a_clients_defect_is_not_the_recordings():
    made = recording()

    def take(frames: bytes) -> bool:
        raise ZeroDivisionError

    reading = asyncio.create_task(made.reader().read_within(60, take))
    other = asyncio.create_task(made.reader().read())
    await until_idle()
    made.append([b"frame"])
    assert (await reading, await other) == (b"frame", b"frame")


async def test_a_recording_that_is_full_has_given_what_fitted():
    made, client = recording(max_bytes=8), Client()
    waiting = asyncio.create_task(made.reader().read_within(60, client.take))
    await until_idle()
    with pytest.raises(RecordingFull):
        made.append([b"1234", b"567890"])
    made.fail(PROBLEM, [b"!"])
    assert await waiting == b"1234!"
    assert client.got == []


def test_silence_is_counted_from_the_last_frame_that_was_taken():
    async def beat_for_an_hour() -> tuple[bytes | None, float]:
        made, client = recording(), Client()
        waiting = asyncio.create_task(made.reader().read_within(15, client.take))
        for _ in range(360):
            await asyncio.sleep(10)
            made.append([b"."])
        assert client.got == [b"."] * 360
        return await waiting, asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(beat_for_an_hour()) == (None, 3600 + 15)


@pytest.mark.parametrize("timeout_s", [None, 60.0])
async def test_closing_wakes_the_task_that_reads(timeout_s):
    made, client = recording(), Client()
    reader = made.reader()
    waiting = asyncio.create_task(reader.read_within(timeout_s, client.take))
    await until_idle()
    reader.close()
    assert await waiting == b""
    assert not made._waiting
    made.append([b"frame"])
    assert client.got == []


async def test_a_reader_beside_one_that_stalls():
    made, quick, stalled = recording(), Client(), Client()
    stalled.reads = False
    readers = [made.reader(), made.reader()]
    waiting = [
        asyncio.create_task(reader.read_within(60, client.take))
        for reader, client in zip(readers, (quick, stalled), strict=True)
    ]
    await until_idle()
    for number in range(100):
        made.append([b"%02d" % number])
    assert len(quick.got) == 100
    assert await waiting[1] == b"".join(quick.got)  # in one piece, kept once
    made.finish()
    assert await waiting[0] == b""
    assert made.size == 200


# -- what is told beside ---------------------------------------------------------------------------


def test_nothing_is_told_of_a_recording_that_nothing_is_known_of():
    made = Recording("str_1")
    assert (made.id, made.problem, made.failed_early, made.ended) == ("str_1", None, False, False)
    assert made.about == About()
    assert (made.about.receipt_id, made.about.window_s, made.about.was_cached) == (None, 0, None)
    assert Recording("str_2").about is not made.about


def test_what_is_told_is_as_far_as_it_is_known_by_now():
    about = About(surface="messages", is_streaming=False, window_s=30)
    made = Recording("str_1", about=about)
    about.ignored = ("seed",)
    assert made.about is about
