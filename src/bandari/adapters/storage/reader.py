"""Reads: a few threads with connections of their own, so that no question waits for a commit.

Every wait has a limit. A thread whose question hangs has its connection cut, where that can be
done; while all of them hang, new questions are refused at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

from bandari.adapters.storage.database import Connection, Database, Verdict
from bandari.domain.faults import OwnFault, StoreUnavailable

MAX_THREADS = 2
MAX_WAITING = 2_000
READ_TIMEOUT_S = 5.0

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")

logger = logging.getLogger(__name__)

_SLOW = "The ledger is slow: it did not answer in time."


class _Asking:
    """A question in a thread, and the connection that it is asked on."""

    __slots__ = ("connection", "is_given_up")

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.is_given_up = False


class Reader:
    """Answers questions from the last committed state."""

    def __init__(self, database: Database, *, timeout_s: float = READ_TIMEOUT_S) -> None:
        self._database = database
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(MAX_THREADS, "bandari-reader")
        self._mine = threading.local()
        self._opened: list[Connection] = []
        self._hanging: set[Future[Any]] = set()
        self._waiting = 0
        self._closed = False

    async def run(
        self,
        question: Callable[[Connection, *Arguments], T],
        *arguments: *Arguments,
    ) -> T:
        """Have a thread answer. A database that cannot be read in time is ``StoreUnavailable``."""
        if self._closed:
            raise StoreUnavailable("The ledger is closed.")
        if self._waiting >= MAX_WAITING:
            raise StoreUnavailable("Too many reads are waiting for the ledger.")
        if len(self._hanging) >= MAX_THREADS:
            raise StoreUnavailable("The ledger is slow: earlier reads are not answered yet.")
        self._waiting += 1
        asking = _Asking()
        work = self._pool.submit(self._answer, asking, question, arguments)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.wrap_future(work)
        except TimeoutError:
            self._give_up_waiting(work, asking)
            raise StoreUnavailable(_SLOW) from None
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        while self._opened:
            self._opened.pop().close()

    def _give_up_waiting(self, work: Future[Any], asking: _Asking) -> None:
        logger.error("the ledger is slow: a read was given up")
        if work.cancel():
            return
        asking.is_given_up = True
        self._hanging.add(work)
        work.add_done_callback(self._hanging.discard)
        if asking.connection is not None:
            asking.connection.cut()

    def _answer(self, asking: _Asking, question: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        # The connection may have been lost since it was last used; a new one gets a second chance.
        for is_last in (False, True):
            connection: Connection | None = getattr(self._mine, "connection", None)
            try:
                if connection is None:
                    connection = self._connect()
                asking.connection = connection
                return question(connection, *arguments)
            except Exception as error:  # the thread's edge: judged and handed over
                if not self._database.is_driver_error(error):
                    raise
                if connection is not None:
                    self._give_up(connection)
                if is_last or asking.is_given_up:
                    if self._database.judge(error) is Verdict.CULPRIT:
                        raise OwnFault("The ledger refused a question.") from error
                    raise StoreUnavailable("The ledger cannot be read.") from error
        raise AssertionError("the second attempt returns or raises")

    def _connect(self) -> Connection:
        connection = self._database.connect_reader()
        self._mine.connection = connection
        self._opened.append(connection)
        return connection

    def _give_up(self, connection: Connection) -> None:
        self._mine.connection = None
        self._opened.remove(connection)
        try:
            connection.close()
        except Exception as error:  # noqa: BLE001 - it was given up anyway
            logger.warning("closing a connection failed: %s", error)
