"""Where a URL leads: the server, and what to ask it for."""

from __future__ import annotations

from urllib.parse import urlsplit

from msgspec import Struct

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(Struct, frozen=True):
    """A server: its name or address, its port, and whether it speaks TLS."""

    host: str
    port: int
    is_tls: bool

    @property
    def authority(self) -> str:
        """As in a ``Host`` header and in a proxy's ``CONNECT``, with the port always."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Target(Struct, frozen=True):
    """``path`` has the query with it; ``host`` is the header's value."""

    origin: Origin
    host: str
    path: str


def target_of(url: str) -> Target:
    """Raises ``ValueError`` for what is no URL of an HTTP server."""
    parts = urlsplit(url)
    port = _DEFAULT_PORTS.get(parts.scheme)
    if port is None or not parts.hostname:
        raise ValueError(f"not the URL of an HTTP server: {url[:200]!r}")
    name = parts.hostname
    host = name if name.isascii() else name.encode("idna").decode()
    origin = Origin(host, port if parts.port is None else parts.port, parts.scheme == "https")
    shown = origin.authority if origin.port != port else origin.authority.removesuffix(f":{port}")
    path = parts.path or "/"
    return Target(origin, shown, f"{path}?{parts.query}" if parts.query else path)
