"""One connection and whole answers: a client that costs next to nothing, for measuring."""

from __future__ import annotations

import json
import socket
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

PATH = "/v1/chat/completions"


class PlainClient:
    """Asks for the same again and again; the request is spelled once."""

    def __init__(self, url: str, key: str, body: dict[str, Any]) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        text = json.dumps(body).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
        )
        self._request = head.encode() + text
        self._socket = socket.create_connection((parts.hostname, parts.port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self) -> bytes:
        """One round trip; returns the body of the answer. Raises ``RuntimeError`` unless 200."""
        self._socket.sendall(self._request)
        received = b""
        length: int | None = None
        end = 0
        while length is None or len(received) < end + length:
            more = self._socket.recv(65536)
            if not more:
                raise RuntimeError("the server closed the connection")
            received += more
            if length is None and (at := received.find(b"\r\n\r\n")) >= 0:
                end = at + 4
                head = received[:at].lower()
                _, _, after = head.partition(b"\r\ncontent-length:")
                length = int(after.split(b"\r\n", 1)[0])
        if not received.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(received[:500].decode("utf-8", "replace"))
        return received[end:]

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> PlainClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
