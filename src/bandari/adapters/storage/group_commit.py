"""Group commit: one thread writes for everybody, and one durable commit serves all who wait.

Rule 1: an operation is answered only after the commit that contains it has returned.
Rule 2: an operation changes nothing but the database, so it can be run again. If one raises, the
batch is rolled back and each is run in a transaction of its own: only the culprit fails.
Rule 3: a caller that stops waiting changes nothing for the others, nor for its own write.
Rule 4: all that is in one batch was asked for at once, as far as its callers can tell; so what is
to be run together goes first, and the rest after it, in the order in which it came. (That order
matters to one who stopped waiting for a write, and asks for it to be undone: ``ledger._enter``.)
Rule 5: every wait has a limit (``waiting_line``). Only a COMMIT that is not answered within
``COMMIT_TIMEOUT_S`` leaves the outcome unknown to its callers, and they are told that.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple

from bandari.adapters.storage.database import Connection, Database, Lock, Outcome, Verdict
from bandari.adapters.storage.waiting_line import (
    UNKNOWN,
    Patience,
    Request,
    WaitingLine,
    Withdrawn,
    answer,
)
from bandari.domain.faults import OwnFault, StoreUnavailable

MAX_BATCH = 256
MAX_QUEUE = 10_000
GATHER_FROM = 2
"""Writes in the last commit from which on the next one lets as many gather, if they come soon."""
MAX_RETRIES = 20
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0

_ASK_AGAIN_S = 0.05

CommitObserver = Callable[[int, float], None]
"""Is told, in the writer's thread, how many operations a commit held and the seconds it took."""

