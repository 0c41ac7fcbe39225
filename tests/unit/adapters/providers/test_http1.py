"""One connection, fed with bytes and with time: no sockets, and no second is waited for."""

from __future__ import annotations

import asyncio
import gc
import weakref
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_transport import FakeTransport
from tests.support.gates import until_idle
from tests.support.virtual_time import VirtualLoop

from bandari.adapters.providers.http1 import (
    MAX_HEAD_BYTES,
    READ_AHEAD_BYTES,
    STALE_S,
    Connection,
    Limits,
    Unanswered,
    spelled_head,
)
from bandari.domain.faults import UpstreamInterrupted, UpstreamMalformed, UpstreamTimeout

LOOPS = {"virtual": VirtualLoop}

LIMITS = Limits(first_s=30, silence_s=10, answer_s=100)
IDLE_S = 4.0

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nX-A: b\r\ntransfer-encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 OK\r\nx-a: b\r\n\r\n"


class Line:
    """A connection, its other side, and how often it has told that it is gone."""

    def __init__(self) -> None:
        self.closings = 0
        self.connection = Connection(IDLE_S, self._closed)
        self.transport = FakeTransport(self.connection)

    def _closed(self, connection: Connection) -> None:
        assert connection is self.connection
        self.closings += 1

    def feed(self, *pieces: bytes) -> None:
        """As a network would: only while somebody reads."""
        for piece in pieces:
            if not self.transport.is_closing():
                assert self.transport.is_reading()
                self.connection.data_received(piece)


def asked(*pieces: bytes, limits: Limits = LIMITS) -> Line:
    line = Line()
    line.connection.send(b"request", limits)
    line.feed(*pieces)
    return line


def served() -> Line:
    """A connection that has served, and has been asked again."""
    line = asked(LENGTH)
    assert line.connection.release()
    line.connection.send(b"again", LIMITS)
    return line


async def whole(line: Line) -> tuple[int, str | None, bytes]:
    await line.connection.head()
    body = await line.connection.body(2**30)
    return line.connection.status, line.connection.header("x-a"), body


def running_timers() -> list[float]:
    return [
        timer.when() for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()
    ]


# -- answers ---------------------------------------------------------------------------------------

