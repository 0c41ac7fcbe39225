"""Holds and charges that share a transaction: each ends as it would have by itself.

The order in which they take effect: charges, what is charged outright, holds, then everything else
as it came. Of those that claim one Idempotency-Key the second comes after all that claim it first.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.storage.books import BY, Books, a_count, charge, open_books

from bandari.adapters.storage import Store, open_store
from bandari.adapters.storage.database import Connection
from bandari.domain.faults import OwnFault
from bandari.domain.ledger import MAX_AMOUNT, Charge, Hold, Receipt, RunningCount
from bandari.domain.pricing import TOKEN, PriceRatio
from bandari.domain.recordings import FrameGroup, OpenedRecording, RecordingEnd
from bandari.service.ports import HoldAlreadyEnded, Placement

MAX_INTEGER = 2**63 - 1
ODD_TEXTS = (
    "",
    "".join(map(chr, range(1, 0x20))) + "\x7f\x80\x9f",
    "\"'\\ \\u0041 \\0 %s ? $1 {} [1,null] \u2028\u2029\ufeff\ufffe\uffff",
    "Habari, نيروبي, 内罗毕, 🚢\U0010ffff, e\u0301, \ud7ff\ue000",
    "null",
    "12",
)
_TABLES = {
    "wallets": "id",
    "holds": "id",
    "transactions": "id",
    "postings": "transaction_id, position",
    "receipts": "id",
    "recordings": "id",
    "recording_frames": "recording_id, position",
}

Writes = Sequence[Callable[[], Awaitable[Any]]]


async def all_at_once(store: Store, writes: Writes) -> list[Any]:
    """Have them share a transaction: they wait while another one is kept open."""
    entered, opened = threading.Event(), threading.Event()

    def gate(_: Connection) -> None:
        entered.set()
        assert opened.wait(30)

    gating = store.writer.run((), gate)
    await asyncio.to_thread(entered.wait, 30)
    writing = [asyncio.ensure_future(write()) for write in writes]
    await asyncio.sleep(0)
    opened.set()
    await gating
    return await asyncio.gather(*writing, return_exceptions=True)


async def one_by_one(writes: Writes) -> list[Any]:
    return [(await asyncio.gather(write(), return_exceptions=True))[0] for write in writes]


async def rows_of(store: Store) -> dict[str, list[Any]]:
    def read(connection: Connection) -> dict[str, list[Any]]:
        execute = connection.cursor.execute
        return {
            table: execute(f"SELECT * FROM {table} ORDER BY {key}").fetchall()
            for table, key in _TABLES.items()
        }

    return await store.reader.run(read)


class Step(NamedTuple):
    """One write: to one of a few holds, of one of three wallets."""

    name: str
    number: int
    amount: int

    @property
    def turn(self) -> int:
        return {"post": 0, "charge": 1, "place": 2}.get(self.name, 3)

    @property
    def idempotency_key(self) -> str | None:
        return f"key {self.number % 2}" if self.number in KEYED else None


def _in_order(steps: Sequence[Step]) -> list[tuple[int, Step]]:
    """The steps with their places, in the order in which they take effect."""
    claims: dict[str | None, int] = {}
    ordered: list[tuple[int, int, tuple[int, Step]]] = []
    for at, step in sorted(enumerate(steps), key=lambda numbered: numbered[1].turn):
        round_ = 0
        if step.turn in (1, 2) and step.number in RECORDED:
            claim = step.idempotency_key or str(step.number)
            round_ = claims[claim] = claims.get(claim, -1) + 1
        ordered.append((round_ if step.turn < 3 else len(steps), step.turn, (at, step)))
    return [numbered for _, _, numbered in sorted(ordered, key=lambda one: one[:2])]


def _each_placed_once(steps: list[Step]) -> list[Step]:
    """A hold's id is used once: a second time would be an error, and have each run alone."""
    seen: set[int] = set()
    kept = []
    for step in steps:
        if step.name != "place" or step.number not in seen:
            kept.append(step)
        if step.name == "place":
            seen.add(step.number)
    return kept


END_USER = "é\n"
OPEN, NEW, OUTRIGHT = range(5), range(5, 11), range(11, 17)
"""Numbers of holds that are open before (if there was money), of those that are placed, and of
those that are charged outright."""
KEYED = (0, 7, 8, 9, 13, 14, 15)
RECORDED = (*KEYED, 1, 10, 16)
AMOUNTS = st.integers(0, 130)
STEPS = st.lists(
    st.one_of(
        st.builds(
            Step,
            st.sampled_from(("post", "post", "extend", "count", "void")),
            st.integers(0, 11),
            AMOUNTS,
        ),
        st.builds(Step, st.just("charge"), st.sampled_from(OUTRIGHT), AMOUNTS),
        st.builds(Step, st.just("place"), st.sampled_from(NEW), AMOUNTS),
    ),
    min_size=2,
    max_size=24,
).map(_each_placed_once)


