"""Writes on their way: who waits, who is run, who is in a COMMIT, and who has waited too long.

Rule 1: no database here. Event loops add requests and hear of their ends, the writer's thread takes
them, a watcher's thread tells those who are late; one lock decides between the three.
Rule 2: until its COMMIT begins, a request that is late is *withdrawn*: it is never made, and its
caller is told so. It is taken into a COMMIT or withdrawn, never both.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct

from bandari.adapters.storage.database import Lock
from bandari.domain.faults import StoreUnavailable

WRITE_TIMEOUT_S = 2.0
"""How long a write waits for its transaction before it is withdrawn."""
STUCK_S = 1.0
"""How long one step of the writer (connecting, a lock, a COMMIT) may take before new writes are
refused at once."""
COMMIT_TIMEOUT_S = 30.0
"""How long a transaction may take to run, and then its COMMIT, before its callers are told."""
WATCH_INTERVAL_S = 0.25
GATHER_S = 0.001
"""How long the writer lets writes gather where many come: a commit for each few costs more than
they wait."""

UNKNOWN = "The ledger did not answer in time; whether the write was made is unknown."
_WITHDRAWN = "The ledger is slow: the write waited too long, and was not made."

logger = logging.getLogger(__name__)


class Patience(Struct, frozen=True):
    """The limits of waiting, in seconds."""

    write_s: float = WRITE_TIMEOUT_S
    stuck_s: float = STUCK_S
    commit_s: float = COMMIT_TIMEOUT_S
    watch_interval_s: float = WATCH_INTERVAL_S
    gather_s: float = GATHER_S


class Request(Struct, eq=False):
    """One write; its future has the result once it is durable."""

    operation: Callable[..., Any]
    arguments: tuple[Any, ...]
    locks: Sequence[Lock]
    future: asyncio.Future[Any]
    since: float
    is_gathered: bool = False
    """Its operation takes the arguments of all that the batch has of its kind, at once."""
    is_alone: bool = False
    """It was in a batch that failed: it is run in a transaction of its own."""
    is_withdrawn: bool = False


class Withdrawn(Exception):
    """Somebody in the batch has been told that his write is not made."""


class _Failure:
    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class WaitingLine:
    """A request is in ``_waiting`` until the writer runs it, then in ``_running`` until it is
    answered or put back. ``_change`` guards both, every ``is_withdrawn``, and the moment at which a
    COMMIT begins. The writer tells its steps: to connect and wait for locks, to run, to commit.
    """

    def __init__(
        self, patience: Patience, max_waiting: int, monotonic: Callable[[], float]
    ) -> None:
        self._patience = patience
        self._max_waiting = max_waiting
        self._monotonic = monotonic
        self._change = threading.Lock()
        self._is_idle = False
        self._enough = math.inf
        """How many the writer waits for while it lets writes gather."""
        self._bell = threading.Lock()
        """Rung (released) once for a writer that is idle."""
        self._bell.acquire()
        self._waiting: deque[Request] = deque()
        self._running: Sequence[Request] = ()
        self._is_committing = False
        self._step_since = self._stuck_from = math.inf
        self._closed = False

    @property
    def is_committing(self) -> bool:
        return self._is_committing

    @property
    def step_since(self) -> float:
        """When the writer's present step began."""
        return self._step_since

    # For event loops.

    def join(
        self,
        operation: Callable[..., Any],
        arguments: tuple[Any, ...],
        locks: Sequence[Lock],
        *,
        is_gathered: bool = False,
    ) -> asyncio.Future[Any]:
        """Wait for the writer. Raises ``StoreUnavailable`` where that would be of no use."""
        now = self._monotonic()
        if now > self._stuck_from and not self._closed:
            raise StoreUnavailable("The ledger is slow: an earlier write is not durable yet.")
        future = asyncio.get_running_loop().create_future()
        with self._change:
            if self._closed:
                raise StoreUnavailable("The ledger is closed.")
            if len(self._waiting) >= self._max_waiting:
                raise StoreUnavailable("Too many writes are waiting for the ledger.")
            self._waiting.append(Request(operation, arguments, locks, future, now, is_gathered))
            wakes = self._is_idle or len(self._waiting) >= self._enough
            if wakes:
                self._is_idle, self._enough = False, math.inf
        # A writer that woke up sooner would only wait for the lock.
        if wakes:
            self._bell.release()
        return future

    def close(self) -> None:
        """Take nobody else; the writer ends when all are answered."""
        with self._change:
            self._closed = True
            wakes = self._is_idle or self._enough < math.inf
            self._is_idle, self._enough = False, math.inf
        if wakes:
            self._bell.release()

    # For the writer.

    def is_wanted(self) -> bool:
        """Wait for something to write; false once closed and all is written."""
        while True:
            with self._change:
                if self._waiting or self._closed:
                    return bool(self._waiting)
                self._is_idle = True
            self._bell.acquire()

    def gather(self, enough: int) -> None:
        """Wait until ``enough`` are there, for ``gather_s`` at most."""
        with self._change:
            if self._closed or len(self._waiting) >= enough:
                return
            self._enough = enough
        if self._bell.acquire(timeout=self._patience.gather_s):
            return
        with self._change:
            was_rung, self._enough = self._enough == math.inf, math.inf
        if was_rung:  # just now: it must not ring for another time
            self._bell.acquire()

    def head(self, most: int) -> Sequence[Request]:
        """Those whose turn it is. They go on waiting: they may still be withdrawn."""
        with self._change:
            if self._waiting and self._waiting[0].is_alone:
                return [self._waiting[0]]
            return list(islice(self._waiting, most))

    def take(self, batch: Sequence[Request]) -> Sequence[Request]:
        """Out of the line, all of ``batch`` that have not been withdrawn. They are its head."""
        with self._change:
            self._running = [
                self._waiting.popleft() for request in batch if not request.is_withdrawn
            ]
            # A large batch on a distant database takes its time: that is not being stuck.
            self.begin_step(stuck_s=math.inf)
            return self._running

    def enter_commit(self) -> None:
        """From here on nobody can be withdrawn. Raises ``Withdrawn`` if somebody has been."""
        with self._change:
            if any(request.is_withdrawn for request in self._running):
                raise Withdrawn
            self._is_committing = True
            self.begin_step()

    def begin_step(self, stuck_s: float | None = None) -> None:
        self._step_since = now = self._monotonic()
        self._stuck_from = now + (self._patience.stuck_s if stuck_s is None else stuck_s)

    def end_step(self) -> None:
        self._step_since = self._stuck_from = math.inf

    def leave(self) -> Sequence[Request]:
        """Those that were being run, to be answered now."""
        with self._change:
            running, self._running = self._running, ()
            self._is_committing = False
            self.end_step()
            return running

    def put_back(self) -> None:
        """They were rolled back, and wait again: at the head, where they came from."""
        with self._change:
            kept = [request for request in self._running if not request.is_withdrawn]
            self._waiting.extendleft(reversed(kept))
            self._running = ()
            self._is_committing = False

    def fail(self, batch: Sequence[Request], error: Exception) -> None:
        """Tell the batch. Where it failed before there was one, everybody shares its fate."""
        if not batch:
            self.fail_all(error)
            return
        if not self._running:
            self.take(batch)
        _fail(self.leave(), error)

    def fail_all(self, error: Exception) -> None:
        with self._change:
            failed = [*self._running, *self._waiting]
            self._waiting.clear()
            self._running = ()
            self._is_committing = False
            self.end_step()
        _fail(failed, error)

    # For the watcher.

    def tell_the_late(self, cut: Callable[[], None]) -> None:
        """Withdraw what has waited too long; give up on a step of the writer that does not end.

        ``cut`` is called to have that step fail.
        """
        now = self._monotonic()
        late: list[Request] = []
        given_up: Sequence[Request] = ()
        with self._change:
            while self._waiting and now - self._waiting[0].since >= self._patience.write_s:
                late.append(self._waiting.popleft())
            if now - self._step_since >= self._patience.commit_s:
                given_up = [request for request in self._running if not request.is_withdrawn]
                cut()
            for request in (*late, *given_up):
                request.is_withdrawn = True
            reason = UNKNOWN if self._is_committing else _WITHDRAWN
        if late:
            logger.error("the ledger is slow: %d writes were withdrawn", len(late))
            _fail(late, StoreUnavailable(_WITHDRAWN))
        if given_up:
            logger.error("the ledger hangs: %d writes were given up", len(given_up))
            _fail(given_up, StoreUnavailable(reason))


def _fail(batch: Sequence[Request], error: Exception) -> None:
    answer(batch, [_Failure(error)] * len(batch))


def answer(batch: Sequence[Request], outcomes: Sequence[Any]) -> None:
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
