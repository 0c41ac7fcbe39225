"""One HTTP request and its answer: bounded reading, plain writing.

What an endpoint sees of the server. Knows no protocol that is spoken over HTTP and no use case;
of the connection under it only what ``Connection`` names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol
from urllib.parse import parse_qsl

from bandari.domain.faults import InvalidRequest, InvalidValue, RequestTimeout, RequestTooLarge
from bandari.domain.problem import Problem
from bandari.web.heads import (
    BODILESS,
    CHUNKED,
    CLOSE,
    CONTINUE,
    LAST_CHUNK,
    LENGTH,
    spelled_chunk,
    spelled_head,
)
from bandari.wire.chat_completions.errors import encode_problem

UNWANTED_BYTES = 256 * 1024
"""What may follow an answer that was given before its request's body had come.

So much is read and dropped, and the connection serves on; where it may be more, it is closed.
"""


MAX_PARAMETERS: Final = 50

Spell = Callable[[Problem], bytes]
"""An error's body in a protocol's envelope."""


class ClientLeft(Exception):
    """The client closed the connection; nobody is there to answer."""


class Connection(Protocol):
    """What an exchange needs of the connection that it came over."""

    is_held_up: bool
    """The client does not read what was written."""

    def send(self, data: bytes) -> None:
        """Write; nothing happens where nobody is there any more."""

    async def until_read(self) -> None:
        """Wait until the client has read enough of what was written, or has left."""

    def body_was_taken(self) -> None:
        """More of a request's body may be read."""