Arguments = TypeVarTuple("Arguments")
A = TypeVar("A")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class GroupCommit:
    """The writer: takes operations from any event loop, answers when they are durable.

    Two threads: one writes, one watches the clock for those who wait (``waiting_line``).
    """

    def __init__(
        self,
        database: Database,
        observe: CommitObserver | None = None,
        *,
        max_batch: int = MAX_BATCH,
        max_queue: int = MAX_QUEUE,
        patience: Patience | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._observe = observe
        self._max_batch = max_batch
        self._patience = patience or Patience()
        self._monotonic = monotonic
        self._line = WaitingLine(self._patience, max_queue, monotonic)
        self._ended = threading.Event()
        self._connection: Connection | None = None
        self._is_new = False
        self._last_size = 0
        self._retries = 0
        self._backoff_s = 0.0
        self._reconnect_at = 0.0
        self._writer = threading.Thread(target=self._work, name="bandari-writer", daemon=True)
        self._writer.start()
        self._watcher = threading.Thread(target=self._watch, name="bandari-watcher", daemon=True)
        self._watcher.start()

    def run(
        self,
        locks: Sequence[Lock],
        operation: Callable[[Connection, *Arguments], T],
        *arguments: *Arguments,
    ) -> asyncio.Future[T]:
        """Have ``operation`` run in the next transaction; the future has its result once durable.

        ``locks`` names the accounts and holds it will change. A full queue, a closed store and a
        database that is slow or cannot be written are ``StoreUnavailable``. The write was not made
        then, with two exceptions, which say so: a COMMIT that was not answered in time, and one
        whose connection was lost and whose outcome could not be found out.
        """
        return self._line.join(operation, arguments, locks)

    def run_together(
        self,
        locks: Sequence[Lock],
        operation: Callable[[Connection, Sequence[A]], Sequence[T]],
        argument: A,
    ) -> asyncio.Future[T]:
        """Like ``run``, but ``operation`` is given the arguments of all requests for it that are
        in the transaction, in the order in which they came, and returns a result for each.
        """
        return self._line.join(operation, (argument,), locks, is_gathered=True)

    async def aclose(self) -> None:
        """Finish what is waiting, then end the threads and the connection.

        A writer that hangs is waited for as long as a COMMIT may take, and then left behind.
        """
        self._line.close()
        await asyncio.to_thread(self._writer.join, self._patience.commit_s)
        if self._writer.is_alive():
            logger.error("the ledger's writer hangs, and is left behind")
            return
        await asyncio.to_thread(self._watcher.join)

    # The writer's thread.

    def _work(self) -> None:
        while self._line.is_wanted():
            try:
                self._round()
            except BaseException as error:  # a thread that died would leave everybody waiting
                logger.exception("the ledger's writer failed")
                self._disconnect()
                self._line.fail_all(_unavailable(error))
            self._line.end_step()
        self._disconnect()
        self._ended.set()

    def _round(self) -> None:
        """One transaction, whatever comes of it."""
        batch: Sequence[Request] = ()
        results: Sequence[Any] = ()
        if self._last_size >= GATHER_FROM:
            self._line.gather(self._last_size)
        self._line.begin_step()
        try:
            connection = self._connection or self._connect()
            connection.begin()
            batch = self._line.head(self._max_batch)
            connection.take([lock for request in batch for lock in request.locks])
            running = self._line.take(batch)
            if not running:
                connection.roll_back()
                return
            results = run_batch(connection, running)
            self._line.enter_commit()
            connection.commit()
        except Exception as error:  # noqa: BLE001 - the thread's edge: judged and handed over
            self._recover(error, batch, results)
            return
        self._succeed(results)

    def _succeed(self, results: Sequence[Any]) -> None:
        seconds = self._monotonic() - self._line.step_since
        running = self._line.leave()
        self._last_size = len(running)
        self._is_new = False
        self._retries = 0
        self._backoff_s = 0.0
        self._tell_observer(len(running), seconds)
        answer(running, results)

    def _tell_observer(self, size: int, seconds: float) -> None:
        if self._observe is None:
            return
        try:
            self._observe(size, seconds)
        except Exception:  # the batch is committed, and must not be run again
            logger.exception("the observer of commits failed")

    def _recover(self, error: Exception, batch: Sequence[Request], results: Sequence[Any]) -> None:
        """After a transaction that failed: answer its writes, or put them back to be run again."""
        if isinstance(error, _BackingOff):
            self._line.fail_all(_unavailable(error))
            return
        if self._connection is None:
            logger.error("the ledger cannot be opened: %s", error)
            self._line.fail_all(_unavailable(error))
            return
        transaction = self._connection.transaction if self._line.is_committing else None
        match self._after(error):
            case Verdict.RETRY if self._retries < MAX_RETRIES:
                self._retries += 1
                self._line.put_back()
            case Verdict.CULPRIT if len(batch) > 1:
                for request in batch:
                    request.is_alone = True
                self._line.put_back()
            case Verdict.CULPRIT:
                self._line.fail(batch, self._blame(error))
            case Verdict.LOST if transaction is not None:
                self._settle_doubt(transaction, batch, results)
            case _:
                self._retries = 0
                self._line.fail(batch, _unavailable(error))

    def _after(self, error: Exception) -> Verdict:
        """Judge the error, and leave the connection either clean or closed.

        LOST is the verdict on a COMMIT that may have taken effect.
        """
        assert self._connection is not None, "there is no judging without a connection"
        verdict = Verdict.RETRY
        if not isinstance(error, Withdrawn):
            verdict = self._database.judge(error)
        if verdict in (Verdict.RETRY, Verdict.CULPRIT):
            try:
                self._connection.roll_back()
                return verdict
            except Exception as failure:  # noqa: BLE001 - this connection has had its day
                logger.warning("rolling back failed: %s", failure)
                verdict = Verdict.LOST
        was_new, self._is_new = self._is_new, False
        self._disconnect()
        if self._line.is_committing:
            logger.error("the ledger failed during a commit: %s", error)
            self._back_off()
            return Verdict.LOST
        if verdict is Verdict.LOST and not was_new:
            logger.warning("the connection to the ledger was lost: %s", error)
            return Verdict.RETRY
        logger.error("the ledger cannot be written: %s", error)
        self._back_off()
        return Verdict.UNAVAILABLE

    def _settle_doubt(
        self, transaction: str, batch: Sequence[Request], results: Sequence[Any]
    ) -> None:
        """The connection broke during COMMIT: ask the next one whether it took effect."""
        deadline = self._line.step_since + self._patience.commit_s
        while True:
            outcome, pause_s = self._outcome_of(transaction)
            match outcome:
                case Outcome.COMMITTED:
                    logger.warning("transaction %s had been committed", transaction)
                    self._succeed(results)
                    return
                case Outcome.ABORTED:
                    logger.warning("transaction %s had not been committed", transaction)
                    self._line.put_back()
                    return
                case Outcome.UNKNOWN:
                    break
            if self._monotonic() >= deadline:
                break
            self._ended.wait(pause_s)
        logger.error("what became of transaction %s is unknown", transaction)
        self._line.fail(batch, StoreUnavailable(UNKNOWN))

    def _outcome_of(self, transaction: str) -> tuple[Outcome, float]:
        """What a connection says of it, and how long to wait before it is asked again."""
        try:
            connection = self._connection or self._connect(at_once=True)
            return connection.outcome_of(transaction), _ASK_AGAIN_S
        except Exception as error:  # noqa: BLE001 - the database is still gone
            logger.warning("the ledger cannot be asked for transaction %s: %s", transaction, error)
            self._disconnect()
            self._back_off()
            return Outcome.UNDECIDED, self._backoff_s

    def _connect(self, *, at_once: bool = False) -> Connection:
        if self._monotonic() < self._reconnect_at and not at_once:
            raise _BackingOff
        try:
            self._connection = self._database.connect()
        finally:
            self._is_new = True
            if self._connection is None:
                self._back_off()
        return self._connection

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

    # The watcher's thread.

    def _watch(self) -> None:
        while not self._ended.wait(self._patience.watch_interval_s):
            try:
                self._line.tell_the_late(self._cut)
            except Exception:  # nobody would watch any more
                logger.exception("watching the ledger's writer failed")

    def _cut(self) -> None:
        if self._connection is not None:
            self._connection.cut()


def run_batch(connection: Connection, batch: Sequence[Request]) -> Sequence[Any]:
    """What is to be run together goes first. The results are in the order of the requests."""
    results: list[Any] = [None] * len(batch)
    gathered: dict[Callable[..., Any], list[int]] = {}
    others: list[int] = []
    for place, request in enumerate(batch):
        if request.is_gathered:
            gathered.setdefault(request.operation, []).append(place)
        else:
            others.append(place)
    for operation, places in gathered.items():
        arguments = [batch[place].arguments[0] for place in places]
        for place, result in zip(places, operation(connection, arguments), strict=True):
            results[place] = result
    for place in others:
        results[place] = batch[place].operation(connection, *batch[place].arguments)
    return results


class _BackingOff(Exception):
    """The last connection failed a moment ago."""


def _unavailable(error: BaseException) -> StoreUnavailable:
    fault = StoreUnavailable()
    fault.__cause__ = error
    return fault
