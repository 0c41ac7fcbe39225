"""HTTP to upstreams, over real sockets on loopback."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import tracemalloc
from contextlib import suppress

import pytest
from tests.support.gates import Gate, until
from tests.support.http_upstream import CUT, RESET, HttpUpstream, Reply, json_body, sse

from bandari.adapters.providers.transport import HttpTransport, Timeouts
from bandari.domain.faults import (
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamTimeout,
    UpstreamUnreachable,
)


async def read_all(transport, server, body: bytes = b"{}") -> bytes:
    async with transport.post(f"{server.url}/v1/x", {"x-a": "b"}, body) as reply:
        return await reply.body(2**30)


async def test_a_request_arrives_as_it_was_sent(transports):
    async with HttpUpstream(json_body({"ok": True}, x_kind="test")) as server, transports() as http:
        headers = {"content-type": "application/json", "authorization": "Bearer k"}
        async with http.post(f"{server.url}/v1/x", headers, b'{"a":1}') as reply:
            assert reply.status == 200
            assert reply.header("x-kind") == "test"
            assert reply.header("absent") is None
            assert await reply.body(100) == b'{"ok": true}'
        request = server.requests[0]
        assert (request.method, request.path, request.body) == ("POST", "/v1/x", b'{"a":1}')
        assert request.headers["authorization"] == "Bearer k"
        assert request.headers["user-agent"] == "bandari"
        assert request.headers.get("accept-encoding") is None


async def test_chunks_come_as_soon_as_they_are_sent(transports):
    gates = [Gate(), Gate()]
    async with (
        HttpUpstream(sse("a", gates[0], "b", gates[1], "c")) as server,
        transports() as http,
        http.post(server.url, {}, b"") as reply,
    ):
        assert await reply.chunk() == b"data: a\n\n"
        gates[0].open()
        assert await reply.chunk() == b"data: b\n\n"
        gates[1].open()
        assert await reply.chunk() == b"data: c\n\n"
        assert await reply.chunk() == b""


async def test_a_connection_is_used_again(transports):
    async with HttpUpstream(json_body({}), sse("a"), json_body({})) as server, transports() as http:
        for _ in range(3):
            await read_all(http, server)
        assert [request.connection for request in server.requests] == [0, 0, 0]


async def test_without_keep_alive_no_connection_is_used_twice(transports):
    async with HttpUpstream(sse("a")) as server, transports(keep_alive=False) as http:
        for _ in range(3):
            assert await read_all(http, server) == b"data: a\n\n"
        assert server.connections == 3


async def test_a_connection_that_is_idle_is_given_up(transports):
    async with (
        HttpUpstream(json_body({})) as server,
        transports(Timeouts(idle_connection_ms=50)) as http,
    ):
        assert await read_all(http, server) == b"{}"
        done, waiting = await asyncio.wait(server.tasks, timeout=5)  # the connection's end
        assert (len(done), len(waiting)) == (1, 0)


async def test_a_request_whose_connection_was_closed_unanswered_is_sent_once_more(transports):
    """What llama.cpp does to a connection that is used again after a stream."""
    closed = Reply(CUT, raw=True)
    async with HttpUpstream(json_body({}), closed, json_body({"ok": 1})) as server:
        async with transports() as http:
            assert await read_all(http, server) == b"{}"
            assert await read_all(http, server) == b'{"ok": 1}'
        assert [request.body for request in server.requests] == [b"{}"] * 3


async def test_a_request_that_is_never_answered_is_sent_no_third_time(transports):
    async with HttpUpstream(json_body({}), Reply(CUT, raw=True)) as server, transports() as http:
        await read_all(http, server)
        with pytest.raises(UpstreamInterrupted):
            await read_all(http, server)
        assert [request.connection for request in server.requests] == [0, 0, 1]


async def test_the_one_that_is_sent_once_more_goes_over_a_new_connection(transports):
    """Of many that were kept, all may have been closed."""
    gate = Gate()
    replies = [Reply(gate, b"{}")] * 3 + [Reply(CUT, raw=True), json_body({"ok": 1})]
    async with HttpUpstream(*replies) as server, transports() as http:
        asking = [asyncio.create_task(read_all(http, server)) for _ in range(3)]
        await server.request(2)
        gate.open()
        await asyncio.gather(*asking)
        assert await read_all(http, server) == b'{"ok": 1}'
        assert server.requests[4].connection == 3


async def test_on_a_new_connection_it_is_sent_once(transports):
    async with HttpUpstream(Reply(CUT, raw=True)) as server, transports() as http:
        with pytest.raises(UpstreamInterrupted):
            await read_all(http, server)
        assert len(server.requests) == 1


@pytest.mark.parametrize("piece", [b"H", b"HTTP/1.1 100 Go on\r\n\r\n"])
async def test_a_request_whose_answer_had_begun_is_sent_once(transports, piece):
    async with HttpUpstream(json_body({}), Reply(piece, CUT, raw=True)) as server:
        async with transports() as http:
            await read_all(http, server)
            with pytest.raises(UpstreamInterrupted):
                await read_all(http, server)
        assert len(server.requests) == 2


async def test_what_a_server_says_to_an_idle_connection_answers_nothing(transports):
    """It says so either before the next request is sent, or while that is on its way."""
    farewell = b"HTTP/1.1 408 You sleep\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    gate = Gate()
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    async with HttpUpstream(
        Reply(whole, gate, farewell, raw=True), json_body({"ok": 1}), Reply(farewell, raw=True)
    ) as server:
        async with transports() as http:
            assert await read_all(http, server) == b"{}"
            gate.open()
            await server.requests[0].answered.wait()
            assert await read_all(http, server) == b'{"ok": 1}'
            async with http.post(server.url, {}, b"") as reply:
                assert reply.status == 408  # over a new connection it is an answer
        assert len(server.requests) == 4


async def test_connections_that_the_server_closes_are_forgotten(transports):
    gate = Gate()
    whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    reply = Reply(whole, gate, raw=True)
    async with HttpUpstream(reply) as server, transports() as http:
        await asyncio.gather(*(read_all(http, server) for _ in range(10)))
        assert len(http._pool._open) == 10
        gate.open()
        await until(lambda: not http._pool._open)
        assert not http._pool._idle


async def test_an_error_that_was_read_leaves_the_connection_usable(transports):
    async with HttpUpstream(json_body({}, status=429), json_body({})) as server:
        async with transports() as http:
            for _ in range(2):
                await read_all(http, server)
        assert server.connections == 1


async def test_an_end_of_the_connection_ends_a_body_that_says_so(transports):
    async with HttpUpstream(Reply(b"all of it", framing="close")) as server, transports() as http:
        assert await read_all(http, server) == b"all of it"


# -- leaving early ---------------------------------------------------------------------------------


async def test_leaving_early_closes_the_upstreams_connection(transports):
    async with HttpUpstream(sse("a", Gate())) as server, transports() as http:
        async with http.post(server.url, {}, b"") as reply:
            await reply.chunk()
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)


async def test_leaving_while_much_is_on_its_way_closes_the_connection(transports):
    """The client reads ahead of nobody: what the upstream sends faster than we read stays there."""
    megabytes = [b"x" * 2**20] * 64
    async with HttpUpstream(sse(*megabytes)) as server, transports() as http:
        async with http.post(server.url, {}, b"") as reply:
            await reply.chunk()
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)
        assert not server.requests[0].answered.is_set()


async def test_being_cancelled_closes_the_connection(transports):
    gate = Gate()
    async with HttpUpstream(sse("a", gate)) as server, transports() as http:
        reading = asyncio.create_task(read_all(http, server))
        await gate.reached.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)


async def abandoned(http, server, gate: Gate) -> None:
    """A request that was cancelled while the upstream had not even sent a head."""
    reading = asyncio.create_task(read_all(http, server))
    await gate.reached.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with chunks, one after the other, until the connection is closed."""
    with suppress(OSError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not (reader.at_eof() or writer.is_closing()):
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0.0002)
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()


