"""Group commit: one thread writes for everybody, and one durable commit serves all who wait.

Rule 1: an operation is answered only after the commit that contains it has returned.
Rule 2: an operation changes nothing but the database, so it can be run again. If one raises, the
batch is rolled back and each is run in a transaction of its own: only the culprit fails.
Rule 3: a caller that stops waiting changes nothing for the others, nor for its own write.
Rule 4: every wait has a limit. Until its COMMIT is sent, a write that is late is *withdrawn*: it is
never made, and its caller is told so. It is taken into a COMMIT or withdrawn, never both: both are
decided under one lock. Only a COMMIT that is not answered within ``COMMIT_TIMEOUT_S`` leaves the
outcome unknown to its callers, and they are told that.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar, TypeVarTuple

from msgspec import Struct

from bandari.adapters.storage.database import Connection, Database, Lock, Outcome, Verdict
from bandari.domain.faults import OwnFault, StoreUnavailable

MAX_BATCH = 256
MAX_QUEUE = 10_000
MAX_RETRIES = 20
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 5.0

WRITE_TIMEOUT_S = 2.0
"""How long a write waits for its transaction before it is withdrawn."""
STUCK_S = 1.0
"""How long one step of the writer (connecting, a lock, a COMMIT) may take before new writes are
refused at once."""
COMMIT_TIMEOUT_S = 30.0
"""How long a transaction may take to run, and then its COMMIT, before its callers are told."""
WATCH_INTERVAL_S = 0.25
_ASK_AGAIN_S = 0.05

CommitObserver = Callable[[int, float], None]
"""Is told, in the writer's thread, how many operations a commit held and the seconds it took."""

Arguments = TypeVarTuple("Arguments")
T = TypeVar("T")

logger = logging.getLogger(__name__)


class Patience(Struct, frozen=True):
    """The limits of waiting, in seconds."""

    write_s: float = WRITE_TIMEOUT_S
    stuck_s: float = STUCK_S
    commit_s: float = COMMIT_TIMEOUT_S
    watch_interval_s: float = WATCH_INTERVAL_S


class _Request(Struct, eq=False):
    operation: Callable[..., Any]
    arguments: tuple[Any, ...]
    locks: Sequence[Lock]
    future: asyncio.Future[Any]
    since: float
    is_alone: bool = False
    """It was in a batch that failed: it is run in a transaction of its own."""
    is_withdrawn: bool = False


