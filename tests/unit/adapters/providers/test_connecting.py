"""Reaching a server: names, TLS, and leaving at any moment. Over real sockets on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import stat
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
from tests.support.connect_proxy import ConnectProxy
from tests.support.gates import Gate, until
from tests.support.http_upstream import CUT, RESET, HttpUpstream, Reply, json_body, sse

from bandari.adapters.providers import pool as module
from bandari.adapters.providers.pool import Pool
from bandari.adapters.providers.proxies import Proxies
from bandari.adapters.providers.transport import HttpTransport, Timeouts
from bandari.adapters.providers.urls import Origin
from bandari.domain.faults import (
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamTimeout,
    UpstreamUnreachable,
)

BRIEF = Timeouts(connect_ms=100, first_event_ms=5000, idle_ms=5000, answer_ms=5000)


async def asked(http, url: str, body: bytes = b"{}") -> bytes:
    async with http.post(url, {}, body) as reply:
        return await reply.body(2**30)


# -- TLS -------------------------------------------------------------------------------------------


async def test_a_server_that_is_certified(transports, certificate, trusted):
    async with HttpUpstream(json_body({}), sse("a"), tls=certificate) as server:
        async with transports() as http:
            assert await asked(http, server.url) == b"{}"
            assert await asked(http, server.url) == b"data: a\n\n"
        assert server.connections == 1


async def test_a_server_of_another_name(transports, certificate, trusted):
    async with HttpUpstream(json_body({}), tls=certificate) as server, transports() as http:
        with pytest.raises(UpstreamUnreachable) as caught:
            await asked(http, server.url.replace("localhost", "127.0.0.1"))
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert not server.requests


async def test_a_server_that_nobody_trusts(transports, certificate):
    async with HttpUpstream(json_body({}), tls=certificate) as server, transports() as http:
        with pytest.raises(UpstreamUnreachable) as caught:
            await asked(http, server.url)
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert not server.requests


async def test_a_server_that_speaks_no_tls(transports, trusted):
    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 Welcome\r\n")
        writer.transport.pause_reading()
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, transports() as http:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        for _ in range(20):
            with pytest.raises(UpstreamUnreachable) as caught:
                await asked(http, url)
            assert not isinstance(caught.value.__cause__, TimeoutError)
        for writer in writers:
            writer.transport.abort()


async def test_a_server_that_answers_tls_in_plain_http(transports, trusted):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 This is plain HTTP\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server, transports() as http:
        with pytest.raises(UpstreamUnreachable) as caught:
            await asked(http, f"https://localhost:{server.sockets[0].getsockname()[1]}")
        assert isinstance(caught.value.__cause__, OSError)


async def test_a_server_that_hangs_up_in_the_handshake(transports, trusted):
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server, transports() as http:
        with pytest.raises(UpstreamUnreachable):
            await asked(http, f"https://localhost:{server.sockets[0].getsockname()[1]}")


async def test_a_server_that_hangs_up_after_the_handshake(transports, certificate, trusted):
    def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=certificate)
    async with server, transports(max_connections=1) as http:
        for _ in range(5):
            with pytest.raises((UpstreamUnreachable, UpstreamInterrupted)):
                await asked(http, f"https://localhost:{server.sockets[0].getsockname()[1]}")


async def test_a_server_that_is_silent_in_the_handshake(transports, trusted):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with transports(BRIEF, max_connections=1) as http:
            for _ in range(2):
                with pytest.raises(UpstreamUnreachable):
                    await asked(http, f"https://localhost:{listening.getsockname()[1]}")


@pytest.mark.parametrize("end", [RESET, CUT])
async def test_a_body_that_breaks_off_within_tls(transports, certificate, trusted, end):
    async with HttpUpstream(sse("a", end), tls=certificate) as server, transports() as http:
        with pytest.raises(UpstreamInterrupted):
            await asked(http, server.url)


async def test_a_body_to_the_end_of_a_tls_connection(transports, certificate, trusted):
    reply = Reply(b"all of it", framing="close")
    async with HttpUpstream(reply, tls=certificate) as server, transports() as http:
        assert await asked(http, server.url) == b"all of it"


async def test_leaving_early_closes_a_tls_connection(transports, certificate, trusted):
    async with HttpUpstream(sse("a", Gate()), tls=certificate) as server, transports() as http:
        async with http.post(server.url, {}, b"") as reply:
            await reply.chunk()
        await asyncio.wait_for(server.requests[0].client_gone.wait(), 2)


# -- names -----------------------------------------------------------------------------------------


class Names:
    """A look-up that waits, and counts who came."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.asked = 0
        self.gate = Gate()
        self.fault = fault

    async def look_up(self, origin: Origin) -> list:
        self.asked += 1
        await self.gate.passing()
        if self.fault is not None:
            raise self.fault
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", origin.port))]