ANSWERS = {
    "length": LENGTH,
    "chunks": CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nx-t: u\r\nx-a: late\r\n\r\n",
    "to the end": TO_THE_END + b"hello",
    "of old": b"HTTP/1.0 200 OK\r\nx-a: b\r\n\r\nhello",
    "hints": b"HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 103 Hints\r\nx-a: no\r\n\r\n" + LENGTH,
    "odd hint": b"HTTP/1.1 150 Odd\r\ncontent-length: 2\r\n\r\nno" + LENGTH,
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_is_read(name):
    line = asked(ANSWERS[name])
    line.transport.end()
    assert await whole(line) == (200, "b", b"hello")


@settings(deadline=None)
@given(name=st.sampled_from(sorted(ANSWERS)), cuts=st.lists(st.integers(0, 150), max_size=20))
async def test_an_answer_cut_anywhere_is_the_same(name, cuts):
    answer = ANSWERS[name]
    edges = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
    line = asked(*(answer[start:end] for start, end in pairwise(edges) if start < end))
    line.transport.end()
    assert await whole(line) == (200, "b", b"hello")


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_byte_by_byte_is_the_same(name):
    line = asked(*(bytes([byte]) for byte in ANSWERS[name]))
    line.transport.end()
    assert await whole(line) == (200, "b", b"hello")


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_a_body_ends_with_its_head(status):
    line = asked(b"HTTP/1.1 %d x\r\n\r\n" % status)
    assert await whole(line) == (status, None, b"")
    assert line.connection.release()


async def test_an_empty_body_is_a_body():
    line = asked(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert await whole(line) == (200, None, b"")


async def test_headers_are_found_by_name_and_read_as_latin_1():
    line = asked(b"HTTP/1.1 200 OK\r\nX-A: caf\xe9\r\nx-a: two\r\nX-Empty:\r\n\r\n")
    assert line.connection.header("x-a") == "café"
    assert line.connection.header("x-empty") == ""
    assert line.connection.header("x") is None


async def test_what_has_come_meanwhile_comes_together():
    line = asked(CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n")
    assert await line.connection.chunk() == b"ab"
    line.feed(b"1\r\nc\r\n", b"0\r\n\r\n")
    assert await line.connection.chunk() == b"c"
    assert await line.connection.chunk() == b""
    assert await line.connection.chunk() == b""


async def test_a_reader_is_woken_by_what_he_waits_for():
    line = asked()
    head = asyncio.create_task(line.connection.head())
    await until_idle()
    line.feed(CHUNKED[:-1])
    await until_idle()
    assert not head.done()
    line.feed(CHUNKED[-1:])
    await head
    chunk = asyncio.create_task(line.connection.chunk())
    await until_idle()
    line.feed(b"1\r\na\r\n")
    assert await chunk == b"a"


async def test_a_reader_that_is_cancelled_loses_nothing():
    line = asked(CHUNKED)
    chunk = asyncio.create_task(line.connection.chunk())
    await until_idle()
    line.feed(b"1\r\na\r\n")
    chunk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await chunk
    assert await line.connection.chunk() == b"a"


# -- feeding ---------------------------------------------------------------------------------------


class Eater:
    """Takes what comes, until it has had so many pieces."""

    def __init__(self, most: int = 99) -> None:
        self.pieces: list[bytes] = []
        self.most = most

    def take(self, piece: bytes) -> bool:
        self.pieces.append(piece)
        return len(self.pieces) < self.most


async def test_what_is_fed_is_taken_at_once():
    line, eater = asked(CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n"), Eater()
    feeding = asyncio.create_task(line.connection.feed(eater.take))
    await until_idle()
    assert eater.pieces == [b"ab"]
    line.feed(b"1\r\nc\r\n")
    assert eater.pieces == [b"ab", b"c"]  # in the turn in which it came
    line.feed(b"1\r\nd\r\n0\r\n\r\n")
    assert await feeding is False
    assert eater.pieces == [b"ab", b"c", b"d"]
    assert await line.connection.feed(eater.take) is False
    assert line.connection.release()


@pytest.mark.parametrize("waits", [False, True])
async def test_whoever_has_enough_is_fed_no_more(waits):
    line, eater = asked(CHUNKED), Eater(1)
    feeding = asyncio.create_task(line.connection.feed(eater.take))
    if waits:
        await until_idle()
    line.feed(b"1\r\na\r\n")
    if not waits:
        await until_idle()
    line.feed(b"1\r\nb\r\n")
    assert await feeding is True
    assert eater.pieces == [b"a"]
    assert await line.connection.chunk() == b"b"


async def test_a_fault_comes_after_what_was_fed():
    line, eater = asked(CHUNKED), Eater()
    feeding = asyncio.create_task(line.connection.feed(eater.take))
    await until_idle()
    line.feed(b"1\r\na\r\nzz\r\n")
    with pytest.raises(UpstreamInterrupted):
        await feeding
    assert eater.pieces == [b"a"]


async def test_whoever_is_fed_makes_nobody_wait():
    line, eater = asked(CHUNKED), Eater()
    feeding = asyncio.create_task(line.connection.feed(eater.take))
    await until_idle()
    for _ in range(4):
        line.feed(b"%x\r\n%b\r\n" % (READ_AHEAD_BYTES, b"x" * READ_AHEAD_BYTES))
    line.feed(b"0\r\n\r\n")
    assert await feeding is False
    assert sum(map(len, eater.pieces)) == 4 * READ_AHEAD_BYTES
    assert line.connection.release()


async def test_whoever_is_cancelled_is_fed_no_more_and_leaves_nothing_to_the_next():
    line, eater, next_eater = asked(CHUNKED), Eater(1), Eater()
    feeding = asyncio.create_task(line.connection.feed(eater.take))
    await until_idle()
    line.feed(b"1\r\na\r\n0\r\n\r\n")  # it has enough, and is cancelled before it hears of it
    feeding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await feeding
    assert line.connection.release()
    line.connection.send(b"again", LIMITS)
    feeding = asyncio.create_task(line.connection.feed(next_eater.take))
    await until_idle()
    line.feed(CHUNKED)
    await until_idle()
    assert not feeding.done()
    line.feed(b"1\r\nb\r\n", b"0\r\n\r\n")
    assert await feeding is False
    assert (eater.pieces, next_eater.pieces) == ([b"a"], [b"b"])


# -- answers that are none -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "head",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Other\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 101 Other\r\n\r\n",
        b"HTTP/1.1 000 None\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 099 None\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx y: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
    ],
)
async def test_a_head_that_cannot_be_read(head):
    line = asked(head)
    with pytest.raises(UpstreamMalformed):
        await line.connection.head()
    assert (line.transport.is_closing(), line.closings, running_timers()) == (True, 1, [])


@pytest.mark.parametrize("rest", [b"zz\r\n", b"ffffffffffffffffff\r\n", b"1\r\nab\r\n"])
async def test_a_body_that_cannot_be_read(rest):
    line = asked(CHUNKED, b"1\r\na\r\n", rest)
    assert (await line.connection.chunk())[:1] == b"a"
    with pytest.raises(UpstreamInterrupted):
        await line.connection.chunk()


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n"])
async def test_a_body_that_breaks_off(answer):
    line = asked(answer[:-1])
    line.transport.end()
    with pytest.raises(UpstreamInterrupted):
        await whole(line)


async def test_a_body_to_the_end_of_a_connection_that_breaks_is_not_whole():
    line = asked(TO_THE_END + b"hel")
    line.transport.lose(ConnectionResetError())
    with pytest.raises(UpstreamInterrupted):
        await whole(line)


async def test_a_body_to_the_end_ends_also_while_the_request_is_still_being_sent():
    """The transport of a half-closed connection goes on writing, and closes only then."""
    for answer, expected in ((TO_THE_END + b"hello", True), (LENGTH[:-1], False)):
        line = asked(answer)
        await line.connection.chunk()
        reading = asyncio.create_task(line.connection.chunk())
        await until_idle()
        line.connection.eof_received()
        if expected:
            assert await reading == b""
        else:
            with pytest.raises(UpstreamInterrupted):
                await reading


async def test_a_body_to_the_end_of_a_connection_that_we_ended_is_not_whole():
    line = asked(TO_THE_END + b"hel")
    line.connection.close()
    line.connection.eof_received()
    with pytest.raises(UpstreamInterrupted):
        await whole(line)
    assert await ends_at(asked(TO_THE_END + b"hel")) == pytest.approx(10)


@pytest.mark.parametrize(
    "endless",
    [
        b"x",
        b"HTTP/1.1 200 OK\r\nx: ",
        b"HTTP/1.1 100 Go on\r\n\r\n",
        b"HTTP/1.1 150 Odd\r\ncontent-length: 1\r\n\r\nx",
        b"HTTP/1.1 150 Odd\r\ncontent-length: 9999999\r\n\r\n",
        CHUNKED + b"1\r\na\r\n0\r\nx: ",
        CHUNKED + b"1;",
    ],
    ids=[
        "word",
        "header",
        "informational",
        "informational bodies",
        "informational body",
        "trailer",
        "chunk extension",
    ],
)
async def test_what_is_beside_the_body_has_a_bound(endless):
    line = asked()
    more = endless if endless.startswith(b"HTTP/1.1 1") and b"999" not in endless else b"x"
    fed = 0
    line.feed(endless)
    while not line.transport.is_closing():
        line.feed(more * 400)
        fed += len(more) * 400
        assert fed < 2 * MAX_HEAD_BYTES
    with pytest.raises(UpstreamMalformed):
        await whole(line)


async def test_the_framing_of_a_long_body_does_not_add_up():
    line = asked(CHUNKED)
    for _ in range(MAX_HEAD_BYTES // 4):
        line.feed(b"1\r\n", b"a", b"\r\n")
        assert await line.connection.chunk() == b"a"
    line.feed(b"0\r\n\r\n")
    assert await line.connection.chunk() == b""


async def test_a_body_is_read_up_to_a_size():
    assert await asked(LENGTH).connection.body(5) == b"hello"
    with pytest.raises(UpstreamMalformed, match="exceeds 4 bytes"):
        await asked(LENGTH).connection.body(4)


async def test_a_fault_does_not_keep_what_was_asked():
    """A request may be large, and its connection is remembered a little longer."""

    class Request:
        """Something that can be pointed at."""

    async def ask(line: Line) -> weakref.ref[Request]:
        request = Request()
        seen = weakref.ref(request)
        with pytest.raises(UpstreamInterrupted):
            await line.connection.head()
        return seen

    line = asked()
    line.connection.close()
    gc.disable()
    try:
        seen = await ask(line)
        assert seen() is None
    finally:
        gc.enable()


# -- one answer to one request ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "more", [b"HTTP/1.1 500 No\r\ncontent-length: 3\r\n\r\nbad", b"HT", b"\0", b"\r\n\r\nHTTP/1.1"]
)
@pytest.mark.parametrize("together", [True, False])
async def test_what_follows_an_answer_is_no_answer(more, together):
    line = asked(*((LENGTH + more,) if together else (LENGTH, more)))
    assert await whole(line) == (200, "b", b"hello")
    assert not line.connection.release()
    assert line.closings == 1


@pytest.mark.parametrize(
    "piece", [b"HTTP/1.1 408 You sleep\r\nconnection: close\r\n\r\n", LENGTH, b"H", b"\r\n"]
)
async def test_what_comes_while_nothing_is_asked_closes_the_connection(piece):
    line = asked(LENGTH)
    assert await whole(line) == (200, "b", b"hello")
    assert line.connection.release()
    line.feed(piece)
    assert (line.connection.is_usable, line.closings, running_timers()) == (False, 1, [])


@pytest.mark.parametrize("piece", [LENGTH, LENGTH[:30], b"\r\n"])
async def test_what_comes_before_anything_is_asked_closes_the_connection(piece):
    line = Line()
    line.feed(piece)
    assert (line.connection.is_usable, line.closings) == (False, 1)


async def test_a_connection_serves_one_after_the_other():
    line = asked()
    assert not line.connection.is_usable
    with pytest.raises(AssertionError):
        line.connection.send(b"another", LIMITS)
    for answer in (ANSWERS["trailers"], b"HTTP/1.1 204 x\r\n\r\n", LENGTH):
        line.feed(answer)
        await whole(line)
        assert line.connection.release()
        assert line.connection.is_usable
        line.connection.send(b" again", LIMITS)
    line.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    assert await whole(line) == (200, None, b"ok")
    assert line.transport.written == b"request again again again"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        LENGTH[:-1],
        CHUNKED + b"5\r\nhello\r\n",
        TO_THE_END,
    ],
    ids=["close", "HTTP/1.0", "length", "chunked", "to the end"],
)
async def test_a_connection_that_cannot_serve_again(answer):
    line = asked(answer)
    await line.connection.head()
    assert not line.connection.release()


