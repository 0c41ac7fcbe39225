"""The streaming upstream: paced events in Chat Completions form, each its own write.

    python -m tools.bench.streaming_upstream PORT

Asked for the model ``paced``, it sends ``EVENTS`` events ``INTERVAL_S`` apart, then a finish, the
usage and ``[DONE]``. Every event says in its text when it was sent, as the machine's monotonic
clock in nanoseconds between ``@`` and ``;``, so that whoever reads it knows how long it was on its
way. Asked for ``idle``, it sends one event and then nothing. Answers that do not stream are not
its business.

The streams are spread over the interval, so that it does not send all of them at once: the
smallest step of its clock is a millisecond.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any, Final, cast

import uvloop

EVENTS: Final = 100
INTERVAL_S: Final = 0.010
_SPREAD: Final = 0.618
"""The golden ratio's fraction: any number of phases made with it lies evenly."""

_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _event(choices: list[dict[str, Any]], **more: Any) -> bytes:
    envelope = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "paced",
        "choices": choices,
    }
    return b"data: " + json.dumps({**envelope, **more}, separators=(",", ":")).encode() + b"\n\n"


def _delta(delta: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


_DIGITS: Final = 19
_FIRST: Final = _HEAD + _chunk(_event(_delta({"role": "assistant", "content": ""})))
_BEFORE, _AFTER = _chunk(_event(_delta({"content": f" @{'0' * _DIGITS};"}))).split(b"0" * _DIGITS)
_USAGE: Final = {"prompt_tokens": 10, "completion_tokens": EVENTS, "total_tokens": EVENTS + 10}
_LAST: Final = (
    _chunk(_event(_delta({}, "stop")))
    + _chunk(_event([], usage=_USAGE))
    + _chunk(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


def timed_event(now_ns: int) -> bytes:
    """One event of an answer, as a chunk of HTTP's, that says that it is sent now."""
    return b"%b%019d%b" % (_BEFORE, now_ns, _AFTER)


class _Streaming(asyncio.Protocol):
    streams = 0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, after = head.lower().partition(b"content-length:")
        length = int(after.split(b"\r\n", 1)[0] or 0)
        if len(rest) < length:
            return
        body, self._received = rest[:length], rest[length:]
        self._answer(json.loads(body)["model"])

    def _answer(self, model: str) -> None:
        assert self._transport is not None
        self._transport.write(_FIRST)
        if model == "idle":
            self._transport.write(timed_event(time.monotonic_ns()))
            return
        _Streaming.streams += 1
        begin = self._loop.time() + (_Streaming.streams * _SPREAD % 1) * INTERVAL_S
        self._schedule(begin, 0)

    def _schedule(self, begin: float, number: int) -> None:
        when = begin + number * INTERVAL_S
        self._timer = self._loop.call_at(when, self._send, begin, number)

    def _send(self, begin: float, number: int) -> None:
        if self._transport is None:
            return
        if number == EVENTS:
            self._transport.write(_LAST)
            return
        self._transport.write(timed_event(time.monotonic_ns()))
        self._schedule(begin, number + 1)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Streaming, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
