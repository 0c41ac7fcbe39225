from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.books_in_memory import BooksInMemory
from tests.support.clock import SetClock
from tests.support.keeping_house import KeepingHouse
from tests.support.samples import SHILLINGS, TOKENS

from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Count, Ending, Hold, RunningCount
from bandari.domain.recordings import OpenedRecording, RecordingState
from bandari.domain.usage import CountRule, Usage
from bandari.service import upkeep
from bandari.service.upkeep import (
    delete_expired_recordings,
    end_dead_recordings,
    repeat,
    roll_up_all,
    settle_dead_holds,
)


@pytest.fixture
async def books():
    ledger = BooksInMemory(TOKENS, SHILLINGS)
    ledger.credit(1, "TOKEN", 10_000)
    ledger.credit(1, "KES", 10_000)
    assert await ledger.open_epoch(0) == 1
    assert await ledger.open_epoch(0) == 2
    ledger.epoch_died(1)
    return ledger


async def place(ledger, name, card=TOKENS, epoch=1, counted=None, rule=CountRule.COUNTED):
    hold = Hold(name, 1, card.asset, 500, epoch, 3, "bandari-1", card.id, 1000)
    assert (await ledger.place(hold)).placed
    if counted is not None:
        await ledger.count([RunningCount(name, Count(counted, rule))])


async def test_holds_of_a_dead_server_are_charged_by_their_last_durable_count(books):
    await place(books, "a", counted=Usage(20, 30))
    b = Usage(100, 10, cached_tokens=20)
    await place(books, "b", SHILLINGS, counted=b, rule=CountRule.ESTIMATED)
    assert await settle_dead_holds(books, SetClock()) == 2
    receipt = books.receipts["a"]
    assert (receipt.amount, receipt.ending, receipt.rule, receipt.target) == (
        50,
        Ending.SERVER_DIED,
        CountRule.COUNTED,
        "",
    )
    assert receipt.ended_ms == SetClock().now_ms()
    assert books.receipts["b"].rule is CountRule.ESTIMATED
    assert books.receipts["b"].amount == 20  # 80 x 0.15 + 20 x 0.05 + 10 x 0.4 + 3
    assert books.wallet().held == 0


@pytest.mark.parametrize("counted", [None, Usage(20, 0)])
async def test_without_a_token_they_are_voided(books, counted):
    await place(books, "a", counted=counted)
    assert await settle_dead_holds(books, SetClock()) == 1
    assert books.voided == ["a"]
    assert not books.receipts


async def test_holds_of_servers_that_live_are_left_alone(books):
    await place(books, "a", epoch=2)
    assert await settle_dead_holds(books, SetClock()) == 0
    assert list(books.holds) == ["a"]


async def test_more_than_fit_into_one_look_are_all_settled(books, monkeypatch):
    monkeypatch.setattr(upkeep, "DEAD_HOLDS_AT_ONCE", 2)
    for name in "abcde":
        await place(books, name, counted=Usage(1, 1))
    assert await settle_dead_holds(books, SetClock()) == 5
    assert not books.holds


async def test_what_another_server_settled_first_is_not_counted(books):
    """Two servers start at once, and both see the same dead holds."""
    for name in "abcd":
        await place(books, name, counted=None if name == "a" else Usage(1, 1))
    settled = await asyncio.gather(
        settle_dead_holds(books, SetClock()), settle_dead_holds(books, SetClock())
    )
    assert sum(settled) == 4
    seen = await books.dead_holds(10)
    assert not seen

    for name in ("e", "f"):
        await place(books, name, counted=None if name == "e" else Usage(1, 1))
    stale = await books.dead_holds(10)
    await settle_dead_holds(books, SetClock())
    looks = iter([stale, []])

    async def late_look(_limit):
        return next(looks)

    books.dead_holds = late_look
    assert await settle_dead_holds(books, SetClock()) == 0


def opened(name, expires_ms=10**15, key=None):
    return OpenedRecording(
        id=f"str_{name}",
        account_id=1,
        surface="messages",
        is_streaming=True,
        created_ms=1000,
        expires_ms=expires_ms,
        digest=bytes(32),
        idempotency_key=key,
    )


async def record(books, name, epoch=1, **fields):
    hold = Hold(name, 1, "TOKEN", 500, epoch, 3, "bandari-1", TOKENS.id, 1000)
    assert (await books.place(replace(hold, recording=opened(name, **fields)))).placed


async def test_recordings_of_a_dead_server_end_as_their_holds_are_settled(books, monkeypatch):
    monkeypatch.setattr(upkeep, "RECORDINGS_AT_ONCE", 2)
    for name in "abcde":
        await record(books, name, key=name)
    await record(books, "living", epoch=2)
    counts = [RunningCount(name, Count(Usage(1, 1), CountRule.COUNTED)) for name in "abc"]
    await books.count(counts)
    assert await end_dead_recordings(books.recordings) == 0

    await settle_dead_holds(books, SetClock())

    assert await end_dead_recordings(books.recordings) == 5
    states = {name: recording.state for name, recording in books.recordings.kept.items()}
    interrupted = dict.fromkeys(("str_a", "str_b", "str_c"), RecordingState.INTERRUPTED)
    assert states == {**interrupted, "str_living": RecordingState.RUNNING}


