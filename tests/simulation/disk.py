"""The store of a world: the real SQL on a database in memory, behind a writer that can go wrong.

Rule 1: a batch takes effect at one instant of virtual time, in one real transaction, or not at all;
its callers are told later, or are told something else, or never (their process was killed).
Rule 2: each write that took effect is told to the model of the books, in order, and after each
commit the database must say what the model says.
Rule 3: several processes share one database. As on PostgreSQL, a process lives in an epoch while
its session holds the epoch's lock; as on SQLite, opening an epoch ends all others.
"""

from __future__ import annotations

import asyncio
import functools
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, cast

from tests.simulation.books_model import BooksModel, Ended
from tests.simulation.trace import Trace, Violation

from bandari.adapters.storage import verify
from bandari.adapters.storage.database import Connection, Database, Lock
from bandari.adapters.storage.group_commit import run_batch
from bandari.adapters.storage.migrate import bring_up
from bandari.adapters.storage.sqlite import SqliteConnection, SqliteDatabase
from bandari.adapters.storage.waiting_line import Request
from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Receipt, Verification
from bandari.service.ports import Placement

MAX_BATCH = 256
STUCK_S = 1.0
"""While a batch takes longer than this, new writes are refused at once."""
WITHDRAWN_AFTER_S = 2.0
"""What has waited so long for its turn is never made."""
FULL_COMPARISON_EVERY = 100

_ORDER = {"post": 0, "charge": 1, "place": 2}
"""Of one batch, what takes effect first; the rest does last, in the order in which it came."""
_LAST = len(_ORDER)

_CLOSE_EPOCH = "UPDATE epochs SET closed_ms = ? WHERE id = ?"
_REOPEN_EPOCH = "UPDATE epochs SET closed_ms = NULL WHERE id = ?"
_UNCLOSED = (
    "SELECT id FROM epochs WHERE closed_ms IS NULL AND id IN (SELECT epoch FROM holds UNION ALL"
    " SELECT epoch FROM recordings WHERE state = 'running') ORDER BY id"
)
_WALLETS = (
    "SELECT id, account_id, asset, end_user, balance, held,"
    " (SELECT coalesce(sum(amount), 0) FROM holds WHERE wallet_id = wallets.id),"
    " (SELECT coalesce(sum(amount), 0) FROM postings WHERE wallet_id = wallets.id AND ?)"
    " FROM wallets ORDER BY id"
)
_NEW_POSTINGS = (
    "SELECT transaction_id, sum(amount), count(DISTINCT asset), sum(wallet_id IS NOT NULL)"
    " FROM postings WHERE transaction_id > ? GROUP BY transaction_id"
)
_NEW_TRANSACTIONS = "SELECT count(*), max(id) FROM transactions WHERE id > ?"
_HOLD = (
    "SELECT amount, wallet_id, input_tokens, output_tokens, cached_tokens, cache_write_tokens,"
    " reasoning_tokens, rule FROM holds WHERE id = ?"
)


@dataclass
class Weather:
    """How often the disk does what: chances of a batch, and seconds."""

    slow: float = 0.03
    stalls: float = 0.002
    refuses: float = 0.01
    outage: float = 0.001
    outage_s: float = 6.0
    told_too_early: float = 0.002
    """Given up waiting for, and committed afterwards."""
    unknown: float = 0.01
    """The connection broke during COMMIT."""
    loses_session: float = 0.5
    """Of those that failed: the epoch's lock is free until the next connection."""

    @classmethod
    def calm(cls) -> Weather:
        return cls(stalls=0, refuses=0, outage=0, told_too_early=0, unknown=0, loses_session=0)


class Write(NamedTuple):
    """A write as the port's caller meant it: what the model is told when it took effect."""

    name: str
    about: str
    apply: Callable[[Any], Ended | None]


class _Request(NamedTuple):
    write: Write
    operation: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: asyncio.Future[Any]
    is_gathered: bool


