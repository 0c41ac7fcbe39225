"""A connection that ends in time: how long a client may stay silent, and leave an answer unread.

Owns writing, closing and the one deadline. Knows no HTTP: what the client has to do now, and how
long that may take, is said by who reads from it.
"""

from __future__ import annotations

import asyncio

from bandari.service.deadline import Deadline

WRITE_TIMEOUT_S = 60.0
"""How long a client may leave what we write unread, without a byte of it taken, until it is cut."""


class TimedConnection(asyncio.Protocol):
    """``is_held_up``: the client does not read, and nothing more should be written."""

    __slots__ = (
        "_deadline",
        "_is_closed",
        "_loop",
        "_transport",
        "_unread_bytes",
        "_writable",
        "is_held_up",
    )

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_closed = False
        self.is_held_up = False
        self._unread_bytes = 0
        self._writable: asyncio.Future[None] | None = None
        self._deadline = Deadline(self._loop, self._is_late)

    def _wait_for_client(self) -> None:
        """Set the deadline for what the client has to do now."""
        raise NotImplementedError

    # For who writes.

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    async def until_read(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()
        await self._writable

    # For the event loop.

    def pause_writing(self) -> None:
        self.is_held_up = True
        self._wait_for_reader()

    def resume_writing(self) -> None:
        self.is_held_up = False
        self._wait_for_client()
        self._wake_writer()

    # For who reads.

    def _close(self) -> None:
        """Close when what was written has left; nothing may be written any more."""
        transport = self._transport
        if transport is None or self._is_closed:
            return
        self._is_closed = True
        transport.close()
        self._wait_for_reader()

    def _gone(self) -> None:
        self._deadline.end()
        self._transport = None
        self._is_closed = True
        self._wake_writer()

    def _wake_writer(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    def _wait_for_reader(self) -> None:
        if self._transport is not None:
            self._unread_bytes = self._transport.get_write_buffer_size()
            self._wait(WRITE_TIMEOUT_S)

    def _wait(self, seconds: float) -> None:
        """End the connection in that time, unless the deadline is moved or taken away."""
        self._deadline.set(self._loop.time() + seconds)

    def _is_late(self) -> None:
        transport = self._transport
        assert transport is not None, "the deadline ends with the connection"
        if not self.is_held_up and not self._is_closed:
            self._close()
        elif transport.get_write_buffer_size() < self._unread_bytes:
            self._wait_for_reader()  # slowly, but it reads
        else:
            transport.abort()
