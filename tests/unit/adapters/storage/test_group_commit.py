"""Group commit on a fake database: batches, culprits, outages, limits, doubts and the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from bandari.adapters.storage.database import Connection, Database, Lock, Outcome, Verdict
from bandari.adapters.storage.group_commit import MAX_BACKOFF_S, GroupCommit
from bandari.adapters.storage.waiting_line import Patience, WaitingLine
from bandari.domain.faults import OwnFault, StoreUnavailable


class Trouble(Exception):
    """What the fake's driver raises."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict)
        self.verdict = verdict


class FakeConnection:
    """Keeps what was written, and forgets it on roll back."""

    def __init__(self, database: FakeDatabase) -> None:
        self.database = database
        self.written: list[str] = []
        self.transaction = database.transaction

    def write(self, what: str) -> None:
        self.written.append(what)

    def begin(self) -> None:
        self.database.meet("begin")
        self.written = []

    def take(self, locks: Sequence[Lock]) -> None:
        self.database.meet("take")
        self.database.locks.append(list(locks))

    def commit(self) -> None:
        self.database.meet("commit")
        self.database.batches.append(self.written)
        self.database.meet("answer")

    def roll_back(self) -> None:
        self.database.meet("roll back")
        self.database.rolled_back.append(self.written)

    def outcome_of(self, transaction: str) -> Outcome:
        assert transaction == self.database.transaction
        self.database.meet("ask")
        return self.database.outcomes.pop(0)

    def cut(self) -> None:
        self.database.cut.set()

    def close(self) -> None:
        self.database.closed += 1


class FakeDatabase:
    """Has trouble where and as often as it is told, and stands still at a gate."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.transaction: str | None = None
        self.outcomes: list[Outcome] = []
        self.cut = threading.Event()
        self.failed = threading.Event()
        self.trouble: list[tuple[str, Verdict]] = []
        self.batches: list[list[str]] = []
        self.rolled_back: list[list[str]] = []
        self.locks: list[list[Lock]] = []
        self.connected = 0
        self.closed = 0

    def meet(self, moment: str) -> None:
        if moment in self.gates:
            self.gates[moment].wait()
        if self.trouble and self.trouble[0][0] == moment:
            self.failed.set()
            raise Trouble(self.trouble.pop(0)[1])

    def connect(self) -> FakeConnection:
        self.meet("connect")
        self.connected += 1
        return FakeConnection(self)

    def judge(self, error: Exception) -> Verdict:
        return error.verdict if isinstance(error, Trouble) else Verdict.CULPRIT

    def is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, Trouble)

    @property
    def written(self) -> list[str]:
        return [what for batch in self.batches for what in batch]


class Gate:
    """Keeps the writer busy until it is opened; also as an operation."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, _: Connection) -> None:
        self.wait()

    def wait(self) -> None:
        self.entered.set()
        assert self.opened.wait(30)