class Disk:
    """One database, used by all processes of a world."""

    def __init__(self, draws: Random, trace: Trace, *, is_shared: bool) -> None:
        self.model = BooksModel()
        self.draws = draws
        self.trace = trace
        self.weather = Weather.calm()
        self.is_shared = is_shared
        self.outage_ends = 0.0
        self.alive: dict[int, Writer] = {}
        self.failed_ends: dict[str, None] = {}
        """Holds whose end was told to have failed, whether it had or not."""
        self.failed_extensions: dict[str, None] = {}
        self.denied_extensions: dict[str, None] = {}
        self.lost_epochs: dict[int, None] = {}
        """Epochs whose process lived when their session was lost."""
        self._raw = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self._raw.deserialize(_empty_database())
        self._raw.execute("PRAGMA foreign_keys = ON")
        self._cursor = self._raw.cursor()
        self._commits = 0
        self._transactions = 0
        self._last_transaction = 0

    def close(self) -> None:
        self._cursor.close()
        self._raw.close()

    def connect(self, writer: Writer | None) -> Connection:
        return cast(Connection, _SimulatedConnection(self._raw, self, writer))

    def connect_reader(self) -> Connection:
        """For the audit, which is a ``Database``'s only other user here."""
        return self.connect(None)

    @property
    def dialect(self) -> Any:
        return shared_dialect()

    def end_of_faults(self) -> None:
        """From now on every commit succeeds."""
        self.weather = Weather.calm()
        self.outage_ends = 0.0

    def is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, sqlite3.Error)

    def verify(self) -> Verification:
        """The real audit."""
        return verify.verify(cast(Database, self), lambda done, steps: None)

    def rows_of(self, table: str) -> int:
        """How many there are."""
        (count,) = self._cursor.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(count)

    def compare(self, *, thoroughly: bool = False) -> None:
        """Hold the database against the model: all wallets, and what the last commits changed."""
        self._commits += 1
        thoroughly = thoroughly or self._commits % FULL_COMPARISON_EVERY == 0
        execute, model = self._cursor.execute, self.model
        rows = execute(_WALLETS, (thoroughly,)).fetchall()
        if len(rows) != len(model.purses):
            raise Violation(f"{len(rows)} wallets, and {len(model.purses)} in the model")
        for row in rows:
            purse = model.purses[row[1], row[2], row[3]]
            found = (row[0], row[4], row[5], row[6])
            if found != (purse.id, purse.balance, purse.held, purse.held):
                raise Violation(f"wallet {found}, and in the model {purse}")
            if purse.balance - purse.held < 0 or (thoroughly and row[7] != row[4]):
                raise Violation(f"wallet {row} is overdrawn, or not the sum of its postings")
        self._compare_transactions()
        for hold_id in model.holds if thoroughly else model.touched:
            self._compare_hold(hold_id)
        model.touched.clear()
        if thoroughly:
            (open_holds,) = execute("SELECT count(*) FROM holds").fetchone()
            if open_holds != len(model.holds):
                raise Violation(f"{open_holds} holds, and {len(model.holds)} in the model")

    def _compare_transactions(self) -> None:
        number, last = self._cursor.execute(_NEW_TRANSACTIONS, (self._last_transaction,)).fetchone()
        if last is None:
            last = self._last_transaction
        else:
            for row in self._cursor.execute(_NEW_POSTINGS, (self._last_transaction,)).fetchall():
                if row[1] != 0 or row[2] != 1:
                    raise Violation(f"the postings of transaction {row[0]} sum to {row[1]}")
        self._transactions += number
        if self._transactions != self.model.transactions:
            raise Violation(
                f"{self._transactions} transactions, {self.model.transactions} in the model"
            )
        self._last_transaction = last

    def _compare_hold(self, hold_id: str) -> None:
        row = self._cursor.execute(_HOLD, (hold_id,)).fetchone()
        own = self.model.holds.get(hold_id)
        if own is None or row is None:
            if own is not None or row is not None:
                raise Violation(f"hold {hold_id} is {row}, and in the model {own}")
            return
        counted: tuple[int | str | None, ...] = (None,) * 6
        if own.counted is not None:
            usage = own.counted.usage
            counted = (
                *(usage.input_tokens, usage.output_tokens, usage.cached_tokens),
                *(usage.cache_write_tokens, usage.reasoning_tokens, own.counted.rule.value),
            )
        if row != (own.amount, own.purse.id, *counted):
            raise Violation(f"hold {hold_id} is {row}, and in the model {own}")


class _SimulatedConnection(SqliteConnection):
    """The adapter's own connection; only who is alive is another question here."""

    def __init__(self, raw: sqlite3.Connection, disk: Disk, writer: Writer | None) -> None:
        super().__init__(raw)
        self._disk = disk
        self._writer = writer

    def epoch_opened(self, epoch: int, now_ms: int) -> None:
        assert self._writer is not None
        if self._disk.is_shared:
            self._disk.alive[epoch] = self._writer
            self._writer.epochs[epoch] = None
            return
        super().epoch_opened(epoch, now_ms)
        self._disk.alive = {epoch: self._writer}

    def epoch_closed(self, epoch: int) -> None:
        assert self._writer is not None
        self._writer.epochs.pop(epoch, None)
        self._disk.alive.pop(epoch, None)

    def close_dead_epochs(self) -> None:
        if not self._disk.is_shared:
            return
        for (epoch,) in self.cursor.execute(_UNCLOSED).fetchall():
            if epoch not in self._disk.alive:
                self.cursor.execute(_CLOSE_EPOCH, (1, epoch))

    def reopen(self, epoch: int) -> None:
        self.cursor.execute(_REOPEN_EPOCH, (epoch,))

    def close(self) -> None:
        """The database is the world's."""


