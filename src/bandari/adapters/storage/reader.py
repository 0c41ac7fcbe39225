"""Reads: a few threads with connections of their own, so that no question waits for a commit."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, TypeVarTuple

from bandari.adapters.storage.database import Connection, Database, Verdict
from bandari.domain.faults import OwnFault, StoreUnavailable

MAX_THREADS = 2
MAX_WAITING = 2_000

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class Reader:
    """Answers questions from the last committed state."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pool = ThreadPoolExecutor(MAX_THREADS, "bandari-reader")
        self._mine = threading.local()
        self._opened: list[Connection] = []
        self._waiting = 0
        self._closed = False

    async def run(
        self,
        question: Callable[[Connection, *Arguments], T],
        *arguments: *Arguments,
    ) -> T:
        if self._closed:
            raise StoreUnavailable("The ledger is closed.")
        if self._waiting >= MAX_WAITING:
            raise StoreUnavailable("Too many reads are waiting for the ledger.")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, self._answer, question, arguments)
        finally:
            self._waiting -= 1

    async def aclose(self) -> None:
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        while self._opened:
            self._opened.pop().close()

    def _answer(self, question: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        # The connection may have been lost since it was last used; a new one gets a second chance.
        for is_last in (False, True):
            connection: Connection | None = getattr(self._mine, "connection", None)
            try:
                if connection is None:
                    connection = self._connect()
                return question(connection, *arguments)
            except Exception as error:  # the thread's edge: judged and handed over
                if not self._database.is_driver_error(error):
                    raise
                if connection is not None:
                    self._give_up(connection)
                if is_last:
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
