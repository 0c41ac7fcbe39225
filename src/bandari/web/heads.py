"""How the head of an answer is spelled in HTTP/1.1, and the pieces of a body around its bytes.

Bytes only: knows no connection and no exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Final

Headers = Iterable[tuple[bytes, bytes]]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"

LENGTH: Final = b"content-length"
CHUNKED: Final = (b"transfer-encoding", b"chunked")
CLOSE: Final = (b"connection", b"close")

BODILESS: Final = (204, 304)
"""Their answers have no body, whatever their headers say."""

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus
}

_spelled_header: Final = b": ".join


def spelled_head(status: int, headers: Headers) -> bytes:
    """An answer's head with its date and the empty line. Raises ``ValueError``.

    A header that holds what would end its line could say something else in our name.
    """
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status
    lines = [line, _date_line(int(time())), *map(_spelled_header, headers), b"\r\n"]
    head = b"\r\n".join(lines)
    if not head.count(b"\n") == head.count(b"\r") == len(lines) or 0 in head:
        raise ValueError("a header holds what ends it")
    return head


def spelled_chunk(data: bytes) -> bytes:
    """A piece of a chunked body. An empty one would be its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache(maxsize=1)
def _date_line(second: int) -> bytes:
    return b"date: " + formatdate(second, usegmt=True).encode()