class Writer:
    """In the place of ``GroupCommit``: the writer of one process."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.announced: Write | None = None
        self.epochs: dict[int, None] = {}
        self._disk = disk
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._connection = cast(_SimulatedConnection, disk.connect(self))
        self._queue: list[_Request] = []
        self._batch: list[_Request] = []
        self._takes_effect = False
        self._began_at = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self._is_busy = False
        self._is_dead = False
        self._is_closed = False
        self._at_next_batch: asyncio.Future[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._has_session = True

    def run(
        self, locks: Sequence[Lock], operation: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        return self._join(operation, arguments, is_gathered=False)

    def run_together(
        self, locks: Sequence[Lock], operation: Callable[..., Any], argument: Any
    ) -> asyncio.Future[Any]:
        return self._join(operation, (argument,), is_gathered=True)

    def _join(
        self, operation: Callable[..., Any], arguments: tuple[Any, ...], *, is_gathered: bool
    ) -> asyncio.Future[Any]:
        write, self.announced = self.announced, None
        assert write is not None, "every write is announced"
        if self._is_closed:
            raise StoreUnavailable("The ledger is closed.")
        if self._is_busy and self._loop.time() > self._began_at + STUCK_S:
            self._disk.trace.tell("refused at once", f"{write.name} {write.about} by {self._name}")
            self._remember_failure(write)
            raise StoreUnavailable("The ledger is slow.")
        future = self._loop.create_future()
        if self._is_dead:
            return future  # never answered
        self._queue.append(_Request(write, operation, arguments, future, is_gathered))
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_soon(self._begin)
        return future

    async def next_batch(self) -> None:
        """Return when the next batch is about to be committed."""
        self._at_next_batch = self._loop.create_future()
        await self._at_next_batch

    def kill(self) -> None:
        """What is being committed is committed or not; nobody will know."""
        for timer in self._timers:
            timer.cancel()
        if self._takes_effect and self._batch and self._disk.draws.random() < 0.5:
            self._disk.trace.count("commits that nobody heard of")
            self._commit()
        self._is_dead = True
        self._queue.clear()

    async def aclose(self) -> None:
        """Finish what is queued, and take nothing more."""
        self._is_closed = True
        if self._is_busy:
            self._idle = self._loop.create_future()
            await self._idle

    def end_session(self) -> None:
        """The database notices that this process is gone."""
        for epoch in self.epochs:
            if self._disk.alive.get(epoch) is self:
                del self._disk.alive[epoch]

    def _begin(self) -> None:
        if self._is_dead:
            return
        self._batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        disk, draw = self._disk, self._disk.draws.random
        weather = disk.weather
        before_s, after_s = self._duration(), 0.0001 + draw() * 0.002
        self._began_at = self._loop.time()
        self._timers.clear()
        if self._at_next_batch is not None and not self._at_next_batch.done():
            self._at_next_batch.set_result(None)
        if before_s > WITHDRAWN_AFTER_S:
            self._later(WITHDRAWN_AFTER_S + STUCK_S, self._withdraw)
        chance = draw()
        self._takes_effect = True
        if self._loop.time() < disk.outage_ends:
            self._fail(before_s, "refused in an outage")
        elif (chance := chance - weather.refuses) < 0:
            self._fail(before_s, "refused")
        elif (chance := chance - weather.outage) < 0:
            disk.outage_ends = self._loop.time() + draw() * weather.outage_s
            disk.trace.tell("outage", f"until {disk.outage_ends:.3f}")
            self._fail(before_s, "refused in an outage")
        elif (chance := chance - weather.unknown) < 0:
            if draw() < 0.6:
                self._later(before_s, self._commit)
                self._fail(before_s + after_s, "unknown, committed", takes_effect=True)
            else:
                self._fail(before_s, "unknown, not committed")
        elif (chance := chance - weather.told_too_early) < 0:
            batch = self._batch
            self._later(before_s, lambda: self._answer_unavailable(batch, "told too early"))
            self._later(before_s + draw() * 3.0, self._commit_unheard)
        else:
            self._later(before_s, self._commit_and_tell(after_s))

    def _commit_and_tell(self, after_s: float) -> Callable[[], None]:
        def act() -> None:
            outcomes = self._commit()
            self._later(after_s, lambda: self._answer(outcomes))

        return act

    def _commit_unheard(self) -> None:
        self._commit()
        self._next()

    def _fail(self, after_s: float, how: str, *, takes_effect: bool = False) -> None:
        self._takes_effect = takes_effect
        batch = self._batch

        def act() -> None:
            if (
                self._disk.is_shared
                and self._disk.draws.random() < self._disk.weather.loses_session
            ):
                self._has_session = False
                self._disk.lost_epochs.update(self.epochs)
                self.end_session()
            self._answer_unavailable(batch, how)
            self._next()

        self._later(after_s, act)

    def _later(self, after_s: float, call: Callable[[], object]) -> None:
        self._timers.append(self._loop.call_later(after_s, call))

    def _duration(self) -> float:
        draw = self._disk.draws.random
        chance, weather = draw(), self._disk.weather
        if chance < weather.stalls:
            return 5.0 * draw()
        if chance < weather.stalls + weather.slow:
            return 0.05
        return 0.0002 + 0.008 * draw() ** 3

    def _commit(self) -> list[tuple[_Request, Any, Ended | None]]:
        """One real transaction, now."""
        if not self._has_session:
            # A new connection claims its epochs first, as PostgreSQL's adapter does.
            self._has_session = True
            for epoch in self.epochs:
                self._disk.alive[epoch] = self
                self._connection.reopen(epoch)
        self._takes_effect = False
        connection, disk = cast(Connection, self._connection), self._disk
        connection.begin()
        try:
            results = run_batch(connection, cast(Sequence[Request], self._batch))
        except Exception as error:
            raise Violation(f"an operation of {self._batch} failed: {error!r}") from error
        connection.commit()
        outcomes = []
        done = zip(self._batch, results, strict=True)
        for request, result in sorted(done, key=lambda one: _ORDER.get(one[0].write.name, _LAST)):
            write = request.write
            disk.trace.tell(write.name, f"{write.about} by {self._name}: {_brief(result)}")
            ended = write.apply(result)
            if ended is not None:
                ended.by = self._name
            outcomes.append((request, result, ended))
        disk.compare()
        return outcomes

    def _answer(self, outcomes: Sequence[tuple[_Request, Any, Ended | None]]) -> None:
        for request, result, ended in outcomes:
            if ended is not None:
                ended.is_known = True
            if not request.future.done():
                request.future.set_result(result)
        self._next()

    def _answer_unavailable(self, batch: Sequence[_Request], how: str) -> None:
        for request in batch:
            write = request.write
            self._disk.trace.tell(how, f"{write.name} {write.about} by {self._name}")
            self._remember_failure(write)
            if not request.future.done():
                request.future.set_exception(StoreUnavailable())

    def _remember_failure(self, write: Write) -> None:
        if write.name in ("post", "void"):
            self._disk.failed_ends[write.about] = None
        elif write.name == "extend":
            self._disk.failed_extensions[write.about] = None

    def _withdraw(self) -> None:
        withdrawn, self._queue = self._queue, []
        self._answer_unavailable(withdrawn, "withdrawn")

    def _next(self) -> None:
        self._batch = []
        if self._queue:
            self._begin()
        else:
            self._is_busy = False
            if self._idle is not None:
                self._idle.set_result(None)


class Reader:
    """In the place of the real ``Reader``: answers a little later, from what is committed then."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._connection = disk.connect(None)

    async def run(self, question: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(0.0005 + 0.002 * self._disk.draws.random())
        if self._disk.draws.random() < self._disk.weather.refuses:
            raise StoreUnavailable("The ledger cannot be read.")
        return question(self._connection, *arguments)


@functools.cache
def shared_dialect() -> Any:
    return SqliteDatabase("/nowhere").dialect


@functools.cache
def _empty_database() -> bytes:
    """A database as the migrations make it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        bring_up(SqliteDatabase(str(path)))
        raw = sqlite3.connect(path, isolation_level=None)
        raw.execute("PRAGMA journal_mode = DELETE")  # a database in memory has no log beside it
        raw.close()
        return path.read_bytes()


def _brief(result: object) -> str:
    match result:
        case Receipt(amount=amount, overrun=overrun, rule=rule, ending=ending, usage=usage):
            return f"{amount} + {overrun} for {usage.total_tokens} {rule} {ending}"
        case Placement(placed=placed, wallet=wallet):
            return f"{placed} {None if wallet is None else wallet.free}"
        case list():
            return str(len(result))
    return str(result)