async def test_a_connection_whose_request_was_answered_before_it_was_read_is_not_used_again():
    line = asked()
    line.transport.unsent = 1
    line.feed(LENGTH)
    assert not line.connection.release()


async def test_a_connection_that_is_made_to_wait_is_not_used_again():
    """Nobody would resume it."""
    size = READ_AHEAD_BYTES + 1
    line = asked(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
    assert line.connection.is_complete
    assert not line.connection.release()


# -- unanswered ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "fault"), [(STALE_S / 2, Unanswered), (STALE_S, UpstreamInterrupted)]
)
async def test_a_request_that_was_worked_on_for_long_is_not_asked_again(seconds, fault):
    line = served()
    await asyncio.sleep(seconds)
    line.connection.connection_lost(None)
    with pytest.raises(UpstreamInterrupted) as raised:
        await line.connection.head()
    assert raised.type is fault


async def test_a_connection_that_served_before_and_is_closed_without_a_byte_is_unanswered():
    for error in (None, ConnectionResetError()):
        line = served()
        line.transport.lose(error)
        with pytest.raises(Unanswered):
            await line.connection.head()
    line = served()
    line.transport.end()
    with pytest.raises(Unanswered):
        await line.connection.head()


@pytest.mark.parametrize("piece", [b"H", b"HTTP/1.1 100 Go on\r\n\r\n"])
async def test_after_one_byte_it_was_answered(piece):
    line = served()
    line.feed(piece)
    line.transport.end()
    with pytest.raises(UpstreamInterrupted) as caught:
        await line.connection.head()
    assert caught.type is UpstreamInterrupted


