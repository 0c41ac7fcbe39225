"""One connection of a client that speaks HTTP/1.1: a request in, its answer out, then the next.

Owns framing, the order of answers, reading ahead within bounds, and every deadline of a connection.
Knows no route and no endpoint: a request is an ``Exchange``, and ``app`` answers it.

Our own, because it takes three fifths of a general server's time and half its memory (ADR 0015).
The parser is llhttp (httptools), as strict as it can be: what could be read in two ways is refused.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import httptools

from bandari.web.exchange import Exchange
from bandari.web.heads import CLOSE, LENGTH, spelled_head
from bandari.web.sources import FORWARDED_FOR, TrustedProxies, address_of
from bandari.web.timed_connection import TimedConnection

App = Callable[[Exchange], Awaitable[None]]

MAX_HEAD_BYTES = 256 * 1024
"""Of a request's head, and of whatever else comes without a piece of a body: trailers, extensions.

The read with which a head begins, and the one with which it ends, are not counted.
"""
MAX_UNREAD_BYTES = 64 * 1024
"""Of a request's body that nobody has asked for; beyond, the client is made to wait."""
MAX_WAITING = 100
"""Requests that were sent before the answer to the one before them; beyond, they are refused."""

HEAD_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 75.0
LINGER_S = 5.0
"""How long what a client still sends is dropped, after an answer that did not wait for it.

A connection that is closed with bytes unread is reset, and the client may never see the answer.
"""

_log = logging.getLogger(__name__)