async def test_a_name_is_looked_up_once_however_many_ask(transports, monkeypatch):
    names = Names()
    monkeypatch.setattr(module, "_look_up", names.look_up)
    async with HttpUpstream(json_body({})) as server, transports() as http:
        url = f"http://upstream.test:{server.port}"
        asking = [asyncio.create_task(asked(http, url)) for _ in range(5)]
        await names.gate.reached.wait()
        asking[0].cancel()
        names.gate.open()
        with pytest.raises(asyncio.CancelledError):
            await asking[0]
        assert await asyncio.gather(*asking[1:]) == [b"{}"] * 4
        assert names.asked == 1
        another = HttpTransport(Timeouts(), keep_alive=False)
        await asked(another, url)
        assert names.asked == 2  # nothing is remembered
        await another.close()


async def test_a_look_up_that_hangs_is_waited_for_so_long_and_keeps_one_thread(
    transports, monkeypatch
):
    names = Names(OSError("no such name"))
    monkeypatch.setattr(module, "_look_up", names.look_up)
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with transports(BRIEF) as http:
        for _ in range(3):
            with pytest.raises(UpstreamUnreachable):
                await asked(http, "http://upstream.test")
        assert names.asked == 1
        names.gate.open()
        with pytest.raises(UpstreamUnreachable) as caught:
            await asked(http, "http://upstream.test")
        assert isinstance(caught.value.__cause__, OSError)
    assert told == []


async def test_a_failed_look_up_that_nobody_waits_for_is_not_complained_of(transports, monkeypatch):
    names = Names(OSError("no such name"))
    monkeypatch.setattr(module, "_look_up", names.look_up)
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    async with transports() as http:
        asking = asyncio.create_task(asked(http, "http://upstream.test"))
        await names.gate.reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        names.gate.open()
        await until(lambda: not http._pool._lookups)
    assert told == []


async def test_the_next_address_of_a_name_is_tried(transports, monkeypatch):
    async with HttpUpstream(json_body({})) as server, transports() as http:

        async def look_up(origin: Origin) -> list:
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, origin.port))
                for address in ("127.0.0.2", "127.0.0.3", "127.0.0.1")
            ]

        monkeypatch.setattr(module, "_look_up", look_up)
        assert await asked(http, f"http://upstream.test:{server.port}") == b"{}"


async def test_an_address_that_is_silent_does_not_hold_the_next_one_up(transports, monkeypatch):
    loop = asyncio.get_running_loop()
    silent = Gate()
    connect = loop.sock_connect

    async def sock_connect(sock: socket.socket, address: tuple[str, int]) -> None:
        if address[0] == "192.0.2.1":
            await silent.passing()
        await connect(sock, address)

    async def look_up(origin: Origin) -> list:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, origin.port))
            for address in ("192.0.2.1", "127.0.0.1")
        ]

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    monkeypatch.setattr(module, "_look_up", look_up)
    monkeypatch.setattr(module, "NEXT_ADDRESS_S", 0.01)
    async with HttpUpstream(json_body({})) as server, transports() as http:
        assert await asked(http, f"http://upstream.test:{server.port}") == b"{}"
        assert silent.reached.is_set()


async def test_a_socket_that_nobody_wants_is_closed(monkeypatch):
    async def refuse(*_, **__):
        raise OSError

    async def connected(*_, **__) -> socket.socket:
        return ours

    ours, theirs = socket.socketpair()
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    monkeypatch.setattr(module.aiohappyeyeballs, "start_connection", connected)
    pool = Pool(Proxies({}), connect_s=5, idle_s=5, max_connections=1)
    with pytest.raises(UpstreamUnreachable):
        await pool.take(Origin("127.0.0.1", 9, is_tls=False))
    assert ours.fileno() == -1
    theirs.close()


async def test_a_refusal_of_the_system_is_a_place_that_cannot_be_reached(transports, monkeypatch):
    async def refuse(*_, **__):
        raise RuntimeError("File descriptor 7 is used by transport")

    monkeypatch.setattr(module.aiohappyeyeballs, "start_connection", refuse)
    async with transports() as http:
        with pytest.raises(UpstreamUnreachable):
            await asked(http, "http://127.0.0.1:9")


async def test_a_cancellation_that_the_race_of_addresses_forgets_is_remembered(monkeypatch):
    """aiohappyeyeballs suppresses one that comes while it ends the losers of a race."""
    gate = Gate()
    ours, theirs = socket.socketpair()

    async def forgetful(*_, **__) -> socket.socket:
        with suppress(asyncio.CancelledError):
            await gate.passing()
        return ours

    monkeypatch.setattr(module.aiohappyeyeballs, "start_connection", forgetful)
    pool = Pool(Proxies({}), connect_s=5, idle_s=5, max_connections=1)
    taking = asyncio.create_task(pool.take(Origin("127.0.0.1", 9, is_tls=False)))
    await gate.reached.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert ours.fileno() == -1
    theirs.close()
    assert pool._free() == 1


# -- leaving ---------------------------------------------------------------------------------------