async def test_being_cancelled_is_noticed_when_a_chunk_comes_at_the_same_time():
    """On the server's loop, a chunk and a cancellation often meet in one turn."""
    answering: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(asyncio.create_task(trickle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    http = HttpTransport(Timeouts(), keep_alive=False)
    chance = random.Random(1)

    async def read(flowing: asyncio.Event) -> None:
        async with http.post(f"http://127.0.0.1:{port}/", {}, b"") as reply:
            while await reply.chunk():
                flowing.set()

    forgotten = 0
    for _ in range(60):
        flowing = asyncio.Event()
        reading = asyncio.create_task(read(flowing))
        await flowing.wait()
        await asyncio.sleep(chance.random() * 0.005)
        reading.cancel()
        await asyncio.wait({reading}, timeout=0.5)
        if not reading.done():
            forgotten += 1
        while not reading.done():
            reading.cancel()
            await asyncio.wait({reading}, timeout=0.05)
    await http.close()
    server.close()
    await asyncio.gather(*answering)
    assert forgotten == 0


async def test_a_request_that_is_given_up_before_its_head_is_closed_at_once(transports):
    gate = Gate()
    async with (
        HttpUpstream(sse("a", before_head=[gate]), json_body({})) as server,
        transports(max_connections=1) as http,
    ):
        await abandoned(http, server, gate)
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)
        await read_all(http, server)  # its place among the connections is free again


async def test_an_error_of_the_readers_own_passes_through(transports):
    async with HttpUpstream(sse("a", Gate())) as server, transports() as http:
        with pytest.raises(ZeroDivisionError):
            async with http.post(server.url, {}, b""):
                raise ZeroDivisionError
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)


