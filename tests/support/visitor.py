"""Who is at the other end of a ``ServerConnection``, played by the test: nothing here waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import httptools
from tests.support.fake_transport import FakeTransport
from tests.support.gates import until_idle

from bandari.web.http1 import App, ServerConnection
from bandari.web.sources import TrustedProxies


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False


class Line(FakeTransport):
    """A transport that can be closed, and whose other side may be slow to read.

    ``misused``: something was written after the end. ``pauses``: what is written next is more than
    the other side reads.
    """

    def __init__(self, protocol: asyncio.Protocol, peer: object = None) -> None:
        self.has_written_eof = False
        self.misused = False
        self.pauses = False
        self._ends = False
        super().__init__(protocol, peer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.misused |= self.has_written_eof
        super().write(data)
        if self.pauses:
            self.pauses = False
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        self.has_written_eof = True

    def close(self) -> None:
        self._ends = True
        self._end_if_read()

    def is_closing(self) -> bool:
        return self._ends or super().is_closing()

    def read(self, unsent: int = 0) -> None:
        """The other side reads; so many bytes are left."""
        self.unsent = unsent
        self._end_if_read()

    def end(self) -> None:
        self._protocol.eof_received()
        self.close()

    def lose(self, error: Exception | None) -> None:
        if not self._is_closing:
            self._ends = True
            super().lose(error)

    def _end_if_read(self) -> None:
        if self._ends and not self.unsent:
            super().lose(None)


class Visitor:
    """A client and the connection that serves it. ``peer`` is where he comes from."""

    def __init__(
        self,
        app: App,
        connection: ServerConnection | None = None,
        *,
        peer: object = None,
        proxies: TrustedProxies | None = None,
    ) -> None:
        self.gone = 0
        self.connection = connection or ServerConnection(app, self._forget, proxies)
        self.line = Line(self.connection, peer)
        self._unheard: list[bytes] = []

    def _forget(self, connection: ServerConnection) -> None:
        assert connection is self.connection
        assert not self.line.misused
        self.gone += 1

    def sends(self, *pieces: bytes) -> None:
        """As a network would bring it: only while somebody reads."""
        self._unheard += pieces
        while self._unheard and self.line.is_reading() and not self.line.is_closing():
            self.connection.data_received(self._unheard.pop(0))

    async def asks(self, *pieces: bytes) -> list[Answer]:
        """Send, let everybody do what they can, and read all answers that came."""
        self.sends(*pieces)
        await self.settles()
        return self.answers()

    async def settles(self) -> None:
        before = -1
        while before != len(self.line.written) or (self.line.is_reading() and self._unheard):
            before = len(self.line.written)
            self.sends()
            await until_idle()
            if self.line.is_closing():
                return

    def leaves(self) -> None:
        """Both ways at once."""
        self.line.lose(ConnectionResetError())

    def ends(self) -> None:
        """He sends no more, but still reads."""
        self.line.end()

    @property
    def is_open(self) -> bool:
        return not self.line.is_closing()

    @property
    def unheard(self) -> int:
        return sum(map(len, self._unheard))

    def answers(self) -> list[Answer]:
        assert not self.line.misused
        return answers_in(self.line.written)


def answers_in(data: bytes) -> list[Answer]:
    """Whole answers and a begun one. Those to HEAD are not told apart: ask for it last."""
    reader = _Reader()
    parser = httptools.HttpResponseParser(reader)
    reader.parser = parser
    parser.feed_data(data)
    return reader.answers


class _Reader:
    parser: httptools.HttpResponseParser

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def on_message_begin(self) -> None:
        self.answers.append(Answer())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.answers[-1].headers[name.decode()] = value.decode()

    def on_headers_complete(self) -> None:
        self.answers[-1].status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.answers[-1].body += body

    def on_message_complete(self) -> None:
        self.answers[-1].ended = True