class Time:
    """A monotonic clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def write(connection: Connection, what: str) -> str:
    cast(FakeConnection, connection).write(what)
    return what.upper()


def write_all(connection: Connection, whats: Sequence[str]) -> Sequence[str]:
    for what in whats:
        write(connection, what)
        if what == "bad":
            raise ValueError(what)
    return [f"{what.upper()} of {len(whats)}" for what in whats]


def fail(connection: Connection, error: Exception) -> None:
    write(connection, "half")
    raise error


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def observed() -> list[tuple[int, float]]:
    return []


@pytest.fixture
async def writer(
    database: FakeDatabase, time: Time, observed: list[tuple[int, float]]
) -> AsyncIterator[GroupCommit]:
    writer = GroupCommit(
        cast(Database, database),
        lambda size, seconds: observed.append((size, seconds)),
        max_batch=8,
        max_queue=20,
        patience=Patience(write_s=2, stuck_s=1, commit_s=30, watch_interval_s=0.005),
        monotonic=time,
    )
    yield writer
    for gate in database.gates.values():
        gate.opened.set()
    await writer.aclose()


async def gather_behind(
    writer: GroupCommit, gate: Gate, *operations: asyncio.Future[Any]
) -> list[Any]:
    gate.opened.set()
    return await asyncio.gather(*operations, return_exceptions=True)


async def closed_gate(writer: GroupCommit) -> tuple[Gate, asyncio.Future[None]]:
    gate = Gate()
    future = writer.run((), gate)
    await asyncio.to_thread(gate.entered.wait, 30)
    return gate, future


async def test_an_operation_is_answered_with_its_value(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    assert await writer.run((), write, "a") == "A"
    assert database.written == ["a"]


async def test_what_has_gathered_is_one_transaction(
    writer: GroupCommit, database: FakeDatabase, observed: list[tuple[int, float]]
) -> None:
    gate, first = await closed_gate(writer)
    rest = [writer.run((number, f"h{number}"), write, f"{number}") for number in range(10)]
    await gather_behind(writer, gate, first, *rest)

    assert database.batches == [[], [f"{number}" for number in range(8)], ["8", "9"]]
    assert database.locks[-1] == [8, "h8", 9, "h9"]
    assert observed == [(1, 0.0), (8, 0.0), (2, 0.0)]


async def test_what_is_to_be_run_together_goes_first_and_each_gets_its_own_result(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    gate, first = await closed_gate(writer)
    rest = [
        writer.run((), write, "a"),
        writer.run_together((1,), write_all, "b"),
        writer.run((2,), write, "c"),
        writer.run_together((3, "h"), write_all, "d"),
    ]
    results = await gather_behind(writer, gate, first, *rest)

    assert results == [None, "A", "B of 2", "C", "D of 2"]
    assert database.batches == [[], ["b", "d", "a", "c"]]
    assert database.locks[-1] == [1, 2, 3, "h"]


async def test_kinds_that_are_run_together_keep_the_order_of_their_first(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    gate, first = await closed_gate(writer)
    kinds = {"x": write_all, "y": lambda connection, what: write_all(connection, what)}
    rest = [writer.run_together((), kinds[name[0]], name) for name in ("y1", "x1", "y2", "x2")]
    results = await gather_behind(writer, gate, first, *rest)

    assert results == [None, "Y1 of 2", "X1 of 2", "Y2 of 2", "X2 of 2"]
    assert database.batches == [[], ["y1", "y2", "x1", "x2"]]


async def test_of_those_run_together_only_the_culprit_fails(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    gate, first = await closed_gate(writer)
    rest = [writer.run_together((), write_all, what) for what in ("a", "bad", "c")]
    _, one, failure, two = await gather_behind(writer, gate, first, *rest)

    assert (one, two) == ("A of 1", "C of 1")
    assert isinstance(failure, ValueError)
    assert database.batches == [[], ["a"], ["c"]]
    assert database.rolled_back == [["a", "bad"], ["bad"]]


async def test_a_batch_that_is_run_again_waits_in_the_order_in_which_it_came(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    def write_and_spoil(connection: Connection, what: str) -> None:
        write(connection, what)
        if not database.rolled_back:
            database.trouble = [("commit", Verdict.CULPRIT)]

    gate, first = await closed_gate(writer)
    rest = [
        writer.run((), write_and_spoil, "a"),
        writer.run_together((), write_all, "b"),
        writer.run((), write, "c"),
    ]
    await gather_behind(writer, gate, first, *rest)
    assert database.rolled_back == [["b", "a", "c"]]
    assert database.batches == [[], ["a"], ["b"], ["c"]]


async def test_an_operation_that_answers_too_few_is_a_culprit(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    def answer_none(_: Connection, what: Sequence[str]) -> Sequence[str]:
        return []

    with pytest.raises(ValueError, match="zip"):
        await writer.run_together((), answer_none, "a")
    assert database.batches == []


async def after_a_commit_of(many: int, database: FakeDatabase) -> GroupCommit:
    """A writer with so much patience that a test which had to wait for its end would fail."""
    writer = GroupCommit(cast(Database, database), patience=Patience(gather_s=3600))
    gate, first = await closed_gate(writer)
    await gather_behind(
        writer, gate, first, *[writer.run((), write, f"{number}") for number in range(many)]
    )
    del database.batches[:]
    return writer


async def test_where_many_come_as_many_are_let_gather(database: FakeDatabase) -> None:
    writer = await after_a_commit_of(2, database)
    one = writer.run((), write, "a")
    await asyncio.wait({one}, timeout=0.05)
    assert not one.done()
    async with asyncio.timeout(30):
        await asyncio.gather(one, writer.run((), write, "b"))
        await writer.aclose()
    assert database.batches == [["a", "b"]]


async def test_where_few_come_nobody_is_waited_for(database: FakeDatabase) -> None:
    writer = await after_a_commit_of(1, database)
    async with asyncio.timeout(30):
        for what in ("a", "b"):
            await writer.run((), write, what)
        await writer.aclose()
    assert database.batches == [["a"], ["b"]]


async def test_closing_ends_the_gathering(database: FakeDatabase) -> None:
    writer = await after_a_commit_of(2, database)
    alone = writer.run((), write, "a")
    async with asyncio.timeout(30):
        await writer.aclose()
    assert await alone == "A"


async def test_patience_has_an_end(database: FakeDatabase) -> None:
    writer = GroupCommit(cast(Database, database), patience=Patience(gather_s=0.01))
    gate, first = await closed_gate(writer)
    await gather_behind(writer, gate, first, *[writer.run((), write, "x") for _ in range(3)])
    async with asyncio.timeout(30):
        assert await writer.run((), write, "alone") == "ALONE"
        await writer.aclose()


async def test_a_bell_that_rings_when_the_patience_ends_does_not_ring_twice() -> None:
    line = WaitingLine(Patience(gather_s=0), 10, Time())
    rings: list[int] = []

    class Bell:
        """It is rung just after the wait for it was given up."""

        def acquire(self, timeout: float | None = None) -> bool:
            if timeout is None:
                rings.pop()
                return True
            line.join(write, (), ())
            return False

        def release(self) -> None:
            assert not rings, "rung twice"
            rings.append(1)

    line._bell = Bell()  # type: ignore[assignment]
    line.gather(1)
    assert not rings
    line.join(write, (), ())
    assert not rings  # nobody waits


async def test_nobody_is_answered_before_the_commit(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    gate, first = await closed_gate(writer)
    written = writer.run((), write, "a")
    gate.opened.set()
    await first

    seen: list[list[str]] = []
    written.add_done_callback(lambda _: seen.append(database.written))
    await written
    await asyncio.sleep(0)
    assert seen == [["a"]]


@pytest.mark.parametrize("error", [ValueError("mine"), Trouble(Verdict.CULPRIT)])
async def test_only_the_culprit_fails(
    writer: GroupCommit, database: FakeDatabase, error: Exception
) -> None:
    gate, first = await closed_gate(writer)
    before = writer.run((), write, "before")
    culprit = writer.run((), fail, error)
    after = writer.run((), write, "after")
    _, one, failure, two = await gather_behind(writer, gate, first, before, culprit, after)

    assert (one, two) == ("BEFORE", "AFTER")
    assert database.batches == [[], ["before"], ["after"]]
    assert database.rolled_back == [["before", "half"], ["half"]]
    if isinstance(error, ValueError):
        assert failure is error
    else:
        assert type(failure) is OwnFault
        assert failure.__cause__ is error


async def test_a_batch_that_met_another_is_run_again(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    database.trouble = [("commit", Verdict.RETRY), ("begin", Verdict.RETRY)]

    assert await writer.run((), write, "a") == "A"
    assert database.batches == [["a"]]
    assert database.connected == 1


async def test_retrying_has_an_end(writer: GroupCommit, database: FakeDatabase) -> None:
    database.trouble = [("begin", Verdict.RETRY)] * 1_000

    with pytest.raises(StoreUnavailable):
        await writer.run((), write, "a")
    database.trouble = []
    assert await writer.run((), write, "b") == "B"


@pytest.mark.parametrize("moment", ["connect", "begin", "commit"])
async def test_an_outage_fails_all_who_wait_and_ends(
    writer: GroupCommit, database: FakeDatabase, time: Time, moment: str
) -> None:
    if moment != "connect":
        await writer.run((), write, "warm")
    database.trouble = [(moment, Verdict.UNAVAILABLE)]

    with pytest.raises(StoreUnavailable):
        await writer.run((), write, "a")
    # Until the pause is over, nobody waits for a connection that will not come.
    connected = database.connected
    with pytest.raises(StoreUnavailable):
        await writer.run((), write, "b")
    assert database.connected == connected

    time.now += 0.1
    assert await writer.run((), write, "c") == "C"
    assert database.connected == connected + 1
    assert "a" not in database.written
    assert "b" not in database.written


async def test_the_pause_grows_to_a_limit_and_is_forgotten(
    writer: GroupCommit, database: FakeDatabase, time: Time
) -> None:
    async def fails() -> None:
        with pytest.raises(StoreUnavailable):
            await writer.run((), write, "a")

    async def fails_and_pauses(pause: float) -> None:
        database.trouble = [("connect", Verdict.UNAVAILABLE)]
        await fails()
        assert database.trouble == []
        database.trouble = [("connect", Verdict.UNAVAILABLE)]
        time.now += pause * 0.99
        await fails()
        assert database.trouble != [], "it was tried again too early"
        time.now += pause * 0.02

    for pause in (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        await fails_and_pauses(pause)
    database.trouble = []
    assert await writer.run((), write, "b") == "B"

    database.trouble = [("begin", Verdict.UNAVAILABLE)]
    await fails()
    time.now += 0.11
    await fails_and_pauses(0.2)


async def test_a_connection_that_broke_while_idle_is_replaced(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    await writer.run((), write, "a")
    database.trouble = [("begin", Verdict.LOST)]

    assert await writer.run((), write, "b") == "B"
    assert (database.connected, database.closed) == (2, 1)


@pytest.mark.parametrize("verdict", [Verdict.LOST, Verdict.UNAVAILABLE])
async def test_a_commit_that_failed_and_cannot_be_in_doubt_was_not_made(
    writer: GroupCommit, database: FakeDatabase, verdict: Verdict
) -> None:
    await writer.run((), write, "a")
    database.trouble = [("commit", verdict)]

    with pytest.raises(StoreUnavailable):
        await writer.run((), write, "b")
    assert database.written == ["a"]


async def test_a_new_connection_that_breaks_at_once_is_an_outage(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    database.trouble = [("begin", Verdict.LOST)]

    with pytest.raises(StoreUnavailable):
        await writer.run((), write, "a")


async def test_a_roll_back_that_fails_costs_the_connection_and_no_other_write(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    await writer.run((), write, "a")
    database.trouble = [("roll back", Verdict.UNAVAILABLE)]

    with pytest.raises(ValueError, match="mine"):
        await writer.run((), fail, ValueError("mine"))
    assert await writer.run((), write, "b") == "B"
    assert database.connected == 2


async def test_leaving_changes_nothing_for_the_write_or_the_others(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    gate, first = await closed_gate(writer)

    async def wait_for_a_write() -> str:
        return await writer.run((), write, "left")

    leaving = asyncio.create_task(wait_for_a_write())
    await asyncio.sleep(0)
    staying = writer.run((), write, "stayed")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    gate.opened.set()

    assert await staying == "STAYED"
    await first
    assert database.written == ["left", "stayed"]


async def test_leaving_a_batch_that_fails(writer: GroupCommit, database: FakeDatabase) -> None:
    gate, first = await closed_gate(writer)
    left = writer.run((), write, "left")
    staying = writer.run((), write, "stayed")
    left.cancel()
    database.trouble = [("begin", Verdict.UNAVAILABLE)]
    gate.opened.set()

    with pytest.raises(StoreUnavailable):
        await staying
    await first


async def test_the_queue_has_an_end(writer: GroupCommit) -> None:
    gate, first = await closed_gate(writer)
    queued = [writer.run((), write, f"{number}") for number in range(20)]

    with pytest.raises(StoreUnavailable, match="Too many"):
        writer.run((), write, "one too many")

    await gather_behind(writer, gate, first, *queued)
    assert await writer.run((), write, "again") == "AGAIN"


async def test_closing_finishes_what_is_queued(writer: GroupCommit, database: FakeDatabase) -> None:
    gate, _ = await closed_gate(writer)
    queued = [writer.run((), write, f"{number}") for number in range(20)]
    closing = asyncio.create_task(writer.aclose())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable, match="closed"):
        writer.run((), write, "late")
    gate.opened.set()
    await closing

    assert await asyncio.gather(*queued) == [f"{number}" for number in range(20)]
    assert len(database.written) == 20
    assert (database.connected, database.closed) == (1, 1)
    await writer.aclose()


async def test_several_event_loops_share_a_writer(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    gate, first = await closed_gate(writer)
    queued = threading.Barrier(3)

    def elsewhere(name: str) -> str:
        async def wait() -> str:
            future = writer.run((), write, name)
            await asyncio.to_thread(queued.wait, 30)
            return await future

        return asyncio.run(wait())

    others = [asyncio.create_task(asyncio.to_thread(elsewhere, name)) for name in "ab"]
    await asyncio.to_thread(queued.wait, 30)
    gate.opened.set()

    assert await asyncio.gather(*others) == ["A", "B"]
    await first
    assert len(database.batches) == 2


async def test_an_event_loop_that_ended_disturbs_nobody(
    writer: GroupCommit, database: FakeDatabase
) -> None:
    gate, first = await closed_gate(writer)

    def elsewhere() -> None:
        async def leave() -> None:
            writer.run((), write, "left")

        asyncio.run(leave())

    await asyncio.to_thread(elsewhere)
    staying = writer.run((), write, "stayed")
    gate.opened.set()

    assert await staying == "STAYED"
    await first
    assert database.written == ["left", "stayed"]


async def test_an_observer_that_raises_loses_no_answer(database: FakeDatabase) -> None:
    def observe(size: int, seconds: float) -> None:
        raise RuntimeError("a dashboard's trouble")

    writer = GroupCommit(cast(Database, database), observe)
    assert await writer.run((), write, "a") == "A"
    await writer.aclose()
    assert database.batches == [["a"]]


def closed_door(database: FakeDatabase, moment: str) -> Gate:
    """A gate at which the writer will stand still."""
    gate = database.gates[moment] = Gate()
    return gate


async def is_entered(gate: Gate) -> None:
    assert await asyncio.to_thread(gate.entered.wait, 30)


async def written_once_it_is_back(writer: GroupCommit, what: str, time: Time) -> str:
    """Time goes on from one try to the next: only so does the writer's waiting end."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await writer.run((), write, what)
            except StoreUnavailable:
                time.now += MAX_BACKOFF_S