async def test_all_that_has_expired_is_deleted_a_little_at_a_time(books, monkeypatch):
    monkeypatch.setattr(upkeep, "RECORDINGS_AT_ONCE", 2)
    clock = SetClock()
    old = [f"old {number}" for number in range(5)]
    for name in old:
        await record(books, name, expires_ms=clock.now_ms())
    await record(books, "young", expires_ms=clock.now_ms() + 1)
    await record(books, "running", epoch=2, expires_ms=clock.now_ms())
    count = Count(Usage(1, 1), CountRule.COUNTED)
    await books.count([RunningCount(name, count) for name in (*old, "young")])
    await settle_dead_holds(books, clock)
    assert await end_dead_recordings(books.recordings) == 6

    assert await delete_expired_recordings(books.recordings, clock) == 5
    assert sorted(books.recordings.kept) == ["str_running", "str_young"]
    assert await delete_expired_recordings(books.recordings, clock) == 0


async def stopped(loop) -> None:
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (StoreUnavailable(), "counts: the ledger cannot be reached"),
        (RuntimeError("a defect"), "counts failed"),
    ],
)
async def test_a_step_is_repeated_whatever_becomes_of_it(caplog, failure, said):
    steps = iter([None, failure, None, None])
    all_done = asyncio.Event()
    done = []

    async def step():
        outcome = next(steps, StopIteration)
        if outcome is StopIteration:
            all_done.set()
        elif outcome is not None:
            raise outcome
        else:
            done.append(1)

    loop = asyncio.create_task(repeat("counts", step, 0))
    await all_done.wait()
    await stopped(loop)
    assert len(done) == 3
    assert said in caplog.text


class Backlog:
    """Receipts that are not added up yet."""

    def __init__(self, *chunks):
        self.chunks = list(chunks)
        self.asked = []

    async def roll_up(self, limit):
        self.asked.append(limit)
        return self.chunks.pop(0) if self.chunks else 0


async def test_a_backlog_is_added_up_chunk_by_chunk():
    backlog = Backlog(500, 500, 3)
    assert await roll_up_all(backlog) == 1003
    assert backlog.asked == [upkeep.RECEIPTS_AT_ONCE] * 4


async def test_usage_is_added_up_again_and_again(monkeypatch):
    monkeypatch.setattr(upkeep, "ROLL_UP_INTERVAL_S", 0)
    house = KeepingHouse()
    backlog = Backlog(*[500] * 5, 0, 1)
    is_done = asyncio.Event()
    roll_up = backlog.roll_up

    async def watched(limit):
        if not backlog.chunks:
            is_done.set()
        return await roll_up(limit)

    backlog.roll_up = watched
    loops = upkeep.start_loops(
        house.inference, house.books, house.clock, house.metrics, reports=backlog
    )
    await is_done.wait()
    for loop in loops:
        await stopped(loop)


@pytest.mark.parametrize("keeps", [True, False])
async def test_all_that_is_done_beside_the_answers_is_done_again_and_again(monkeypatch, keeps):
    for interval in ("COUNT", "HOLDS", "LATE", "DEAD", "EXPIRED"):
        monkeypatch.setattr(upkeep, f"{interval}_INTERVAL_S", 0)
    house = KeepingHouse()
    responses = ("write_late", "fail_dead", "delete_expired")
    done = dict.fromkeys(("dead_holds", "open_holds", "settle_late", *responses), 0)
    all_done = asyncio.Event()

    def watch(owner, method):
        step = getattr(owner, method)

        async def watched(*arguments):
            done[method] += 1
            if all(count > 1 for name, count in done.items() if keeps or name not in responses):
                all_done.set()
            return await step(*arguments)

        monkeypatch.setattr(owner, method, watched)

    for method in ("dead_holds", "open_holds"):
        watch(house.books, method)
    watch(house.inference, "settle_late")
    for method in responses:
        watch(house.stored, method)
    loops = upkeep.start_loops(
        house.inference, house.books, house.clock, house.metrics, house.stored if keeps else None
    )
    await all_done.wait()
    for loop in loops:
        await stopped(loop)
    assert keeps or not any(done[name] for name in responses)


async def test_recordings_are_seen_to_again_and_again(monkeypatch):
    for interval in ("DEAD", "EXPIRED"):
        monkeypatch.setattr(upkeep, f"{interval}_INTERVAL_S", 0)
    house = KeepingHouse()
    recordings = house.books.recordings
    done = dict.fromkeys(("end_dead", "delete_expired"), 0)
    all_done = asyncio.Event()

    def watch(method):
        step = getattr(recordings, method)

        async def watched(*arguments):
            done[method] += 1
            if min(done.values()) > 1:
                all_done.set()
            return await step(*arguments)

        monkeypatch.setattr(recordings, method, watched)

    for method in done:
        watch(method)
    loops = upkeep.start_loops(
        house.inference, house.books, house.clock, house.metrics, recordings=recordings
    )
    await all_done.wait()
    for loop in loops:
        await stopped(loop)
