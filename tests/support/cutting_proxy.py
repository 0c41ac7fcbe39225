"""A wire between Bandari and PostgreSQL that is cut at a COMMIT, before it arrives or after.

Understands just enough of PostgreSQL's protocol: COMMIT travels as a simple query, and only a
connection that has asked for its transaction's number is one that writes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from enum import Enum

_COMMIT = b"COMMIT\x00"
_WRITES = b"pg_current_xact_id"


class Cut(Enum):
    BEFORE = "before"
    """The COMMIT does not arrive."""
    AFTER = "after"
    """It arrives and takes effect; its answer does not come back."""
    SILENT = "silent"
    """As AFTER, but nobody is told: the connection stays open and says nothing any more."""


class CuttingProxy:
    """``url`` leads to the database through the proxy. ``cut`` arms it for the next COMMIT."""

    def __init__(self, url: str) -> None:
        head, _, database = url.rpartition("/")
        before, _, port = head.rpartition(":")
        self._target = ("127.0.0.1", int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{before}:{self._listener.getsockname()[1]}/{database}"
        self.was_cut = threading.Event()
        self._armed: Cut | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def cut(self, how: Cut) -> None:
        """At the next COMMIT of a connection that writes; once."""
        self.was_cut.clear()
        self._armed = how

    def serve(self) -> None:
        """Until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            self._open |= {client, server}
            wire = _Wire(self, client, server)
            for way in (wire.there, wire.back):
                threading.Thread(target=way, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            end.close()

    def take_order(self) -> Cut | None:
        """What to do to this COMMIT."""
        with self._lock:
            how, self._armed = self._armed, None
            return how


class _Wire:
    """One connection: two threads, one for each way."""

    def __init__(self, proxy: CuttingProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._writes = False
        self._cut: Cut | None = None

    def there(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._client.recv(65536):
                self._writes = self._writes or _WRITES in data
                if self._writes and data.endswith(_COMMIT):
                    self._cut = self._proxy.take_order()
                if self._cut is Cut.BEFORE:
                    self._proxy.was_cut.set()
                    break
                self._server.sendall(data)
        if self._cut is not Cut.SILENT:
            self._hang_up()

    def back(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._server.recv(65536):
                if self._cut is not None:
                    self._proxy.was_cut.set()
                    break
                self._client.sendall(data)
        if self._cut is not Cut.SILENT:
            self._hang_up()

    def _hang_up(self) -> None:
        for end in (self._client, self._server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def cutting_proxy(url: str) -> Iterator[CuttingProxy]:
    """A proxy in front of the PostgreSQL that a URL with a port names."""
    proxy = CuttingProxy(url)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join()
