"""The network's side of an ``asyncio.Protocol``, played by the test: nothing here waits."""

from __future__ import annotations

import asyncio


class FakeTransport(asyncio.Transport):
    """``written`` is what the protocol sent, of which ``unsent`` bytes have not left yet.

    ``peer`` is what a socket would call the other side.
    """

    def __init__(self, protocol: asyncio.Protocol, peer: object = None) -> None:
        super().__init__({"peername": peer})
        self.written = b""
        self.unsent = 0
        self._protocol = protocol
        self._is_closing = False
        self._is_reading = True
        protocol.connection_made(self)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True

    def is_closing(self) -> bool:
        return self._is_closing

    def abort(self) -> None:
        self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """The connection is gone; as with a real one, the protocol hears of it a little later."""
        if not self._is_closing:
            self._is_closing = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, error)

    def end(self) -> None:
        """The other side says that nothing more will come."""
        if not self._protocol.eof_received():
            self.lose(None)