async def is_not_made(writing: asyncio.Future[str]) -> None:
    with pytest.raises(StoreUnavailable, match="was not made"):
        await asyncio.wait_for(writing, 30)


class TestWaitingHasALimit:
    async def test_whoever_waited_too_long_is_withdrawn_and_nobody_else(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        gate, first = await closed_gate(writer)
        late = writer.run((), write, "late")
        time.now += 1
        in_time = writer.run((), write, "in time")
        time.now += 1
        await is_not_made(late)
        gate.opened.set()

        assert await in_time == "IN TIME"
        await first
        assert database.batches == [[], ["in time"]]

    @pytest.mark.parametrize("moment", ["connect", "begin", "take"])
    async def test_waiting_for_a_transaction_is_waiting(
        self, writer: GroupCommit, database: FakeDatabase, time: Time, moment: str
    ) -> None:
        gate = closed_door(database, moment)
        late = writer.run((), write, "late")
        await is_entered(gate)
        time.now += 0.5
        in_time = writer.run((), write, "in time")
        time.now += 1.5
        await is_not_made(late)
        gate.opened.set()

        assert await in_time == "IN TIME"
        assert database.written == ["in time"]

    async def test_a_transaction_of_which_nobody_is_left(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        gate = closed_door(database, "take")
        late = writer.run((), write, "late")
        await is_entered(gate)
        time.now += 2
        await is_not_made(late)
        gate.opened.set()

        assert await written_once_it_is_back(writer, "next", time) == "NEXT"
        assert database.batches == [["next"]]
        assert database.rolled_back == [[]]

    async def test_what_was_rolled_back_waits_again(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        """Three run together; one is at fault, and while it is run again, the third is late."""
        first_gate, first = await closed_gate(writer)
        again = Gate()
        runs = []

        def fail_slowly(connection: Connection) -> None:
            runs.append(1)
            if len(runs) == 2:
                again(connection)
            raise ValueError("mine")

        culprit, late = writer.run((), fail_slowly), writer.run((), write, "late")
        first_gate.opened.set()
        await is_entered(again)
        time.now += 2
        await is_not_made(late)
        again.opened.set()

        with pytest.raises(ValueError, match="mine"):
            await culprit
        await first
        assert await writer.run((), write, "next") == "NEXT"
        assert database.batches == [[], ["next"]]

    async def test_a_transaction_that_runs_for_too_long_is_not_committed(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        gate, hanging = await closed_gate(writer)
        time.now += 29
        assert not hanging.done()
        time.now += 1
        with pytest.raises(StoreUnavailable, match="was not made"):
            await hanging
        assert await asyncio.to_thread(database.cut.wait, 30)
        gate.opened.set()

        assert await writer.run((), write, "next") == "NEXT"
        assert database.batches == [["next"]]

    async def test_a_large_batch_that_gets_on_is_not_stuck(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        gate, first = await closed_gate(writer)
        time.now += 20
        late = writer.run((), write, "taken")
        gate.opened.set()
        await first
        assert await late == "TAKEN"


class TestASlowCommit:
    async def test_new_writes_are_refused_at_once_until_it_is_over(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        gate = closed_door(database, "commit")
        inside = writer.run((), write, "inside")
        await is_entered(gate)
        time.now += 1
        waiting = writer.run((), write, "waiting")
        time.now += 0.1
        with pytest.raises(StoreUnavailable, match="slow"):
            writer.run((), write, "refused")
        del database.gates["commit"]
        gate.opened.set()

        assert await inside == "INSIDE"
        assert await waiting == "WAITING"
        assert await writer.run((), write, "next") == "NEXT"
        assert database.written == ["inside", "waiting", "next"]

    @pytest.mark.parametrize("moment", ["connect", "begin", "take"])
    async def test_so_they_are_while_it_cannot_begin(
        self, writer: GroupCommit, database: FakeDatabase, time: Time, moment: str
    ) -> None:
        gate = closed_door(database, moment)
        inside = writer.run((), write, "inside")
        await is_entered(gate)
        time.now += 1.1
        with pytest.raises(StoreUnavailable, match="slow"):
            writer.run((), write, "refused")
        gate.opened.set()
        assert await inside == "INSIDE"

    async def test_whoever_is_inside_hears_the_truth(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        gate = closed_door(database, "commit")
        inside = writer.run((), write, "inside")
        await is_entered(gate)
        waiting = writer.run((), write, "waiting")
        time.now += 29
        await is_not_made(waiting)
        assert not inside.done()
        gate.opened.set()

        assert await inside == "INSIDE"
        assert database.written == ["inside"]

    @pytest.mark.parametrize("took_effect", [True, False])
    async def test_but_not_for_ever(
        self, writer: GroupCommit, database: FakeDatabase, time: Time, *, took_effect: bool
    ) -> None:
        database.transaction = "t1"
        gate = closed_door(database, "commit")
        inside = writer.run((), write, "inside")
        await is_entered(gate)
        time.now += 30
        with pytest.raises(StoreUnavailable, match="unknown"):
            await inside
        assert await asyncio.to_thread(database.cut.wait, 30)
        database.outcomes = [Outcome.COMMITTED if took_effect else Outcome.ABORTED]
        database.trouble = [("answer" if took_effect else "commit", Verdict.LOST)]
        del database.gates["commit"]
        gate.opened.set()

        # What its caller was told of is not made later, behind his back.
        assert await written_once_it_is_back(writer, "next", time) == "NEXT"
        assert database.written == (["inside", "next"] if took_effect else ["next"])

    async def test_closing_does_not_wait_for_ever(self, database: FakeDatabase) -> None:
        patience = Patience(commit_s=0.05, watch_interval_s=60)
        writer = GroupCommit(cast(Database, database), patience=patience)
        gate = closed_door(database, "commit")
        inside = writer.run((), write, "inside")
        await is_entered(gate)
        await asyncio.wait_for(writer.aclose(), 30)
        assert not inside.done()
        gate.opened.set()
        assert await inside == "INSIDE"
        await writer.aclose()


class TestACommitWhoseAnswerWasLost:
    @pytest.fixture(autouse=True)
    async def _warm(self, writer: GroupCommit, database: FakeDatabase) -> None:
        database.transaction = "t1"
        await writer.run((), write, "warm")

    async def test_it_was_committed(self, writer: GroupCommit, database: FakeDatabase) -> None:
        database.trouble = [("answer", Verdict.LOST)]
        database.outcomes = [Outcome.COMMITTED]

        assert await writer.run((), write, "a") == "A"
        assert database.written == ["warm", "a"]
        assert database.connected == 2

    @pytest.mark.parametrize("verdict", [Verdict.LOST, Verdict.UNAVAILABLE])
    async def test_it_was_not(
        self, writer: GroupCommit, database: FakeDatabase, verdict: Verdict
    ) -> None:
        database.trouble = [("commit", verdict)]
        database.outcomes = [Outcome.ABORTED]

        assert await writer.run((), write, "a") == "A"
        assert database.written == ["warm", "a"]

    async def test_it_is_not_decided_yet(self, writer: GroupCommit, database: FakeDatabase) -> None:
        database.trouble = [("answer", Verdict.LOST)]
        database.outcomes = [Outcome.UNDECIDED, Outcome.UNDECIDED, Outcome.COMMITTED]

        assert await writer.run((), write, "a") == "A"
        assert database.outcomes == []
        assert database.written == ["warm", "a"]

    async def test_the_database_is_gone_for_a_while(
        self, writer: GroupCommit, database: FakeDatabase
    ) -> None:
        database.trouble = [
            ("answer", Verdict.LOST),
            ("connect", Verdict.UNAVAILABLE),
            ("ask", Verdict.LOST),
        ]
        database.outcomes = [Outcome.COMMITTED]

        assert await writer.run((), write, "a") == "A"
        assert database.trouble == []
        assert database.written == ["warm", "a"]

    async def test_nobody_can_tell(self, writer: GroupCommit, database: FakeDatabase) -> None:
        database.trouble = [("answer", Verdict.LOST)]
        database.outcomes = [Outcome.UNKNOWN]

        with pytest.raises(StoreUnavailable, match="unknown"):
            await writer.run((), write, "a")
        assert await writer.run((), write, "b") == "B"
        assert database.written == ["warm", "a", "b"]

    async def test_the_database_does_not_come_back(
        self, writer: GroupCommit, database: FakeDatabase, time: Time
    ) -> None:
        database.trouble = [("commit", Verdict.LOST)]
        gate = closed_door(database, "connect")
        inside = writer.run((), write, "a")
        await is_entered(gate)
        time.now += 30
        with pytest.raises(StoreUnavailable, match="unknown"):
            await inside
        database.trouble = [("connect", Verdict.UNAVAILABLE)]
        database.failed.clear()
        gate.opened.set()
        assert await asyncio.to_thread(database.failed.wait, 30)
        assert await written_once_it_is_back(writer, "b", time) == "B"
        assert database.written == ["warm", "b"]