def sockets() -> int:
    """How many this process has open."""
    count = 0
    for link in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the one that lists them
            count += stat.S_ISSOCK(os.fstat(int(link.name)).st_mode)
    return count


@pytest.mark.parametrize("way", ["plain", "tls", "tunnel"])
async def test_whoever_leaves_at_any_turn_leaves_nothing_behind(
    monkeypatch, certificate, trusted, way
):
    """A request is cancelled after one turn of the loop, after two, and so on to its end."""
    async with AsyncExitStack() as stack:
        tls = None if way == "plain" else certificate
        server = await stack.enter_async_context(HttpUpstream(sse("a", "b"), tls=tls))
        url = server.url
        if way == "tunnel":
            proxy = await stack.enter_async_context(ConnectProxy(server.port))
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            url = "https://upstream.test"
        told = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        http = HttpTransport(Timeouts(), max_connections=1, keep_alive=False)
        await asked(http, url)  # what is made once is made
        await until(lambda: not server.tasks)
        before, tasks = sockets(), len(asyncio.all_tasks())
        for turns in range(1000):
            asking = asyncio.create_task(asked(http, url))
            for _ in range(turns):
                await asyncio.sleep(0)
                if asking.done():
                    break
            was_done = asking.done()
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            assert http._pool._free() == 1
            if was_done:
                break
        await until(lambda: sockets() == before)
        await until(lambda: len(asyncio.all_tasks()) == tasks)
        assert turns > 5
        assert was_done
        assert await asyncio.wait_for(asked(http, url), 2) == b"data: a\n\ndata: b\n\n"
        await http.close()
        assert told == []


# -- much at a time --------------------------------------------------------------------------------


@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_reader_that_is_slow_makes_the_upstream_wait(
    transports, certificate, trusted, is_tls
):
    megabytes = [bytes([number]) * 2**20 for number in range(24)]
    reply = Reply(*megabytes)
    tls = certificate if is_tls else None
    async with HttpUpstream(reply, tls=tls) as server, transports() as http:
        async with http.post(server.url, {}, b"") as reply:
            first = await reply.chunk()
            await until(lambda: reply._is_paused)
            assert reply._ahead_bytes < 2**20
            assert not server.requests[0].answered.is_set()  # the network does not hold so much
            assert first + await reply.body(2**30) == b"".join(megabytes)
        assert await asked(http, server.url) == b"".join(megabytes)
        assert server.connections == 1


@pytest.mark.parametrize("is_tls", [False, True])
async def test_an_upstream_that_is_lost_while_it_waits_for_us(
    transports, certificate, trusted, is_tls
):
    gate = Gate()
    tls = certificate if is_tls else None
    async with (
        HttpUpstream(sse(b"x" * 2**17, gate, RESET), tls=tls) as server,
        transports() as http,
        http.post(server.url, {}, b"") as reply,
    ):
        await gate.reached.wait()
        await until(lambda: reply._is_paused)
        gate.open()
        await server.requests[0].answered.wait()
        with pytest.raises(UpstreamInterrupted):
            await reply.body(2**30)


@pytest.mark.parametrize("is_tls", [False, True])
async def test_a_large_request_arrives(transports, certificate, trusted, is_tls):
    body = b"0123456789abcdef" * 2**19
    tls = certificate if is_tls else None
    async with HttpUpstream(json_body({}), tls=tls) as server, transports() as http:
        assert await asked(http, server.url, body) == b"{}"
        assert server.requests[0].body == body
        assert await asked(http, server.url, body) == b"{}"
        assert server.connections == 1


async def test_a_large_request_that_nobody_reads_is_given_up(transports):
    limits = Timeouts(connect_ms=5000, first_event_ms=200, idle_ms=5000, answer_ms=5000)
    before = sockets()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with transports(limits, max_connections=1) as http:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            for _ in range(2):
                with pytest.raises(UpstreamTimeout):
                    await asked(http, url, b"x" * 2**25)
            await until(lambda: sockets() == before + 1)


async def test_an_answer_that_comes_before_the_request_is_read(transports):
    """It is read, and its connection is not used again: the rest of the request is to come yet."""
    connections = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Much\r\ncontent-length: 8\r\n\r\ntoo much")
            await writer.drain()
            reader._transport.pause_reading()
            await gone.wait()
            writer.transport.abort()

    gone = asyncio.Event()
    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server, transports() as http:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _ in range(2):
            async with http.post(url, {}, b"x" * 2**25) as reply:
                assert (reply.status, await reply.body(100)) == (413, b"too much")
        assert connections == 2
        gone.set()
        await until(lambda: not http._pool._open)


async def test_what_cannot_be_reached_is_a_fault_for_every_kind_of_url(transports):
    for url in (
        "http://127.0.0.1:1",
        "https://127.0.0.1:1",
        "http://[::1]:1",
        "http://127.0.0.1:0",
    ):
        async with transports(BRIEF) as http:
            with pytest.raises(UpstreamFault):
                await asked(http, url)