class _Failure:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class GroupCommit:
    """The writer: takes operations from any event loop, answers when they are durable.

    Two threads: one writes, one watches the clock for those who wait. A request is in ``_waiting``
    until the writer runs it, then in ``_running`` until it is answered or put back. ``_change``
    guards both, every ``is_withdrawn``, and the moment at which a COMMIT begins. The writer's steps
    are to connect and wait for locks, to run the operations, and to commit.
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
        self._max_queue = max_queue
        self._patience = patience or Patience()
        self._monotonic = monotonic
        self._change = threading.Lock()
        self._is_idle = False
        self._bell = threading.Lock()
        """Rung (released) once for a writer that is idle."""
        self._bell.acquire()
        self._waiting: deque[_Request] = deque()
        self._running: Sequence[_Request] = ()
        self._is_committing = False
        self._step_since = self._stuck_from = math.inf
        self._closed = False
        self._ended = threading.Event()
        self._connection: Connection | None = None
        self._is_new = False
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
        now = self._monotonic()
        if now > self._stuck_from and not self._closed:
            raise StoreUnavailable("The ledger is slow: an earlier write is not durable yet.")
        future = asyncio.get_running_loop().create_future()
        with self._change:
            if self._closed:
                raise StoreUnavailable("The ledger is closed.")
            if len(self._waiting) >= self._max_queue:
                raise StoreUnavailable("Too many writes are waiting for the ledger.")
            self._waiting.append(_Request(operation, arguments, locks, future, now))
            wakes, self._is_idle = self._is_idle, False
        # A writer that woke up sooner would only wait for the lock.
        if wakes:
            self._bell.release()
        return future

    async def aclose(self) -> None:
        """Finish what is waiting, then end the threads and the connection.

        A writer that hangs is waited for as long as a COMMIT may take, and then left behind.
        """
        with self._change:
            self._closed = True
            wakes, self._is_idle = self._is_idle, False
        if wakes:
            self._bell.release()
        await asyncio.to_thread(self._writer.join, self._patience.commit_s)
        if self._writer.is_alive():
            logger.error("the ledger's writer hangs, and is left behind")
            return
        await asyncio.to_thread(self._watcher.join)

    # The writer's thread.

    def _work(self) -> None:
        while self._is_wanted():
            try:
                self._round()
            except BaseException as error:  # a thread that died would leave everybody waiting
                logger.exception("the ledger's writer failed")
                self._disconnect()
                self._fail_all(_unavailable(error))
            self._end_step()
        self._disconnect()
        self._ended.set()

    def _is_wanted(self) -> bool:
        """Wait for something to write; false once closed and all is written."""
        while True:
            with self._change:
                if self._waiting or self._closed:
                    return bool(self._waiting)
                self._is_idle = True
            self._bell.acquire()

    def _round(self) -> None:
        """One transaction, whatever comes of it."""
        batch: Sequence[_Request] = ()
        results: Sequence[Any] = ()
        self._begin_step()
        try:
            connection = self._connection or self._connect()
            connection.begin()
            batch = self._gathered()
            connection.take([lock for request in batch for lock in request.locks])
            running = self._take(batch)
            if not running:
                connection.roll_back()
                return
            results = [one.operation(connection, *one.arguments) for one in running]
            self._enter_commit()
            connection.commit()
        except Exception as error:  # noqa: BLE001 - the thread's edge: judged and handed over
            self._recover(error, batch, results)
            return
        self._succeed(results)

    def _gathered(self) -> Sequence[_Request]:
        """Those whose turn it is. They go on waiting: they may still be withdrawn."""
        with self._change:
            if self._waiting and self._waiting[0].is_alone:
                return [self._waiting[0]]
            return list(islice(self._waiting, self._max_batch))

    def _take(self, batch: Sequence[_Request]) -> Sequence[_Request]:
        """Out of the queue, all of ``batch`` that have not been withdrawn. They are its head."""
        with self._change:
            self._running = [
                self._waiting.popleft() for request in batch if not request.is_withdrawn
            ]
            # A large batch on a distant database takes its time: that is not being stuck.
            self._begin_step(stuck_s=math.inf)
            return self._running

    def _enter_commit(self) -> None:
        """From here on nobody can be withdrawn. Raises ``_Withdrawn`` if somebody has been."""
        with self._change:
            if any(request.is_withdrawn for request in self._running):
                raise _Withdrawn
            self._is_committing = True
            self._begin_step()

    def _begin_step(self, stuck_s: float | None = None) -> None:
        self._step_since = now = self._monotonic()
        self._stuck_from = now + (self._patience.stuck_s if stuck_s is None else stuck_s)

    def _end_step(self) -> None:
        self._step_since = self._stuck_from = math.inf

    def _succeed(self, results: Sequence[Any]) -> None:
        seconds = self._monotonic() - self._step_since
        running = self._leave()
        self._is_new = False
        self._retries = 0
        self._backoff_s = 0.0
        self._tell_observer(len(running), seconds)
        _answer(running, results)

    def _leave(self) -> Sequence[_Request]:
        with self._change:
            running, self._running = self._running, ()
            self._is_committing = False
            self._end_step()
            return running

    def _put_back(self) -> None:
        """They were rolled back, and wait again: at the head, where they came from."""
        with self._change:
            kept = [request for request in self._running if not request.is_withdrawn]
            self._waiting.extendleft(reversed(kept))
            self._running = ()
            self._is_committing = False

    def _fail(self, batch: Sequence[_Request], error: Exception) -> None:
        """Tell the batch. Where it failed before there was one, everybody shares its fate."""
        if not batch:
            self._fail_all(error)
            return
        if not self._running:
            self._take(batch)
        running = self._leave()
        _answer(running, [_Failure(error)] * len(running))

    def _fail_all(self, error: Exception) -> None:
        with self._change:
            failed = [*self._running, *self._waiting]
            self._waiting.clear()
            self._running = ()
            self._is_committing = False
            self._end_step()
        _answer(failed, [_Failure(error)] * len(failed))

    def _tell_observer(self, size: int, seconds: float) -> None:
        if self._observe is None:
            return
        try:
            self._observe(size, seconds)
        except Exception:  # the batch is committed, and must not be run again
            logger.exception("the observer of commits failed")

    def _recover(self, error: Exception, batch: Sequence[_Request], results: Sequence[Any]) -> None:
        """After a transaction that failed: answer its writes, or put them back to be run again."""
        if isinstance(error, _BackingOff):
            self._fail_all(_unavailable(error))
            return
        if self._connection is None:
            logger.error("the ledger cannot be opened: %s", error)
            self._fail_all(_unavailable(error))
            return
        transaction = self._connection.transaction if self._is_committing else None
        match self._after(error):
            case Verdict.RETRY if self._retries < MAX_RETRIES:
                self._retries += 1
                self._put_back()
            case Verdict.CULPRIT if len(batch) > 1:
                for request in batch:
                    request.is_alone = True
                self._put_back()
            case Verdict.CULPRIT:
                self._fail(batch, self._blame(error))
            case Verdict.LOST if transaction is not None:
                self._settle_doubt(transaction, batch, results)
            case _:
                self._retries = 0
                self._fail(batch, _unavailable(error))

    def _after(self, error: Exception) -> Verdict:
        """Judge the error, and leave the connection either clean or closed.

        LOST is the verdict on a COMMIT that may have taken effect.
        """
        assert self._connection is not None, "there is no judging without a connection"
        verdict = Verdict.RETRY
        if not isinstance(error, _Withdrawn):
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
        if self._is_committing:
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
        self, transaction: str, batch: Sequence[_Request], results: Sequence[Any]
    ) -> None:
        """The connection broke during COMMIT: ask the next one whether it took effect."""
        deadline = self._step_since + self._patience.commit_s
        while True:
            outcome, pause_s = self._outcome_of(transaction)
            match outcome:
                case Outcome.COMMITTED:
                    logger.warning("transaction %s had been committed", transaction)
                    self._succeed(results)
                    return
                case Outcome.ABORTED:
                    logger.warning("transaction %s had not been committed", transaction)
                    self._put_back()
                    return
                case Outcome.UNKNOWN:
                    break
            if self._monotonic() >= deadline:
                break
            self._ended.wait(pause_s)
        logger.error("what became of transaction %s is unknown", transaction)
        self._fail(batch, StoreUnavailable(_UNKNOWN))

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
                self._tell_the_late()
            except Exception:  # nobody would watch any more
                logger.exception("watching the ledger's writer failed")

    def _tell_the_late(self) -> None:
        """Withdraw what has waited too long; give up on a step of the writer that does not end."""
        now = self._monotonic()
        late: list[_Request] = []
        given_up: Sequence[_Request] = ()
        with self._change:
            while self._waiting and now - self._waiting[0].since >= self._patience.write_s:
                late.append(self._waiting.popleft())
            if now - self._step_since >= self._patience.commit_s:
                given_up = [request for request in self._running if not request.is_withdrawn]
                if self._connection is not None:
                    self._connection.cut()
            for request in (*late, *given_up):
                request.is_withdrawn = True
            reason = _UNKNOWN if self._is_committing else _WITHDRAWN
        if late:
            logger.error("the ledger is slow: %d writes were withdrawn", len(late))
            _answer(late, [_Failure(StoreUnavailable(_WITHDRAWN))] * len(late))
        if given_up:
            logger.error("the ledger hangs: %d writes were given up", len(given_up))
            _answer(given_up, [_Failure(StoreUnavailable(reason))] * len(given_up))


_WITHDRAWN = "The ledger is slow: the write waited too long, and was not made."
_UNKNOWN = "The ledger did not answer in time; whether the write was made is unknown."


class _BackingOff(Exception):
    """The last connection failed a moment ago."""


class _Withdrawn(Exception):
    """Somebody in the batch has been told that his write is not made."""


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
