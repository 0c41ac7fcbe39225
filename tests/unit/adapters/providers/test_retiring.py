"""A transport that was replaced: what runs on it goes on, and nothing of it is left."""

from __future__ import annotations

import gc
import weakref

from tests.support.gates import Gate, until
from tests.support.http_upstream import HttpUpstream, json_body, sse

from bandari.adapters.providers.transport import HttpTransport, Timeouts


async def test_a_stream_goes_on_and_its_connection_is_closed_when_it_has_ended(transports):
    gate = Gate()
    async with HttpUpstream(sse("a", gate, "b")) as server, transports() as http:
        async with http.post(server.url, {}, b"") as reply:
            assert await reply.chunk() == b"data: a\n\n"
            http.retire()
            gate.open()
            assert await reply.chunk() == b"data: b\n\n"
            assert await reply.chunk() == b""
        await until(lambda: not server.tasks)


async def test_a_connection_that_nobody_uses_is_closed_at_once(transports):
    kept = Timeouts(idle_connection_ms=60_000)
    async with HttpUpstream(json_body({})) as server, transports(kept) as http:
        async with http.post(server.url, {}, b"") as reply:
            await reply.body(100)
        assert len(server.tasks) == 1
        http.retire()
        await until(lambda: not server.tasks)


async def test_who_still_asks_is_served_on_connections_that_are_not_kept(transports):
    async with HttpUpstream(json_body({})) as server, transports() as http:
        http.retire()
        for _ in range(3):
            async with http.post(server.url, {}, b"") as reply:
                assert await reply.body(100) == b"{}"
        assert server.connections == 3


async def test_who_waits_for_a_connection_gets_one(transports):
    """There is room for one: the second request waits for the first, which ends retired."""
    gate = Gate()
    async with (
        HttpUpstream(sse("a", gate), json_body({})) as server,
        transports(max_connections=1) as http,
    ):
        async with http.post(server.url, {}, b"") as reply:
            assert await reply.chunk() == b"data: a\n\n"
            http.retire()
            gate.open()
            assert await reply.chunk() == b""
        async with http.post(server.url, {}, b"") as reply:
            assert await reply.body(100) == b"{}"


async def test_it_is_forgotten_with_the_last_who_has_it():
    """Without the collector's help, which comes seldom in a server."""
    async with HttpUpstream(json_body({})) as server:
        http = HttpTransport(Timeouts())
        async with http.post(server.url, {}, b"") as reply:
            await reply.body(100)
        del reply
        http.retire()
        left = weakref.ref(http)
        await until(lambda: not server.tasks)
        gc.disable()
        try:
            del http
            assert left() is None
        finally:
            gc.enable()
