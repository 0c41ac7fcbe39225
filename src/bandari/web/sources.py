"""Where a request comes from: the client's address, also through proxies that are trusted.

Of what a proxy adds to ``X-Forwarded-For``, only what trusted ones have added is believed: read
from the right, the first address that is no trusted proxy's is the client's. All to the left of it
may be anybody's invention.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

FORWARDED_FOR: Final = b"x-forwarded-for"
MAX_PROXIES: Final = 32
"""How many addresses are read at most, from the right."""


class TrustedProxies:
    """``networks`` are like ``10.0.0.0/8``. Raises ``ValueError`` for what is none."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(text, strict=False) for text in networks)

    def trust(self, address: str) -> bool:
        """Whether that address is one of theirs."""
        if not address or not self._networks:
            return False
        parsed = ipaddress.ip_address(address)
        return any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded: bytes) -> str:
        """The client's address, for a request that a trusted ``peer`` has forwarded.

        ``forwarded`` are all its ``X-Forwarded-For`` in their order, joined by commas. What cannot
        be read as an address ends the reading; the last one that could is the client's then.
        """
        address = peer
        for text in reversed(forwarded.rsplit(b",", MAX_PROXIES)[-MAX_PROXIES:]):
            entry = text.strip()
            if not entry:
                continue  # an empty element of a list is none (RFC 9110, 5.6.1)
            before = address_in(entry.decode("latin-1"))
            if before is None:
                break
            address = before
            if not self.trust(address):
                break
        return address


def address_of(peer: object) -> str:
    """The address in what a transport calls its peer; empty where there is none."""
    if isinstance(peer, tuple) and peer and isinstance(peer[0], str):
        return address_in(peer[0]) or ""
    return ""


def address_in(text: str) -> str | None:
    """The address in its usual spelling, without port, brackets and zone. None if it is none."""
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or (port and not _is_port(port[1:] if port[0] == ":" else "")):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(port):
            return None
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