class Side:
    """One of two stores that are to end up the same."""

    def __init__(self, store: Store, customers: list[Books], prefix: str) -> None:
        self.store = store
        self.customers = customers
        self.prefix = prefix

    def hold(self, number: int, amount: int) -> Hold:
        books = self.customers[number % len(self.customers)]
        return books.hold(
            f"{self.prefix}-{number}",
            amount,
            model=f"model {number}",
            created_ms=number,
            end_user=(None, END_USER, "")[number % 3],
            counted=a_count(number, 1) if number % 4 == 3 else None,
            sub_wallet=("", "", END_USER, "nobody")[number // 2 % 4],
            price_ratio=(PriceRatio(), PriceRatio(2, 3))[number % 2],
            recording=self.recording(number, books) if number in RECORDED else None,
        )

    def recording(self, number: int, books: Books) -> OpenedRecording:
        return OpenedRecording(
            id=self.recording_id(number),
            account_id=self.customers[0].account.id,
            surface="chat_completions",
            is_streaming=number % 2 == 0,
            created_ms=number,
            expires_ms=number + (1 if number in OPEN else 1_000),
            digest=bytes([number]) * 32,
            end_user=END_USER,
            idempotency_key=Step("", number, 0).idempotency_key,
        )

    def recording_id(self, number: int) -> str:
        return f"str_{self.prefix}-{number}"

    def frames(self, number: int, at: int) -> FrameGroup:
        return FrameGroup(self.recording_id(number), at % 3, b"x" * (at % 5))

    def charge(self, number: int, amount: int, at: int) -> Charge:
        return charge(
            f"{self.prefix}-{number}",
            amount,
            count=a_count(at, amount),
            target=f"target {at}",
            ended_ms=at,
            finish_reason=None if at % 2 else "stop",
            repeated_tokens=at,
            recording=self.end(number, at) if number in RECORDED else None,
        )

    def end(self, number: int, at: int) -> RecordingEnd:
        # Those that are open have expired by the time at which the others begin, and stay so.
        expires_ms = 1 if number in OPEN else at
        return RecordingEnd(last=self.frames(number, at), expires_ms=expires_ms)

    def write(self, at: int, step: Step) -> Callable[[], Awaitable[Any]]:
        ledger, hold_id = self.store.ledger, f"{self.prefix}-{step.number}"

        async def write() -> Any:
            match step.name:
                case "place":
                    return await ledger.place(self.hold(step.number, step.amount))
                case "post":
                    receipt = await ledger.post(self.charge(step.number, step.amount, at))
                    # The customers' names differ from one test to the next.
                    return msgspec.structs.replace(receipt, account="")
                case "charge":
                    outcome = await ledger.charge(
                        self.hold(step.number, step.amount),
                        self.charge(step.number, step.amount, at),
                    )
                    if isinstance(outcome, Placement):
                        return outcome
                    return msgspec.structs.replace(outcome, account="")
                case "extend":
                    return await ledger.extend(hold_id, step.amount, step.amount // 2)
                case "count":
                    frames = self.frames(step.number, at) if step.number in RECORDED else None
                    count = RunningCount(hold_id, a_count(at, step.amount), frames)
                    return await ledger.count([count])
                case _:
                    return await ledger.void(hold_id, self.recording_id(step.number))

        return write


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


class Opened(NamedTuple):
    stores: tuple[Store, Store]
    epochs: tuple[int, int]
    sizes: list[int]
    """How many writes each commit of the first store had."""


@pytest.fixture
def opened(url: str, twin_url: str, runner: asyncio.Runner) -> Iterator[Opened]:
    sizes: list[int] = []

    async def start() -> Opened:
        one = open_store(url, on_commit=lambda size, _: sizes.append(size))
        two = open_store(twin_url)
        epochs = await one.ledger.open_epoch(1), await two.ledger.open_epoch(1)
        return Opened((one, two), epochs, sizes)

    started = runner.run(start())
    yield started
    for store in started.stores:
        runner.run(store.aclose())


_examples = itertools.count()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    balances=st.lists(st.integers(0, 300), min_size=1, max_size=3),
    before=st.lists(st.integers(0, 60), min_size=len(OPEN), max_size=len(OPEN)),
    steps=STEPS,
)
def test_a_batch_does_what_its_writes_do_one_by_one(
    opened: Opened,
    runner: asyncio.Runner,
    balances: list[int],
    before: list[int],
    steps: list[Step],
) -> None:
    prefix = f"hold-{next(_examples)}"

    async def side(store: Store, epoch: int) -> Side:
        customers = [await open_books(store, balance, epoch) for balance in balances]
        for books, balance in zip(customers, balances, strict=True):
            await books.credit(balance // 2 + 1, end_user=END_USER)
        one = Side(store, customers, prefix)
        for number, amount in zip(OPEN, before, strict=True):
            await store.ledger.place(one.hold(number, amount))
        return one

    async def compare() -> None:
        one, two = [await side(*each) for each in zip(opened.stores, opened.epochs, strict=True)]
        del opened.sizes[:]
        numbered = list(enumerate(steps))
        results = await all_at_once(one.store, [one.write(*step) for step in numbered])
        assert opened.sizes == [1, len(steps)]

        in_order = _in_order(steps)
        expected = await one_by_one([two.write(*step) for step in in_order])
        for (at, step), wanted in zip(in_order, expected, strict=True):
            if isinstance(wanted, Exception):
                assert isinstance(wanted, HoldAlreadyEnded), step
                assert repr(results[at]) == repr(wanted)
            else:
                assert results[at] == wanted, step
        assert await rows_of(one.store) == await rows_of(two.store)
        for store in opened.stores:
            assert (await store.ledger.verify()).is_clean

    runner.run(compare())


async def test_more_than_one_statement_has_room_for(store: Store) -> None:
    books = await open_books(store, 100_000)
    other = await open_books(store, 100_000, books.epoch)
    both = [books, other]
    places = [
        lambda number=number: store.ledger.place(both[number % 2].hold(f"h{number}", 100))
        for number in range(107)
    ]
    placements: list[Placement] = await all_at_once(store, places)
    assert [placement.wallet.held for placement in placements if placement.wallet] == [
        100 * (number // 2 + 1) for number in range(107)
    ]

    posts = [
        lambda number=number: store.ledger.post(charge(f"h{number}", 10 + number))
        for number in reversed(range(107))
    ]
    receipts: list[Receipt] = await all_at_once(store, posts)
    assert [receipt.id for receipt in receipts] == [f"h{number}" for number in reversed(range(107))]
    for receipt in receipts:
        assert await store.ledger.receipt(receipt.id) == receipt
    spent = [sum(10 + number for number in range(first, 107, 2)) for first in (0, 1)]
    assert [await each.amounts() for each in both] == [(100_000 - each, 0) for each in spent]
    assert (await store.ledger.verify()).is_clean


async def test_a_wallet_that_runs_dry_within_a_batch(store: Store) -> None:
    books = await open_books(store, 100)
    for hold_id in ("a", "b", "c"):
        await books.place(hold_id, 20)
    writes = [
        lambda: store.ledger.place(books.hold("d", 1)),
        lambda: store.ledger.post(charge("a", 50)),
        lambda: store.ledger.post(charge("b", 50)),
        lambda: store.ledger.post(charge("c", 50)),
    ]
    placement, *receipts = await all_at_once(store, writes)

    # The first takes its 20 and 30 of the 40 that are free, the second its 20 and the last 10.
    paid = [(one.amount, one.overrun, one.balance_after) for one in receipts]
    assert paid == [(50, 0, 50), (30, 20, 20), (20, 30, 0)]
    assert not placement.placed
    assert (placement.wallet.balance, placement.wallet.held) == (0, 0)
    assert (await store.ledger.verify()).is_clean


async def test_money_that_charges_set_free_is_there_for_holds(store: Store) -> None:
    books = await open_books(store, 100)
    await books.place("a", 100)
    writes = [
        lambda: store.ledger.place(books.hold("b", 90)),
        lambda: store.ledger.post(charge("a", 10)),
    ]
    placement, _ = await all_at_once(store, writes)
    assert placement.placed
    assert await books.amounts() == (90, 90)


async def test_of_two_charges_of_one_hold_the_first_has_it(books: Books) -> None:
    ledger = books.store.ledger
    await books.place("a", 100)
    writes = [lambda: ledger.post(charge("a", 60)), lambda: ledger.post(charge("a", 61))]
    first, second = await all_at_once(books.store, writes)
    assert first.amount == 60
    assert isinstance(second, HoldAlreadyEnded)
    assert await books.amounts() == (940, 0)


async def test_a_hold_can_be_voided_while_it_waits_to_be_placed(books: Books) -> None:
    """As of a caller that left: whoever voids would not ask again, and the hold would stay."""
    ledger = books.store.ledger
    writes = [lambda: ledger.place(books.hold("a")), lambda: ledger.void("a")]
    placement, voided = await all_at_once(books.store, writes)
    assert placement.placed
    assert voided is None
    assert await books.amounts() == (1_000, 0)
    assert await ledger.open_holds() == 0


async def test_counts_that_holds_are_placed_with(books: Books) -> None:
    ledger = books.store.ledger
    holds = [books.hold("a", counted=a_count(7, 3)), books.hold("b"), books.hold("c", 10**6)]
    await all_at_once(books.store, [lambda hold=hold: ledger.place(hold) for hold in holds])
    await ledger.close_epoch(books.epoch, 5)
    dead = await ledger.dead_holds(10)
    assert [hold for hold, _ in dead] == holds[:2]


async def test_only_the_culprit_fails(books: Books) -> None:
    ledger = books.store.ledger
    for hold_id in ("a", "b"):
        await books.place(hold_id, 100)
    writes = [
        lambda: ledger.post(charge("a", 60)),
        lambda: ledger.place(books.hold("c", 10, key_id=10**6)),
        lambda: ledger.place(books.hold("d", 20)),
        lambda: ledger.post(charge("b", 70)),
        lambda: ledger.place(books.hold("d", 30)),
        lambda: ledger.post(charge("never", 1)),
    ]
    posted, no_key, placed, other, twice, unknown = await all_at_once(books.store, writes)
    assert (posted.amount, other.amount) == (60, 70)
    assert placed.placed
    assert type(no_key) is type(twice) is OwnFault
    assert isinstance(unknown, HoldAlreadyEnded)
    assert await books.amounts() == (870, 20)
    assert await ledger.open_holds() == 1
    assert (await ledger.verify()).is_clean


@pytest.mark.parametrize("text", ODD_TEXTS)
async def test_every_text_survives(store: Store, text: str) -> None:
    books = await open_books(store)
    other = await store.accounts.create_account(f"{text} & daughters", 1, BY)
    one, two = f"{text}1", f"{text}2"
    if text:
        await books.credit(1_000, end_user=text)
    holds = [
        books.hold(hold_id, model=text, end_user=text, sub_wallet=text) for hold_id in (one, two)
    ]
    await all_at_once(store, [lambda hold=hold: store.ledger.place(hold) for hold in holds])
    ended = [
        charge(hold_id, target=text, finish_reason=text, reasoning_effort=text)
        for hold_id in (one, two)
    ]
    receipts = await all_at_once(store, [lambda end=end: store.ledger.post(end) for end in ended])
    for hold_id, receipt in zip((one, two), receipts, strict=True):
        texts = (receipt.id, receipt.model, receipt.end_user, receipt.target)
        assert texts == (hold_id, text, text, text)
        assert (receipt.finish_reason, receipt.reasoning_effort) == (text, text)
        assert await store.ledger.receipt(hold_id) == receipt
    assert (await store.accounts.find_account(other.name)) == other


@pytest.mark.parametrize("asset", ODD_TEXTS)
async def test_every_asset_and_account_survives(store: Store, asset: str) -> None:
    books = await open_books(store, 0)
    account = await store.accounts.create_account(f"{asset}!", 1, BY)
    books = Books(store, account, books.key, books.card, books.epoch)
    await books.credit(50, asset)
    await books.credit(10, TOKEN)
    holds = [books.hold("a", 20, asset=asset), books.hold("b", 10), books.hold("c", 1, asset="-")]
    placed = await all_at_once(
        store, [lambda hold=hold: store.ledger.place(hold) for hold in holds]
    )
    assert [one.placed for one in placed] == [True, True, False]
    assert [one.wallet and one.wallet.asset for one in placed] == [asset, TOKEN, None]
    receipts = await all_at_once(
        store, [lambda of=of: store.ledger.post(charge(of, 5)) for of in ("b", "a")]
    )
    assert [(one.asset, one.account) for one in receipts] == [
        (TOKEN, account.name),
        (asset, account.name),
    ]
    assert (await store.ledger.verify()).is_clean


async def test_the_largest_numbers_survive(store: Store) -> None:
    books = await open_books(store, MAX_AMOUNT)
    holds = [
        books.hold("a", MAX_AMOUNT - 1, created_ms=MAX_INTEGER),
        books.hold("b", 1, created_ms=-MAX_INTEGER),
    ]
    placed = await all_at_once(
        store, [lambda hold=hold: store.ledger.place(hold) for hold in holds]
    )
    assert [one.wallet.held for one in placed] == [MAX_AMOUNT - 1, MAX_AMOUNT]
    count = a_count(MAX_AMOUNT, MAX_AMOUNT)
    ended = [
        charge("a", MAX_AMOUNT, count=count, ended_ms=MAX_INTEGER),
        charge("b", MAX_AMOUNT, count=count, ended_ms=-MAX_INTEGER),
    ]
    receipts = await all_at_once(store, [lambda end=end: store.ledger.post(end) for end in ended])
    assert [(one.amount, one.overrun, one.balance_after) for one in receipts] == [
        (MAX_AMOUNT - 1, 1, 1),
        (1, MAX_AMOUNT - 1, 0),
    ]
    assert [one.created_ms for one in receipts] == [MAX_INTEGER, -MAX_INTEGER]
    for receipt in receipts:
        assert await store.ledger.receipt(receipt.id) == receipt
    assert (await store.ledger.verify()).is_clean
