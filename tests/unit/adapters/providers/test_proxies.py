"""Proxies that the environment names, and tunnels through real ones on loopback."""

from __future__ import annotations

import asyncio
from base64 import b64encode

import pytest
from tests.support.connect_proxy import AGREED, ConnectProxy
from tests.support.fake_transport import FakeTransport
from tests.support.gates import until, until_idle
from tests.support.http_upstream import HttpUpstream, json_body, sse

from bandari.adapters.providers.proxies import MAX_TUNNEL_HEAD_BYTES, Proxies, Proxy, Tunnel
from bandari.adapters.providers.transport import Timeouts
from bandari.adapters.providers.urls import Origin
from bandari.domain.faults import UpstreamUnreachable

PLAIN = Origin("h.example", 80, is_tls=False)
SECURE = Origin("h.example", 443, is_tls=True)
BRIEF = Timeouts(connect_ms=100, first_event_ms=5000, idle_ms=5000, answer_ms=5000)


def at(port: int, host: str = "p") -> Proxy:
    return Proxy(Origin(host, port, is_tls=False))


def basic(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


# -- the environment -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "plain", "secure"),
    [
        ({}, None, None),
        ({"HTTP_PROXY": "http://p:1"}, at(1), None),
        ({"http_proxy": "http://p:1"}, at(1), None),
        ({"HTTPS_PROXY": "http://p:1"}, None, at(1)),
        ({"https_proxy": "http://p:1"}, None, at(1)),
        ({"ALL_PROXY": "http://p:1"}, at(1), at(1)),
        ({"all_proxy": "http://p:1"}, at(1), at(1)),
        ({"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://p:2"}, at(1), at(2)),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://p:2"}, None, at(2)),
        ({"HTTPS_PROXY": "p:3128"}, None, at(3128)),
        ({"HTTPS_PROXY": "http://p"}, None, at(80)),
        ({"HTTPS_PROXY": "http://[::1]:7/"}, None, at(7, "::1")),
        ({"HTTPS_PROXY": ""}, None, None),
    ],
)
def test_what_the_environment_names(monkeypatch, environment, plain, secure):
    for name, url in environment.items():
        monkeypatch.setenv(name, url)
    proxies = Proxies.of_environment()
    assert (proxies.for_origin(PLAIN), proxies.for_origin(SECURE)) == (plain, secure)


@pytest.mark.parametrize(
    ("url", "authorization"),
    [
        ("http://u:p@p:1", basic("u", "p")),
        ("u:p@p:1", basic("u", "p")),
        ("http://u@p:1", basic("u", "")),
        ("http://u%40x:p%3A%2F@p:1", basic("u@x", "p:/")),
        ("http://:p@p:1", basic("", "p")),
        ("http://p:1", None),
    ],
)
def test_a_proxy_with_a_password(url, authorization):
    proxy = Proxies({"all": url}).for_origin(SECURE)
    assert proxy == Proxy(Origin("p", 1, is_tls=False), authorization)


@pytest.mark.parametrize(
    ("exempt", "is_exempt"),
    [
        ("*", True),
        ("h.example", True),
        ("H.Example", True),
        ("h.example:443", True),
        ("h.example:80", False),
        ("example", True),
        (".example", True),
        ("a, example ,b", True),
        ("ample", False),
        ("h", False),
        ("", False),
    ],
)
def test_what_is_exempt(monkeypatch, exempt, is_exempt):
    for name in ("NO_PROXY", "no_proxy"):
        with monkeypatch.context() as environment:
            environment.setenv("HTTPS_PROXY", "http://p:1")
            environment.setenv(name, exempt)
            assert (Proxies.of_environment().for_origin(SECURE) is None) == is_exempt


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_this_machine_is_reached_without(host):
    proxies = Proxies({"all": "http://p:1"})
    assert proxies.for_origin(Origin(host, 80, is_tls=False)) is None


@pytest.mark.parametrize("host", ["localhost.example", "128.0.0.1", "10.0.0.1", "fe80::1"])
def test_another_machine_is_not(host):
    assert Proxies({"all": "http://p:1"}).for_origin(Origin(host, 80, is_tls=False)) == at(1)


@pytest.mark.parametrize(
    "url", ["https://u:secret@p:1", "socks5://u:secret@p:1", "http://u:secret@:1", "u:secret@p:x"]
)
def test_a_proxy_that_is_not_reached_by_plain_http(url):
    with pytest.raises(ValueError) as caught:
        Proxies({"all": url}).for_origin(SECURE)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://p:1", "socks5://p:1", "http://"])
@pytest.mark.parametrize("upstream", ["http://upstream.test", "https://upstream.test"])
async def test_with_such_a_proxy_the_upstream_is_unreachable(
    monkeypatch, transports, url, upstream
):
    monkeypatch.setenv("ALL_PROXY", url)
    async with transports() as http:
        with pytest.raises(UpstreamUnreachable):
            await asked(http, upstream)


# -- through a proxy -------------------------------------------------------------------------------


async def asked(http, url: str) -> bytes:
    async with http.post(url, {"x-a": "b"}, b"{}") as reply:
        return await reply.body(100)