class ServerConnection(TimedConnection):
    """``when_gone`` is called once: when the connection is closed and nothing answers on it.

    ``proxies`` are believed where a request comes from; without them the peer is who asks.
    """

    __slots__ = (
        "_app",
        "_beside_bytes",
        "_exchange",
        "_forwarded",
        "_head_bytes",
        "_headers",
        "_incoming",
        "_is_deaf",
        "_is_paused",
        "_parser",
        "_peer",
        "_pieces",
        "_proxies",
        "_refusal",
        "_task",
        "_url",
        "_waiting",
        "_when_gone",
        "on_body",
        "on_header",
        "on_url",
    )

    def __init__(
        self,
        app: App,
        when_gone: Callable[[ServerConnection], None],
        proxies: TrustedProxies | None = None,
    ) -> None:
        super().__init__()
        self._app = app
        self._when_gone = when_gone
        self._proxies = proxies
        self._peer = ""
        self._forwarded: list[bytes] = []  # X-Forwarded-For, where the peer is a trusted proxy
        self._parser: httptools.HttpRequestParser | None = None

        # The parser fills these without a line of Python; who reads one empties it.
        self._url: list[bytes] = []
        self._headers: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self.on_url = self._url.append
        self.on_header: Callable[[bytes, bytes], object] = self._headers.setdefault
        self.on_body = self._pieces.append

        self._head_bytes = -1  # no head has begun
        self._beside_bytes = 0
        self._incoming: Exchange | None = None  # its body is not whole
        self._waiting: list[Exchange] = []
        self._exchange: Exchange | None = None  # it is being answered
        self._task: asyncio.Task[None] | None = None
        self._refusal: str | None = None  # told when what came before is answered
        self._is_deaf = False  # what comes is dropped
        self._is_paused = False

    # For the listener.

    def shut_down(self) -> None:
        """Answer what is being answered, and nothing more."""
        exchange = self._exchange
        if exchange is None:
            self._is_deaf = True
            self._close()
            return
        exchange.is_last = True
        if exchange.is_whole:
            self._is_deaf = True
        self._read_or_not()

    def abort(self) -> None:
        """Be gone, and have whoever still answers stop."""
        if self._transport is not None:
            self._transport.abort()
        if self._task is not None:
            self._task.cancel()

    # For an exchange.

    def body_was_taken(self) -> None:
        if self._is_paused:
            self._read_or_not()

    # For the event loop.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._peer = address_of(transport.get_extra_info("peername"))
        if self._proxies is not None and self._proxies.trust(self._peer):
            self.on_header = self._keep_header
        self._parser = httptools.HttpRequestParser(self)
        if self._is_deaf:
            self._close()  # it was shut down before it was made
        else:
            self._wait(HEAD_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        parser = self._parser
        if self._is_deaf or parser is None:
            return
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_with_http1(parser, data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse("Invalid HTTP request received.")
            return
        if self._url:
            self._count_head(len(data))
        elif self._incoming is not None:
            self._hand_over(self._incoming, len(data))
        if self._waiting:
            self._read_or_not()

    def eof_received(self) -> None:
        """Said apart from ``connection_lost``, which waits for what is still to be written."""
        self._leave()
        self._close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's
        self._gone()
        self._parser = None
        self._is_deaf = True
        self._leave()
        if self._task is None:
            self._when_gone(self)

    # For the parser, which makes an ``HttpParserError`` of what these raise.

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        if parser.should_upgrade():
            return
        self._head_bytes = -1
        self._beside_bytes = 0
        # Names come as they were sent: two spellings may be one name. The first counts.
        given = {name.lower(): value for name, value in reversed(self._headers.items())}
        path, query = _path_and_query(b"".join(self._url))
        exchange = Exchange(
            self,
            parser.get_method().decode(),
            path,
            given,
            parser.get_http_version() == "1.1",
            not parser.should_keep_alive(),
            query,
            self._source() if self._forwarded else self._peer,
        )
        self._url.clear()
        self._headers.clear()
        self._incoming = exchange
        if self._exchange is None:
            self._begin(exchange)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append(exchange)
        else:
            self._incoming = None
            raise ValueError("too many requests at once")

    def on_message_complete(self) -> None:
        exchange, self._incoming = self._incoming, None
        if exchange is None:
            return  # it asks for an upgrade, and has not begun
        pieces = self._pieces
        if pieces:
            exchange.receive(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            pieces.clear()
        exchange.is_whole = True
        exchange.wake()
        self._headers.clear()  # of trailers
        self._forwarded.clear()
        if exchange.is_last:
            self._is_deaf = True
        if self._exchange is None:
            self._wait_for_client()  # it was answered before it was whole

    # What has come.

    def _keep_header(self, name: bytes, value: bytes) -> None:
        """``on_header`` where a proxy may say for whom it asks, in several headers of one name."""
        if name.lower() == FORWARDED_FOR:
            self._forwarded.append(value)
        else:
            self._headers.setdefault(name, value)

    def _source(self) -> str:
        assert self._proxies is not None, "nobody else's X-Forwarded-For is kept"
        return self._proxies.client(self._peer, b",".join(self._forwarded))

    def _count_head(self, size: int) -> None:
        if self._head_bytes < 0:
            self._head_bytes = 0
            self._wait_for_client()
            return
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse("The request's head is too large.")

    def _hand_over(self, incoming: Exchange, size: int) -> None:
        """Give an exchange what of its body has come."""
        if self._pieces:
            incoming.receive(b"".join(self._pieces))
            self._pieces.clear()
            incoming.wake()
            self._beside_bytes = 0
            self._read_or_not()
            return
        self._beside_bytes += size
        if self._beside_bytes > MAX_HEAD_BYTES:
            self._refuse("Too much was sent beside the request's body.")

    def _read_or_not(self) -> None:
        """Make the client wait while requests, or more of a body than we want to hold, do."""
        incoming = self._incoming
        # A client that leaves is noticed only while it is listened to.
        is_paused = not self._is_deaf and (
            bool(self._waiting)
            or (incoming is not None and incoming.unread_bytes > MAX_UNREAD_BYTES)
        )
        transport = self._transport
        if is_paused is self._is_paused or transport is None:
            return
        self._is_paused = is_paused
        if is_paused:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _stay_with_http1(self, parser: httptools.HttpRequestParser, rest: bytes) -> None:
        """Answer a request for another protocol as if it had not asked for it (RFC 9110, 7.8).

        The parser leaves its body to that protocol, so another parser reads it again without.
        """
        method = parser.get_method()
        if method == b"CONNECT":
            self._refuse("This is no proxy.")
            return
        lines = [
            b"%b %b HTTP/%b" % (method, b"".join(self._url), parser.get_http_version().encode())
        ]
        lines += [
            b"%b: %b" % header
            for header in self._headers.items()
            if header[0].lower() != b"upgrade"
        ]
        lines += [b"%b: %b" % (FORWARDED_FOR, value) for value in self._forwarded]
        self._url.clear()
        self._headers.clear()
        self._forwarded.clear()
        self._parser = httptools.HttpRequestParser(self)
        self.data_received(b"\r\n".join((*lines, b"", rest)))

    def _refuse(self, reason: str) -> None:
        """Hear no more, and say why when what came before is answered."""
        self._is_deaf = True
        self._refusal = reason
        self._url.clear()
        self._pieces.clear()
        self._headers.clear()
        self._forwarded.clear()
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            if self._exchange is None:
                self._tell_refusal(reason)
        elif incoming.began:
            incoming.leave()  # for its endpoint it is the same: no more comes
            self._close()
        elif incoming is self._exchange:
            incoming.leave()
            self._tell_refusal(reason)
        else:
            self._waiting.pop()

    # Answering.

    def _begin(self, exchange: Exchange) -> None:
        self._exchange = exchange
        if not self.is_held_up:
            self._deadline.at = math.inf
        # Without a name it would be given a number, and that is spelled out at once.
        self._task = asyncio.Task(self._answer(exchange), loop=self._loop, name="request")

    async def _answer(self, exchange: Exchange) -> None:
        try:
            await self._app(exchange)
        except Exception:  # noqa: BLE001 - the process edge: the client is told, the log has the rest
            _log.exception("a request failed outside its endpoint")
        finally:
            self._answered(exchange)

    def _answered(self, exchange: Exchange) -> None:
        self._task = None
        self._exchange = None
        if self._transport is None:
            self._when_gone(self)
        elif exchange.has_left:
            return  # the connection is closing for another reason
        elif not exchange.is_over:
            self._break_off(exchange)
        elif exchange.is_last:
            self._part_with(exchange)
        elif self._waiting:
            self._begin(self._waiting.pop(0))
            self._read_or_not()
        elif self._refusal is not None:
            self._tell_refusal(self._refusal)
        else:
            if self._is_paused:  # on a body that nobody wanted
                exchange.unread_bytes = 0
                self._read_or_not()
            self._wait_for_client()

    def _break_off(self, exchange: Exchange) -> None:
        """There is no end to this answer; the missing end of its body says so."""
        exchange.has_left = True
        if not exchange.began:
            self._send_text(500, "Internal Server Error")
        self._part_with(exchange)

    def _tell_refusal(self, reason: str) -> None:
        self._send_text(400, reason)
        self._linger()

    def _send_text(self, status: int, text: str) -> None:
        kind = (b"content-type", b"text/plain; charset=utf-8")
        body = text.encode()
        self.send(spelled_head(status, [kind, (LENGTH, b"%d" % len(body)), CLOSE]) + body)

    # Ends and deadlines.

    def _part_with(self, exchange: Exchange) -> None:
        if exchange.is_whole:
            self._close()
        else:
            self._linger()

    def _linger(self) -> None:
        """Close, but for what is still on its way here."""
        self._is_deaf = True
        self._incoming = None
        self._read_or_not()
        if self._transport is not None:
            self._transport.write_eof()
        self._wait(LINGER_S)

    def _leave(self) -> None:
        if self._exchange is not None:
            self._exchange.leave()
        self._wake_writer()

    def _wait_for_client(self) -> None:
        if self.is_held_up or self._is_closed:
            return  # it has to read first
        if self._exchange is not None and not self._exchange.has_left:
            self._deadline.at = math.inf
        elif self._url:
            self._wait(HEAD_TIMEOUT_S)
        elif self._incoming is not None or self._is_deaf:
            self._wait(LINGER_S)
        else:
            self._wait(KEEP_ALIVE_S)


def _path_and_query(target: bytes) -> tuple[str, str]:
    """The path of a request's target, decoded, and its query. Raises ``ValueError``."""
    query: bytes | None = b""
    if target.startswith(b"/"):
        target, _, query = target.partition(b"#")[0].partition(b"?")
    else:
        url = httptools.parse_url(target)
        target, query = url.path or b"/", url.query
    path = target.decode("ascii")
    return unquote(path) if "%" in path else path, (query or b"").decode("ascii")