# -- the end ---------------------------------------------------------------------------------------


async def test_closing_interrupts_what_runs_and_is_for_good(transports):
    head, body = Gate(), Gate()
    replies = (json_body({}), sse("a", before_head=[head]), sse("a", body))
    async with HttpUpstream(*replies) as server, transports() as http:
        await read_all(http, server)
        asking = [asyncio.create_task(read_all(http, server))]
        await head.reached.wait()
        asking.append(asyncio.create_task(read_all(http, server)))
        await body.reached.wait()
        await http.close()
        for task in asking:
            with pytest.raises(UpstreamInterrupted):
                await task
        with pytest.raises(UpstreamUnreachable):
            await read_all(http, server)
        await http.close()
        for request in server.requests[1:]:
            await asyncio.wait_for(request.client_gone.wait(), 2)
        assert len(server.requests) == 3


async def test_a_failed_request_is_not_kept_in_memory(transports):
    limits = timeouts(first_event_ms=100)
    gc.disable()
    tracemalloc.start()
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            async with transports(limits) as http:
                url = f"http://127.0.0.1:{listening.getsockname()[1]}"
                with pytest.raises(UpstreamTimeout):
                    async with http.post(url, {}, bytes(2**25)):
                        raise AssertionError("not entered")
                await asyncio.sleep(0.01)
                assert tracemalloc.get_traced_memory()[0] < 2**22
    finally:
        tracemalloc.stop()
        gc.enable()


# -- faults ----------------------------------------------------------------------------------------


async def test_nobody_listens(transports):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with transports() as http:
            with pytest.raises(UpstreamUnreachable):
                async with http.post(url, {}, b""):
                    raise AssertionError("not entered")


@pytest.mark.parametrize("url", ["http://name.invalid/v1", "nonsense", "http://", "ftp://h/x"])
async def test_a_place_that_cannot_be_reached_is_the_upstreams_fault(transports, url):
    async with transports() as http:
        with pytest.raises(UpstreamFault):
            async with http.post(url, {}, b""):
                raise AssertionError("not entered")


async def test_a_header_that_cannot_be_sent_is_the_upstreams_fault(transports):
    async with HttpUpstream(json_body({})) as server, transports() as http:
        with pytest.raises(UpstreamFault):
            async with http.post(server.url, {"authorization": "Bearer a\nb"}, b""):
                raise AssertionError("not entered")


