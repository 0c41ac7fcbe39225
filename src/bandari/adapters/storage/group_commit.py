"""Group commit: one thread writes for everybody, and one durable commit serves all who wait.

Rule 1: an operation is answered only after the commit that contains it has returned.
Rule 2: an operation changes nothing but the database, so it can be run again. If one raises, the
batch is rolled back and each is run in a transaction of its own: only the culprit fails.
Rule 3: a caller that stops waiting changes nothing for the others, nor for its own write.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from bandari.adapters.storage.database import Connection, Database, Lock, Verdict
from bandari.domain.faults import OwnFault, StoreUnavailable

MAX_BATCH = 256
MAX_QUEUE = 10_000
MAX_RETRIES = 20
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0

CommitObserver = Callable[[int, float], None]
"""Is told, in the writer's thread, how many operations a commit held and the seconds it took."""

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class _Request(NamedTuple):
    operation: Callable[..., Any]
    arguments: tuple[Any, ...]
    locks: Sequence[Lock]
    future: asyncio.Future[Any]


class _Failure:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class GroupCommit:
    """The writer: takes operations from any event loop, answers when they are durable."""

    def __init__(
        self,
        database: Database,
        observe: CommitObserver | None = None,
        *,
        max_batch: int = MAX_BATCH,
        max_queue: int = MAX_QUEUE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._observe = observe
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._monotonic = monotonic
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._closed = False
        self._connection: Connection | None = None
        self._is_new = False
        self._committing = False
        self._backoff_s = 0.0
        self._reconnect_at = 0.0
        self._thread = threading.Thread(target=self._work, name="bandari-writer", daemon=True)
        self._thread.start()

    def run(
        self,
        locks: Sequence[Lock],
        operation: Callable[[Connection, *Arguments], T],
        *arguments: *Arguments,
    ) -> asyncio.Future[T]:
        """Have ``operation`` run in the next transaction; the future has its result once durable.

        ``locks`` names the accounts and holds it will change. A full queue, a closed store and a
        database that cannot be written are ``StoreUnavailable``.
        """
        if self._closed:
            raise StoreUnavailable("The ledger is closed.")
        if self._queue.qsize() >= self._max_queue:
            raise StoreUnavailable("Too many writes are waiting for the ledger.")
        future = asyncio.get_running_loop().create_future()
        self._queue.put(_Request(operation, arguments, locks, future))
        return future

    async def aclose(self) -> None:
        """Finish what is queued, then end the thread and its connection."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        is_open = True
        while is_open or not self._queue.empty():
            batch: list[_Request] = []
            # The first one is waited for; whatever else has gathered by then comes along.
            waiting = 1
            while waiting > 0:
                request = self._queue.get()
                waiting -= 1
                if request is None:
                    is_open = False
                else:
                    batch.append(request)
                if len(batch) == 1:
                    waiting = min(self._queue.qsize(), self._max_batch - 1)
            if batch:
                _answer(batch, self._outcomes(batch))
        self._disconnect()

    def _outcomes(self, batch: Sequence[_Request]) -> Sequence[Any]:
        """The result or failure of each. Never raises: whatever happens, everybody is answered."""
        try:
            for _ in range(MAX_RETRIES):
                try:
                    return self._transaction(batch)
                except Exception as error:  # noqa: BLE001 - the thread's edge: judged and handed over
                    verdict = self._after(error)
                    if verdict is Verdict.RETRY:
                        continue
                    if verdict is Verdict.UNAVAILABLE:
                        return [_Failure(_unavailable(error)) for _ in batch]
                    if len(batch) > 1:
                        return [outcome for one in batch for outcome in self._outcomes([one])]
                    return [_Failure(self._blame(error))]
            return [_Failure(StoreUnavailable()) for _ in batch]
        except BaseException as error:  # a thread that died would leave everybody waiting
            logger.exception("the ledger's writer failed")
            return [_Failure(_unavailable(error)) for _ in batch]

    def _transaction(self, batch: Sequence[_Request]) -> Sequence[Any]:
        self._committing = False
        connection = self._connection or self._connect()
        connection.begin()
        connection.take([lock for request in batch for lock in request.locks])
        results = [operation(connection, *arguments) for operation, arguments, _, _ in batch]
        started = self._monotonic()
        self._committing = True
        connection.commit()
        self._is_new = False
        self._backoff_s = 0.0
        self._tell_observer(len(batch), self._monotonic() - started)
        return results

    def _tell_observer(self, size: int, seconds: float) -> None:
        if self._observe is None:
            return
        try:
            self._observe(size, seconds)
        except Exception:  # the batch is committed, and must not be run again
            logger.exception("the observer of commits failed")

    def _connect(self) -> Connection:
        if self._monotonic() < self._reconnect_at:
            raise _BackingOff
        try:
            self._connection = self._database.connect()
        finally:
            self._is_new = True
            if self._connection is None:
                self._back_off()
        return self._connection

    def _after(self, error: Exception) -> Verdict:
        """Judge the error, and leave the connection either clean or closed."""
        if isinstance(error, _BackingOff):
            return Verdict.UNAVAILABLE
        verdict = self._database.judge(error)
        if self._connection is None:
            logger.error("the ledger cannot be opened: %s", error)
            return Verdict.UNAVAILABLE
        if verdict in (Verdict.RETRY, Verdict.CULPRIT):
            try:
                self._connection.roll_back()
                return verdict
            except Exception as failure:  # noqa: BLE001 - this connection has had its day
                logger.warning("rolling back failed: %s", failure)
                verdict = Verdict.LOST
        was_new, self._is_new = self._is_new, False
        self._disconnect()
        if verdict is Verdict.LOST and not was_new and not self._committing:
            # A connection that broke while idle. One that broke during COMMIT leaves it unknown
            # whether it took effect, and running the batch again could charge twice.
            logger.warning("the connection to the ledger was lost: %s", error)
            return Verdict.RETRY
        logger.error("the ledger cannot be written: %s", error)
        self._back_off()
        return Verdict.UNAVAILABLE

    def _back_off(self) -> None:
        self._backoff_s = min(max(self._backoff_s * 2, FIRST_BACKOFF_S), MAX_BACKOFF_S)
        self._reconnect_at = self._monotonic() + self._backoff_s

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:  # noqa: BLE001 - it was given up anyway
                logger.warning("closing a connection failed: %s", error)

    def _blame(self, error: Exception) -> Exception:
        if not self._database.is_driver_error(error):
            return error
        fault = OwnFault("The ledger refused an operation.")
        fault.__cause__ = error
        return fault


class _BackingOff(Exception):
    """The last connection failed a moment ago."""


def _unavailable(error: BaseException) -> StoreUnavailable:
    fault = StoreUnavailable()
    fault.__cause__ = error
    return fault


def _answer(batch: Sequence[_Request], outcomes: Sequence[Any]) -> None:
    """Wake the callers: one call into each event loop, however many wait there."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for request, outcome in zip(batch, outcomes, strict=True):
        answers = by_loop.setdefault(request.future.get_loop(), [])
        answers.append((request.future, outcome))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, answers)
        except RuntimeError:
            logger.warning("an event loop ended before %d of its writes", len(answers))


def _resolve(answers: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in answers:
        if future.done():
            continue
        if isinstance(outcome, _Failure):
            future.set_exception(outcome.error)
        else:
            future.set_result(outcome)
