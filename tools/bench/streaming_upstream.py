"""The streaming upstream: paced events in whichever protocol it is asked, each its own write.

    python -m tools.bench.streaming_upstream PORT

Asked for the model ``paced``, it sends ``EVENTS`` events ``INTERVAL_S`` apart, then what the
protocol ends with. Every event says in its text when it was sent, as the machine's monotonic
clock in nanoseconds between ``@`` and ``;``, so that whoever reads it knows how long it was on its
way. Asked for a model of ``AT_ONCE``, it sends that model's events all at once. Asked for ``idle``,
or for ``held-`` and a model of ``AT_ONCE``, it sends one event, or those, and then nothing. Answers
that do not stream are not its business; what the protocols look like is ``paced_answers``'.

The streams are spread over the interval, so that it does not send all of them at once: the
smallest step of its clock is a millisecond.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from typing import Final, cast

import uvloop
from tools.bench.paced_answers import ANSWERS, PacedAnswer, text_of

EVENTS: Final = 100
INTERVAL_S: Final = 0.010
AT_ONCE: Final = {"idle": 1, "short": 100, "long": 2_000}
"""Events, by the model's name."""

HELD: Final = "held-"
_SPREAD: Final = 0.618
"""The golden ratio's fraction: any number of phases made with it lies evenly."""

_ENDING: Final = ("short", "long")
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)


def chunks(frames: Iterable[bytes]) -> bytes:
    """Each of them as a chunk of HTTP's."""
    return b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames)


class Streaming(asyncio.Protocol):
    streams = 0

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None
        self._texts: list[bytes] = []

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
        path = head.split(b" ", 2)[1].decode()
        self._answer(ANSWERS[path.removeprefix("/v1")], json.loads(body)["model"])

    def _answer(self, answer: PacedAnswer, model: str) -> None:
        assert self._transport is not None
        self._transport.write(_HEAD + chunks(answer.opening))
        self._texts = []
        kind = model.removeprefix(HELD)
        if kind in AT_ONCE:
            self._say_at_once(answer, self._transport, AT_ONCE[kind], ends=model in _ENDING)
            return
        Streaming.streams += 1
        begin = self._loop.time() + (Streaming.streams * _SPREAD % 1) * INTERVAL_S
        self._schedule(answer, begin)

    def _schedule(self, answer: PacedAnswer, begin: float) -> None:
        when = begin + len(self._texts) * INTERVAL_S
        self._timer = self._loop.call_at(when, self._send, answer, begin)

    def _send(self, answer: PacedAnswer, begin: float) -> None:
        if self._transport is None:
            return
        if len(self._texts) == EVENTS:
            self._transport.write(chunks(answer.ending(self._texts)) + b"0\r\n\r\n")
            return
        self._say(answer, self._transport)
        self._schedule(answer, begin)

    def _say_at_once(
        self, answer: PacedAnswer, transport: asyncio.Transport, events: int, *, ends: bool
    ) -> None:
        now_ns = time.monotonic_ns()
        texts = [text_of(now_ns + number) for number in range(events)]  # no two at the same time
        frames = [answer.event(number, text) for number, text in enumerate(texts)]
        transport.write(chunks(frames))
        if ends:
            transport.write(chunks(answer.ending(texts)) + b"0\r\n\r\n")

    def _say(self, answer: PacedAnswer, transport: asyncio.Transport) -> None:
        text = text_of(time.monotonic_ns())
        transport.write(chunks((answer.event(len(self._texts), text),)))
        self._texts.append(text)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Streaming, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