class Exchange:
    """``headers`` are sent with whatever answer is given: set them before ``begin``.

    ``given`` are the request's headers by their lower-case names. ``is_last``: no request follows
    on this connection. ``is_over``: the answer is complete. ``spell`` is the envelope of errors,
    and ``path_ids`` what stands in the path where its route has names in braces, decoded.
    ``source`` is the client's address, as far as it is known for sure, else empty.
    """

    __slots__ = (
        "_connection",
        "_given",
        "_is_chunked",
        "_pieces",
        "_waiter",
        "_watchers",
        "awaits_continue",
        "began",
        "has_left",
        "headers",
        "is_http_1_1",
        "is_last",
        "is_over",
        "is_whole",
        "method",
        "path",
        "path_ids",
        "query",
        "received_bytes",
        "source",
        "spell",
        "status",
        "unread_bytes",
    )

    def __init__(
        self,
        connection: Connection,
        method: str,
        path: str,
        given: Mapping[bytes, bytes],
        is_http_1_1: bool = True,
        is_last: bool = False,
        query: str = "",
        source: str = "",
    ) -> None:
        self._connection = connection
        self._given = given
        self.method = method
        self.path = path
        self.path_ids: tuple[str, ...] = ()
        self.query = query
        self.source = source
        self.spell: Spell = encode_problem
        self.is_http_1_1 = is_http_1_1
        self.is_last = is_last or not is_http_1_1
        self.awaits_continue = (
            b"expect" in given and is_http_1_1 and given[b"expect"].lower() == b"100-continue"
        )
        self._pieces: list[bytes] = []
        self.received_bytes = 0
        self.unread_bytes = 0
        self.is_whole = False
        self._waiter: asyncio.Future[None] | None = None
        self._watchers: list[Callable[[], None]] | None = None
        self.has_left = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.began = False
        self.is_over = False

    # For endpoints: the request.

    @property
    def path_id(self) -> str:
        """The first of ``path_ids``."""
        return self.path_ids[0] if self.path_ids else ""

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        value = self._given.get(name)
        return None if value is None else value.decode("latin-1")

    def parameter(self, name: str) -> str | None:
        """The last value of that name in the query. Raises ``InvalidRequest`` if it is too long."""
        return dict(self._parameters()).get(name)

    def flag(self, name: str) -> bool:
        """Whether the parameter of that name is ``true``. Raises ``InvalidValue``."""
        value = self.parameter(name)
        if value not in (None, "", "true", "false"):
            raise InvalidValue(f"'{name}' must be true or false.", param=name)
        return value == "true"

    def number(self, name: str, least: int, most: int) -> int | None:
        """The parameter of that name as an integer. Raises ``InvalidValue`` out of its bounds."""
        value = self.parameter(name)
        if value is None or value == "":
            return None
        is_number = value.isascii() and value.removeprefix("-").isdigit() and len(value) < 18
        if not is_number or not least <= int(value) <= most:
            raise InvalidValue(
                f"'{name}' must be an integer between {least} and {most}.", param=name
            )
        return int(value)

    def _parameters(self) -> list[tuple[str, str]]:
        try:
            return parse_qsl(self.query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise InvalidRequest(f"The query has more than {MAX_PARAMETERS} parameters.") from None

    async def body(self, max_bytes: int, timeout_ms: int) -> bytes:
        """The whole body. Raises ``RequestTooLarge``, ``RequestTimeout`` or ``ClientLeft``."""
        if self.has_left:
            raise ClientLeft
        if not self.is_whole:
            if (self._declared_bytes() or 0) > max_bytes:
                raise _too_large(max_bytes)
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    return await self._whole_body(max_bytes)
            except TimeoutError:
                raise RequestTimeout(
                    f"The request body did not arrive within {timeout_ms / 1000:g} s."
                ) from None
        if self.received_bytes > max_bytes:
            raise _too_large(max_bytes)
        return self._taken()

    def watch_client(self, when_left: Callable[[], None]) -> Callable[[], object]:
        """Have ``when_left`` called when the client closes the connection: now, if he has.

        Returns what ends the watch.
        """
        if self.has_left:
            when_left()
            return _nothing
        if self._watchers is None:
            self._watchers = [when_left]
        else:
            self._watchers.append(when_left)
        return lambda: self._unwatch(when_left)

    # For endpoints: the answer. Nothing of it goes to a client who has left.

    async def respond(self, status: int, content_type: bytes, body: bytes) -> None:
        """A whole answer."""
        connection = self._connection
        if connection.is_held_up:
            await self._until_read()
        if status in BODILESS:
            headers = [(b"content-type", content_type), *self.headers]
            body = b""
        else:
            length = (LENGTH, b"%d" % len(body))
            headers = [(b"content-type", content_type), length, *self.headers]
        head = self._head(status, headers)
        self.is_over = True
        if not self.has_left:
            connection.send(head if self.method == "HEAD" else head + body)

    async def begin(self, status: int, content_type: bytes) -> None:
        """The status and the headers."""
        connection = self._connection
        if connection.is_held_up:
            await self._until_read()
        headers = [(b"content-type", content_type), *self.headers]
        has_body = self.method != "HEAD" and status not in BODILESS
        self._is_chunked = has_body and self.is_http_1_1
        if self._is_chunked:
            headers.append(CHUNKED)
        head = self._head(status, headers)
        if not self.has_left:
            connection.send(head)

    def write_now(self, data: bytes) -> bool:
        """More of the body, if somebody is there and nobody has to wait for it.

        To be called between writes only.
        """
        connection = self._connection
        if self.has_left or connection.is_held_up:
            return False
        if data:
            assert self.began, "an answer begins with its head"
            assert not self.is_over, "an answer ends once"
            if self._is_chunked:
                connection.send(spelled_chunk(data))
            elif self.method != "HEAD" and self.status not in BODILESS:
                connection.send(data)
        return True

    async def write(self, data: bytes) -> None:
        """More of the body. Waits while the client does not read, as long as the server allows."""
        while not self.write_now(data) and not self.has_left:
            await self._connection.until_read()

    async def end(self) -> None:
        """The end of the body. An answer that is broken off never gets here."""
        connection = self._connection
        if connection.is_held_up:
            await self._until_read()
        self.is_over = True
        if self._is_chunked and not self.has_left:
            connection.send(LAST_CHUNK)

    # For the connection.

    def receive(self, piece: bytes) -> None:
        """More of the request's body. Then ``wake`` who waits for it."""
        self.received_bytes += len(piece)
        if not self.is_over:
            self._pieces.append(piece)
            self.unread_bytes += len(piece)

    def wake(self) -> None:
        """Have the endpoint see what has come, if it waits for that."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def leave(self) -> None:
        """The client has left."""
        self.has_left = True
        self.wake()
        watchers, self._watchers = self._watchers, None
        for when_left in watchers or ():
            when_left()

    # The rest is nobody else's.

    async def _until_read(self) -> None:
        while self._connection.is_held_up and not self.has_left:
            await self._connection.until_read()

    def _head(self, status: int, headers: list[tuple[bytes, bytes]]) -> bytes:
        if not self.is_whole and not self._rest_is_short():
            self.is_last = True
        if self.is_last:
            headers.append(CLOSE)
        head = spelled_head(status, headers)
        self.status = status
        self.began = True
        return head

    def _rest_is_short(self) -> bool:
        declared = self._declared_bytes()
        return (
            declared is not None
            and not self.awaits_continue
            and declared - self.received_bytes <= UNWANTED_BYTES
        )

    def _declared_bytes(self) -> int | None:
        declared = self._given.get(LENGTH)
        return None if declared is None else int(declared)

    async def _whole_body(self, max_bytes: int) -> bytes:
        if self.awaits_continue:
            self.awaits_continue = False
            self._connection.send(CONTINUE)
        pieces: list[bytes] = []
        while True:
            if self.received_bytes > max_bytes:
                raise _too_large(max_bytes)
            pieces.append(self._taken())
            if self.is_whole:
                return b"".join(pieces)
            if self.has_left:
                raise ClientLeft
            self._connection.body_was_taken()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        self.unread_bytes = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _unwatch(self, when_left: Callable[[], None]) -> None:
        if self._watchers is not None and when_left in self._watchers:
            self._watchers.remove(when_left)


def _nothing() -> None:
    """End a watch that has ended."""


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body exceeds the limit of {max_bytes} bytes.")