async def test_on_a_new_connection_it_is_an_interruption():
    line = asked()
    line.transport.end()
    with pytest.raises(UpstreamInterrupted) as caught:
        await line.connection.head()
    assert caught.type is UpstreamInterrupted


async def test_a_408_that_crossed_the_request_is_no_answer():
    farewell = b"HTTP/1.1 408 You sleep\r\nConnection: Close\r\ncontent-length: 0\r\n\r\n"
    line = served()
    line.feed(farewell)
    with pytest.raises(Unanswered):
        await line.connection.head()
    line = asked(farewell)
    await line.connection.head()
    assert line.connection.status == 408
    line = served()
    line.feed(b"HTTP/1.1 408 Too slow\r\ncontent-length: 0\r\n\r\n")
    await line.connection.head()
    assert line.connection.status == 408


# -- time ------------------------------------------------------------------------------------------


async def ends_at(line: Line, *pieces: bytes, every_s: float = 1.0) -> float:
    """When the connection is given up, if the upstream sends these, one after the other."""
    loop = asyncio.get_running_loop()
    start = loop.time()

    async def read() -> None:
        await line.connection.head()
        while await line.connection.chunk():
            pass

    reading = asyncio.create_task(read())
    for piece in pieces:
        await asyncio.sleep(every_s)
        line.feed(piece)
    with pytest.raises(UpstreamTimeout):
        await reading
    assert (line.transport.is_closing(), line.closings, running_timers()) == (True, 1, [])
    return loop.time() - start