async def test_plain_http_is_asked_of_the_proxy(monkeypatch, transports):
    async with HttpUpstream(json_body({})) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://u:p@127.0.0.1:{proxy.port}")
        async with transports() as http:
            assert await asked(http, "http://a:b@upstream.test:81/v1?x#y") == b"{}"
            assert await asked(http, "http://upstream.test") == b"{}"
    first, second = proxy.requests
    assert (first.path, second.path) == ("http://upstream.test:81/v1?x", "http://upstream.test/")
    assert first.headers["host"] == "upstream.test:81"
    assert first.headers["proxy-authorization"] == basic("u", "p")
    assert first.headers["x-a"] == "b"


async def test_an_upstream_with_tls_is_reached_through_a_tunnel(
    monkeypatch, transports, certificate, trusted
):
    async with (
        HttpUpstream(json_body({"a": 1}), sse("a"), tls=certificate) as server,
        ConnectProxy(server.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//u:p@"))
        async with transports() as http:
            assert await asked(http, "https://upstream.test/v1") == b'{"a": 1}'
            assert await asked(http, "https://upstream.test/v1") == b"data: a\n\n"
        first, second = server.requests
        assert (first.path, first.headers["host"]) == ("/v1", "upstream.test")
        assert "proxy-authorization" not in first.headers
        assert (first.connection, second.connection) == (0, 0)
    assert [head.split("\r\n") for head in proxy.heads] == [
        [
            "CONNECT upstream.test:443 HTTP/1.1",
            "host: upstream.test:443",
            f"proxy-authorization: {basic('u', 'p')}",
            *("", ""),
        ]
    ]


async def test_behind_a_tunnel_the_name_is_checked(monkeypatch, transports, certificate, trusted):
    async with (
        HttpUpstream(json_body({}), tls=certificate) as server,
        ConnectProxy(server.port) as proxy,
    ):
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with transports() as http:
            with pytest.raises(UpstreamUnreachable):
                await asked(http, "https://another.test")
        assert not server.requests


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Who are you\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\nno",
        b"HTTP/1.1 2000 What\r\n\r\n",
        b"SSH-2.0 200 x\r\n\r\n",
        b"\r\n\r\n",
        b"x" * (MAX_TUNNEL_HEAD_BYTES + 1),
        AGREED + b"and more",
    ],
)
async def test_a_proxy_that_opens_no_tunnel(monkeypatch, transports, answer):
    async with ConnectProxy(1, answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with transports(max_connections=1) as http:
            for _ in range(2):
                with pytest.raises(UpstreamUnreachable):
                    await asyncio.wait_for(asked(http, "https://upstream.test"), 2)
        assert len(proxy.heads) == 2


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n"])
async def test_a_proxy_that_is_silent(monkeypatch, transports, answer):
    async with ConnectProxy(1, answer) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with transports(BRIEF, max_connections=1) as http:
            for _ in range(2):
                with pytest.raises(UpstreamUnreachable):
                    await asyncio.wait_for(asked(http, "https://upstream.test"), 2)
            await until(lambda: not proxy.open)


async def test_a_proxy_that_nobody_answers_for(monkeypatch, transports):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with transports() as http:
        with pytest.raises(UpstreamUnreachable):
            await asked(http, "https://upstream.test")


async def test_a_proxy_that_closes_the_connection(monkeypatch, transports):
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        async with transports() as http:
            with pytest.raises(UpstreamUnreachable):
                await asyncio.wait_for(asked(http, "https://upstream.test"), 2)


# -- the tunnel, byte by byte ----------------------------------------------------------------------


async def opening(*pieces: bytes) -> tuple[FakeTransport, asyncio.Task[None]]:
    tunnel = Tunnel()
    transport = FakeTransport(tunnel)
    task = asyncio.create_task(tunnel.open(SECURE, at(1)))
    await until_idle()
    for piece in pieces:
        tunnel.data_received(piece)
    await until_idle()
    return transport, task


async def test_an_agreement_byte_by_byte():
    answer = b"HTTP/1.0 200 OK\r\nvia: x\r\n\r\n"
    transport, task = await opening(*(bytes([byte]) for byte in answer))
    await task
    assert transport.written == b"CONNECT h.example:443 HTTP/1.1\r\nhost: h.example:443\r\n\r\n"


async def test_no_agreement_before_its_end():
    _, task = await opening(b"HTTP/1.1 200 OK\r\nvia: x\r\n")
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_refusal_says_what_the_proxy_said():
    _, task = await opening(b"HTTP/1.1 403 Not there\r\n\r\n")
    with pytest.raises(OSError, match="403 Not there"):
        await task


async def test_what_follows_an_agreement_is_not_of_the_server_behind():
    tunnel = Tunnel()
    FakeTransport(tunnel)
    tunnel.check()
    opened = asyncio.create_task(tunnel.open(SECURE, at(1)))
    await until_idle()
    tunnel.data_received(AGREED)
    await opened
    tunnel.check()
    tunnel.data_received(b"more")
    with pytest.raises(OSError, match="more"):
        tunnel.check()
    tunnel.connection_lost(None)
    with pytest.raises(OSError, match="closed"):
        tunnel.check()


async def test_a_proxy_that_goes_before_it_is_asked():
    tunnel = Tunnel()
    transport = FakeTransport(tunnel)
    transport.end()
    await until_idle()
    with pytest.raises(OSError, match="closed"):
        await tunnel.open(SECURE, at(1))


async def test_a_tunnel_that_nobody_asked_for_leaves_nothing_behind():
    """Whoever is cancelled while connecting leaves such a one."""
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    tunnel = Tunnel()
    FakeTransport(tunnel).lose(ConnectionResetError())
    await until_idle()
    del tunnel
    await until_idle()
    assert told == []