@pytest.mark.parametrize(
    "reply",
    [
        sse("a", RESET),
        sse("a", CUT),
        Reply(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ndata: a\n\n", CUT, raw=True),
        Reply(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", raw=True),
    ],
)
async def test_a_body_that_breaks_off_is_an_interruption(transports, reply):
    async with HttpUpstream(reply) as server, transports() as http:
        with pytest.raises(UpstreamInterrupted):
            await read_all(http, server)


@pytest.mark.parametrize(
    "reply", [Reply(RESET, raw=True), Reply(CUT, raw=True), Reply(b"x\n" * 9, raw=True)]
)
async def test_a_head_that_never_comes_is_the_upstreams_fault(transports, reply):
    async with HttpUpstream(reply) as server, transports() as http:
        with pytest.raises(UpstreamFault):
            await read_all(http, server)


async def test_a_redirect_is_not_followed(transports):
    reply = json_body({}, status=307, location="http://127.0.0.1:1/")
    async with (
        HttpUpstream(reply) as server,
        transports() as http,
        http.post(server.url, {}, b"") as got,
    ):
        assert got.status == 307


async def test_a_body_has_a_size_limit(transports):
    async with HttpUpstream(Reply(b"x" * 60, b"y" * 60)) as server, transports() as http:
        async with http.post(server.url, {}, b"") as reply:
            with pytest.raises(UpstreamMalformed, match="exceeds 100 bytes"):
                await reply.body(100)
        async with http.post(server.url, {}, b"") as reply:
            assert len(await reply.body(120)) == 120


async def test_more_connections_than_allowed_are_overload(transports):
    gate = Gate()
    brief = Timeouts(connect_ms=50, first_event_ms=5000, idle_ms=5000, answer_ms=5000)
    async with (
        HttpUpstream(sse("a", gate)) as server,
        transports(brief, max_connections=1) as http,
        http.post(server.url, {}, b""),
    ):
        with pytest.raises(UpstreamOverloaded):
            async with http.post(server.url, {}, b""):
                raise AssertionError("not entered")


# -- timeouts: real ones, small --------------------------------------------------------------------


def timeouts(**milliseconds: int) -> Timeouts:
    longest = {"connect_ms": 5000, "first_event_ms": 5000, "idle_ms": 5000, "answer_ms": 5000}
    return Timeouts(**(longest | milliseconds))


@pytest.mark.parametrize(
    ("limits", "reply"),
    [
        (timeouts(first_event_ms=150, idle_ms=150), lambda: sse(before_head=[Gate()])),
        (timeouts(first_event_ms=150), lambda: sse(Gate())),
        (timeouts(first_event_ms=5000, answer_ms=150), lambda: sse(before_head=[Gate()])),
        (timeouts(idle_ms=40), lambda: sse("a", Gate())),
        (timeouts(answer_ms=40), lambda: sse("a", Gate())),
        (timeouts(first_event_ms=150), lambda: Reply(Gate(), status=500)),
    ],
    ids=["first: head", "first: event", "whole before head", "idle", "whole", "error body"],
)
async def test_an_upstream_that_takes_too_long(transports, limits, reply):
    async with HttpUpstream(reply()) as server, transports(limits) as http:
        with pytest.raises(UpstreamTimeout):
            await read_all(http, server)
        await asyncio.wait_for((await server.request()).client_gone.wait(), 2)


async def test_signs_of_life_put_off_the_idle_timeout_but_not_the_whole_one(transports):
    async def alive_for(seconds: float, limits: Timeouts) -> None:
        beats = [Gate() for _ in range(round(seconds / 0.02))]
        steps = [step for beat in beats for step in (b": alive\n\n", beat)]
        async with HttpUpstream(sse(*steps)) as server, transports(limits) as http:
            reading = asyncio.create_task(read_all(http, server))
            loop = asyncio.get_running_loop()
            await server.request()
            for number, beat in enumerate(beats):
                loop.call_later(0.02 * (number + 1), beat.open)
            await reading

    await alive_for(0.3, timeouts(idle_ms=150, first_event_ms=150))
    with pytest.raises(UpstreamTimeout):
        await alive_for(0.3, timeouts(idle_ms=150, answer_ms=100))


async def test_a_timeout_is_over_once_the_answer_is(transports):
    async with (
        HttpUpstream(json_body({})) as server,
        transports(timeouts(first_event_ms=50, idle_ms=50, answer_ms=50)) as http,
    ):
        await read_all(http, server)
        await asyncio.sleep(0.08)  # a deadline that stayed behind would cancel this task