@pytest.mark.parametrize(
    ("limits", "pieces", "at"),
    [
        (Limits(30, 10, 100), [], 30),
        (Limits(30, 10, 100), [CHUNKED], 30),
        (Limits(30, 10, 20), [], 20),
        (Limits(30, 10, 100), [CHUNKED, b"1\r\na\r\n"], 12),
        (Limits(30, 10, 100), [TO_THE_END, b"a"], 12),
        (Limits(30, 10, 100), [CHUNKED, b"1\r\na\r\n", b"1\r\nb\r\n"], 13),
        (Limits(30, 60, 100), [CHUNKED, b"1\r\na\r\n"], 62),
        (Limits(30, 10, 20), [CHUNKED, *[b"1\r\na\r\n"] * 18], 20),
        (Limits(30, 10, 100), [CHUNKED + b"1\r\na\r\n", b"1\r\n", b"b\r\n", b"0\r\n"], 13),
    ],
    ids=[
        "head",
        "first piece",
        "whole before the first",
        "next piece, sooner than the first might have come",
        "next piece of a body to the end",
        "next but one",
        "next piece, later than the first might have come",
        "whole",
        "end",
    ],
)
async def test_an_answer_takes_too_long(limits, pieces, at):
    assert await ends_at(asked(limits=limits), *pieces) == pytest.approx(at)


async def test_an_upstream_that_is_made_to_wait_is_not_silent():
    line = asked(CHUNKED + b"%x\r\n" % (10 * READ_AHEAD_BYTES))
    line.feed(b"x" * (READ_AHEAD_BYTES + 1))
    assert not line.transport.is_reading()
    await asyncio.sleep(59.5)
    assert not line.transport.is_closing()
    assert len(await line.connection.chunk()) == READ_AHEAD_BYTES + 1
    assert line.transport.is_reading()
    # Only now may it send more, and it has all of the time for that.
    assert await ends_at(line) == pytest.approx(10)


