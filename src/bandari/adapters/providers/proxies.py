"""Proxies that the environment names, and the tunnel through one.

``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, in either case, as curl and the
SDKs read them. What is on this machine is reached without.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit
from urllib.request import (  # type: ignore[attr-defined]
    getproxies_environment,
    proxy_bypass_environment,
)

from msgspec import Struct

from bandari.adapters.providers.urls import Origin

MAX_TUNNEL_HEAD_BYTES = 16 * 1024
"""Of a proxy's answer to ``CONNECT``."""


_AGREEMENT = re.compile(rb"HTTP/1\.[01] 2\d\d(?: |$)")


class Proxy(Struct, frozen=True):
    """``authorization`` is the value of ``Proxy-Authorization``, if the URL had a password."""

    origin: Origin
    authorization: str | None = None


class Proxies:
    """By the scheme of what is asked for. ``urls`` is as ``urllib.request`` gives it."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = dict(urls)

    @classmethod
    def of_environment(cls) -> Proxies:
        return cls(getproxies_environment())

    def for_origin(self, origin: Origin) -> Proxy | None:
        """Raises ``ValueError`` for a proxy that is not reached by plain HTTP; its message does not
        repeat the URL, because there may be a password in it.
        """
        url = self._urls.get("https" if origin.is_tls else "http") or self._urls.get("all")
        if not url or _is_local(origin.host) or self._is_exempt(origin):
            return None
        if "://" not in url:
            url = f"http://{url}"
        parts = urlsplit(url)
        if parts.scheme != "http":
            raise ValueError(f"a proxy is reached by http://, not by {parts.scheme}://")
        if not parts.hostname:
            raise ValueError("the URL of a proxy names no host")
        proxy = Origin(parts.hostname, parts.port or 80, is_tls=False)
        if parts.username is None:
            return Proxy(proxy)
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        return Proxy(proxy, f"Basic {b64encode(secret.encode()).decode()}")

    def _is_exempt(self, origin: Origin) -> bool:
        return bool(proxy_bypass_environment(f"{origin.host}:{origin.port}", self._urls))


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Tunnel(asyncio.Protocol):
    """What is spoken before TLS begins: nothing, or what makes a proxy pass bytes on."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer = b""
        self._agreed: asyncio.Future[None] | None = None

    async def open(self, origin: Origin, proxy: Proxy) -> None:
        """Raises ``OSError`` if the proxy refuses."""
        lines = [f"CONNECT {origin.authority} HTTP/1.1", f"host: {origin.authority}"]
        if proxy.authorization is not None:
            lines.append(f"proxy-authorization: {proxy.authorization}")
        self.check()
        assert self._transport is not None
        self._agreed = asyncio.get_running_loop().create_future()
        self._transport.write("\r\n".join((*lines, "", "")).encode())
        await self._agreed

    def check(self) -> None:
        """Raises ``OSError`` if the other side has gone, or has spoken without being asked: TLS
        begins with us.
        """
        if self._transport is None:
            raise ConnectionResetError("closed before TLS began")
        if self._answer:
            raise OSError(f"spoken before TLS began: {self._answer[:200]!r}")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if self._agreed is None or self._agreed.done():
            return
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if end:
            self._answer = rest
            status = head.partition(b"\r\n")[0]
            agrees = _AGREEMENT.match(status)
            self._end(None if agrees else f"the proxy opens no tunnel: {status[:200]!r}")
        elif len(self._answer) > MAX_TUNNEL_HEAD_BYTES:
            self._end("the proxy's answer does not end")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        self._transport = None
        self._end("the proxy closed the connection")

    def _end(self, refusal: str | None) -> None:
        agreed = self._agreed
        if agreed is None or agreed.done():
            return
        if refusal is None:
            agreed.set_result(None)
        else:
            agreed.set_exception(OSError(refusal))
