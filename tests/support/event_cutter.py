"""A bad network: an HTTP/1.1 proxy on loopback that cuts connections after so many SSE events.

An event is a block with a field in it; comments, and Messages' ``ping``, count as nothing. The cut
is exact: the client is sent the last event whole, and not one byte of the next. Whatever is no
stream of events passes as it is. Connections are kept alive; each stream is cut by itself.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from urllib.parse import urlsplit

import httptools

_BLOCK_END = b"\n\n"


class Cut(Enum):
    RESET = "reset"
    """An abrupt end: TCP RST."""

    CLOSE = "close"
    """A close in the middle: TCP FIN, with the body's end missing."""


class EventCutter:
    """``url`` leads to the server through the proxy.

    ``connections`` were taken, ``cut`` of them were cut. ``bodies`` are the streams that passed, as
    far as they came: their bodies without HTTP's framing.
    """

    def __init__(self, target: str, cuts: Iterable[int | None], how: Cut) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self.url = ""
        self.connections = 0
        self.cut = 0
        self.bodies: list[bytearray] = []
        self.how = how
        self._target = (parts.hostname, parts.port)
        self._cuts = iter(cuts)
        self._open: set[asyncio.Task[None]] = set()

    def cut_after(self, *cuts: int | None) -> None:
        """The next streams are cut after so many events, None not at all; and those behind them."""
        self._cuts = iter(cuts)

    def next_stream(self) -> tuple[bytearray, int | None]:
        """Where a stream that begins is written down, and after how many events it is cut."""
        self.bodies.append(bytearray())
        return self.bodies[-1], next(self._cuts, None)

    async def serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        """Until ``over``; then every connection is closed."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()
        await over.wait()
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._relay(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        try:
            there, there_writer = await asyncio.open_connection(*self._target)
            ends.append(there_writer)
            ways = {
                asyncio.ensure_future(_copy(reader, there_writer)),
                back_way := asyncio.ensure_future(self._back(there, writer)),
            }
            done, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in left:
                way.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if back_way in done and back_way.result():
                self.cut += 1
                if self.how is Cut.RESET:
                    _reset_when_closed(ends)
        except OSError:
            return
        finally:
            await _close(ends)

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Relay answers until the server closes, or until one is to be cut: true."""
        answers = _Answers(self)
        while data := await reader.read(65536):
            passed, is_cut = answers.feed(data)
            writer.write(passed)
            await writer.drain()
            if is_cut:
                return True
        return False


class _Answers:
    """The answers on one connection, read line by line: an event ends where a line does."""

    def __init__(self, cutter: EventCutter) -> None:
        self._cutter = cutter
        self._parser = httptools.HttpResponseParser(self)
        self._is_stream = False
        self._body = bytearray()
        self._left: int | None = None
        self._counted_to = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What of it may pass, and whether the connection is to be cut behind that."""
        passed = 0
        for line in data.splitlines(keepends=True):
            self._parser.feed_data(line)
            passed += len(line)
            if self._is_stream and self._count() == 0:
                return data[:passed], True
        return data, False

    def on_message_begin(self) -> None:
        self._is_stream = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
            self._is_stream = True

    def on_headers_complete(self) -> None:
        if self._is_stream:
            self._body, self._left = self._cutter.next_stream()
            self._counted_to = 0

    def on_body(self, body: bytes) -> None:
        if self._is_stream:
            self._body += body

    def on_message_complete(self) -> None:
        self._is_stream = False

    def _count(self) -> int | None:
        """How many more events may pass; None for all."""
        while (end := self._body.find(_BLOCK_END, self._counted_to)) >= 0:
            block = bytes(self._body[self._counted_to : end + len(_BLOCK_END)])
            self._counted_to = end + len(_BLOCK_END)
            if self._left is not None and is_event(block):
                self._left -= 1
        return self._left


def is_event(block: bytes) -> bool:
    """Whether a block between empty lines is an event that has an index."""
    lines = [line for line in block.splitlines() if line and not line.startswith(b":")]
    return bool(lines) and lines[0] != b"event: ping"


def events_of(stream: bytes) -> list[bytes]:
    """The whole events of a stream as they are spelled, without what has no index."""
    blocks = stream.split(_BLOCK_END)[:-1]
    return [
        b"\n".join(line for line in block.split(b"\n") if not line.startswith(b":")) + _BLOCK_END
        for block in blocks
        if is_event(block)
    ]


def random_cuts(seed: int, least: int, most: int) -> Iterator[int]:
    """Without an end; the same ones for a seed."""
    chance = random.Random(seed)
    while True:
        yield chance.randint(least, most)


def _reset_when_closed(ends: Iterable[asyncio.StreamWriter]) -> None:
    for end in ends:
        end.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))


async def _close(ends: Iterable[asyncio.StreamWriter]) -> None:
    for end in ends:
        end.close()
    for end in ends:
        with suppress(OSError):
            await end.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextmanager
def event_cutter(
    target: str, cuts: Iterable[int | None] = (), how: Cut = Cut.RESET
) -> Iterator[EventCutter]:
    """A proxy in front of the server at that URL, in a thread of its own.

    The n-th stream is cut after the n-th of ``cuts`` events; those behind the last are not cut.
    """
    cutter = EventCutter(target, cuts, how)
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(cutter.serve(ready, over))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10), "the proxy did not start"
    try:
        yield cutter
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