async def test_an_upstream_that_is_made_to_wait_is_given_up_when_the_whole_takes_too_long():
    line = asked(CHUNKED + b"%x\r\n" % (10 * READ_AHEAD_BYTES) + b"x" * (READ_AHEAD_BYTES + 1))
    await asyncio.sleep(99)
    assert not line.transport.is_closing()
    await asyncio.sleep(2)
    assert line.transport.is_closing()
    assert await line.connection.chunk()
    with pytest.raises(UpstreamTimeout):
        await line.connection.chunk()


async def test_an_answer_that_is_complete_can_be_read_at_any_time():
    line = asked(LENGTH)
    await asyncio.sleep(1000)
    assert await whole(line) == (200, "b", b"hello")
    assert not line.connection.release()


async def test_what_has_come_is_read_before_the_fault():
    line = asked(CHUNKED, b"1\r\na\r\n")
    line.transport.lose(ConnectionResetError())
    await until_idle()
    assert await line.connection.chunk() == b"a"
    with pytest.raises(UpstreamInterrupted):
        await line.connection.chunk()


async def test_a_connection_that_is_idle_closes_itself():
    line = asked(LENGTH)
    await asyncio.sleep(1)
    assert line.connection.release()
    await asyncio.sleep(IDLE_S - 0.1)
    assert line.connection.is_usable
    await asyncio.sleep(0.2)
    assert (line.connection.is_usable, line.closings, running_timers()) == (False, 1, [])


async def test_a_connection_in_use_has_one_timer_and_one_that_is_closed_has_none():
    line = asked(LENGTH)
    for _ in range(10):
        assert len(running_timers()) == 1
        assert line.connection.release()
        assert len(running_timers()) == 1
        line.connection.send(b"again", LIMITS)
        line.feed(CHUNKED, b"1\r\na\r\n", b"0\r\n\r\n")
        await asyncio.sleep(1)
    line.connection.close()
    line.connection.close()
    assert not line.connection.release()
    await until_idle()
    assert (line.closings, running_timers()) == (1, [])


async def test_closing_wakes_a_reader():
    line = asked(TO_THE_END + b"a")
    await line.connection.chunk()
    reading = asyncio.create_task(line.connection.chunk())
    await until_idle()
    line.connection.close()
    with pytest.raises(UpstreamInterrupted):
        await reading


# -- reading ahead ---------------------------------------------------------------------------------


async def test_what_nobody_reads_is_read_up_to_a_bound():
    line = asked(CHUNKED)
    piece = b"400\r\n%b\r\n" % (b"x" * 1024)
    for _ in range(READ_AHEAD_BYTES // 1024):
        line.feed(piece)
    assert line.transport.is_reading()
    line.feed(piece)
    assert not line.transport.is_reading()
    assert len(await line.connection.chunk()) == READ_AHEAD_BYTES + 1024
    assert line.transport.is_reading()
    line.feed(piece)
    assert len(await line.connection.chunk()) == 1024


async def test_a_connection_that_is_lost_while_it_was_made_to_wait_is_read_to_its_end():
    line = asked(CHUNKED + b"%x\r\n" % (2 * READ_AHEAD_BYTES) + b"x" * (READ_AHEAD_BYTES + 1))
    line.transport.lose(ConnectionResetError())
    await until_idle()
    assert len(await line.connection.chunk()) == READ_AHEAD_BYTES + 1
    with pytest.raises(UpstreamInterrupted):
        await line.connection.chunk()


# -- requests --------------------------------------------------------------------------------------


def test_a_head_is_spelled():
    head = spelled_head("POST", "/v1/x?y", [("host", "h:1"), ("x-a", "caf\xe9")])
    assert head == b"POST /v1/x?y HTTP/1.1\r\nhost: h:1\r\nx-a: caf\xe9\r\n"


@pytest.mark.parametrize("bad", ["a\nb", "a\r\nb", "a\0", "\x7f", "☃"])
def test_what_ends_a_line_cannot_be_sent(bad):
    with pytest.raises(ValueError):
        spelled_head("POST", "/", [("x", bad)])
    with pytest.raises(ValueError):
        spelled_head("POST", "/", [(bad, "x")])
    with pytest.raises(ValueError):
        spelled_head("POST", f"/{bad}", [])
