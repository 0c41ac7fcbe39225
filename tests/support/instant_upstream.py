"""A provider in a process of its own that answers at once: what is left is the gateway's time.

    python -m tests.support.instant_upstream        (prints its URL, serves until it is ended)

It speaks as much HTTP as is needed, keeps connections open, and reads of a request only whether it
wants a stream.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import uvloop

_USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
TOTAL_TOKENS = _USAGE["total_tokens"]


class _Answering(asyncio.Protocol):
    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            _, _, after = head.lower().partition(b"content-length:")
            length = int(after.split(b"\r\n", 1)[0] or 0)
            if len(rest) < length:
                return
            body, self._received = rest[:length], rest[length:]
            wants_stream = b'"stream":true' in body.replace(b" ", b"")
            self._transport.write(STREAM if wants_stream else WHOLE)


def _response(content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _event(value: dict[str, Any]) -> bytes:
    envelope = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "instant"}
    return b"data: " + json.dumps(envelope | value, separators=(",", ":")).encode() + b"\n\n"


def _choice(delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


STREAM = _response(
    "text/event-stream",
    _event(_choice({"role": "assistant", "content": "Good"}, None))
    + _event(_choice({"content": " morning"}, None))
    + _event(_choice({}, "stop"))
    + _event({"choices": [], "usage": _USAGE})
    + b"data: [DONE]\n\n",
)
_MESSAGE = {"role": "assistant", "content": "Good morning"}
WHOLE = _response(
    "application/json",
    json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": "instant",
            "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
            "usage": _USAGE,
        }
    ).encode(),
)


@contextmanager
def instant_upstream() -> Iterator[str]:
    """Its URL; it ends with the context."""
    process = subprocess.Popen([sys.executable, "-m", __name__], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Answering, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
