"""Usage agrees with the receipts to the unit, at any moment, whatever happens in between."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from tests.contract.storage.books import Books, charge, open_books
from tests.contract.storage.conftest import Tamper
from tests.contract.storage.traffic import MODELS, Traffic

from bandari.adapters.storage import Store, open_store
from bandari.adapters.storage.database import Connection
from bandari.adapters.storage.roll_up import RollUp
from bandari.domain.allowance import Subject
from bandari.domain.catalogue import MAX_MODEL_ID_BYTES
from bandari.domain.ledger import MAX_AMOUNT
from bandari.domain.pricing import RateCard
from bandari.domain.reports import HOUR_MS, TIME_DIMENSIONS, Dimension, Selection
from bandari.domain.usage import Usage

ALL = Selection()
MANY = 10_000
APART = (Dimension.ACCOUNT, Dimension.KEY, Dimension.END_USER, Dimension.MODEL)


def combinations() -> Iterator[tuple[Dimension, ...]]:
    """Every set of dimensions with one time at most."""
    for size in range(len(APART) + 1):
        for some in itertools.combinations(APART, size):
            for time in (None, *TIME_DIMENSIONS):
                yield some if time is None else (time, *some)


async def roll_up_all(store: Store, limit: int = 500) -> int:
    counts = []
    while not counts or counts[-1]:
        counts.append(await store.reports.roll_up(limit))
    return sum(counts)


async def check(
    store: Store, traffic: Traffic, selection: Selection, by: Sequence[Dimension]
) -> None:
    told = await store.reports.usage(selection, by, MANY)
    expected = traffic.usage(selection, by)
    assert list(told) == list(expected), (selection, by)


class InTheMiddle(Exception):
    """What was added up is not kept."""


class Servers:
    """The server of the moment: it ends in order, or is replaced while it adds up."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.store = open_store(url)

    async def restart(self) -> None:
        await self.store.aclose()
        self.store = open_store(self._url)

    async def aclose(self) -> None:
        await self.store.aclose()


@asynccontextmanager
async def servers(url: str) -> AsyncIterator[Servers]:
    running = Servers(url)
    try:
        yield running
    finally:
        await running.aclose()


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_totals_agree_with_the_receipts(
    seed: int, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    traffic = Traffic(draw)
    fails = False
    add = RollUp.add

    def add_or_fail(rolling: RollUp, connection: Connection, settled: int, limit: int) -> int:
        count = add(rolling, connection, settled, limit)
        if fails:
            raise InTheMiddle
        return count

    monkeypatch.setattr(RollUp, "add", add_or_fail)
    async with servers(url) as running:
        await traffic.open(running.store)
        for _ in range(60):
            store = running.store
            match draw.randrange(8):
                case 0 | 1:
                    await traffic.serve(store, draw.randrange(1, 12))
                case 2:
                    await asyncio.gather(
                        traffic.serve(store, draw.randrange(1, 12)),
                        store.reports.roll_up(draw.randrange(1, 9)),
                    )
                case 3:
                    await store.reports.roll_up(draw.randrange(1, 30))
                case 4:
                    fails = True
                    with suppress(InTheMiddle):
                        await store.reports.roll_up(5)
                    fails = False
                case 5:
                    await running.restart()
                case 6:
                    await traffic.credit(store, draw.choice(traffic.accounts))
                case 7:
                    by = draw.choice(list(combinations()))
                    await check(store, traffic, traffic.some_selection(), by)
        for by in combinations():
            await check(running.store, traffic, ALL, by)
        await roll_up_all(running.store)
        assert await running.store.reports.roll_up(1) == 0
        for by in combinations():
            await check(running.store, traffic, ALL, by)
            await check(running.store, traffic, traffic.some_selection(), by)
        assert any(receipt.overrun for _, receipt in traffic.charged)
        assert any(not receipt.amount for _, receipt in traffic.charged)
        assert (await running.store.ledger.verify()).is_clean


async def test_two_servers_add_up_at_once(store: Store, other_store: Store) -> None:
    traffic = Traffic(random.Random(4))
    await traffic.open(store)
    is_serving = True

    async def add_up(where: Store) -> int:
        count = 0
        while is_serving:
            count += await where.reports.roll_up(7)
            await asyncio.sleep(0)
        return count

    async def ask() -> None:
        """A question never sees a receipt twice, nor one that was charged before it missing."""
        while is_serving:
            before = len(traffic.charged)
            rows = await other_store.reports.usage(ALL, (), MANY)
            assert before <= sum(row.requests for row in rows) <= traffic.served

    async def serve() -> None:
        nonlocal is_serving
        for _ in range(12):
            await traffic.serve(store, 20)
        is_serving = False

    first, second, *_ = await asyncio.gather(
        add_up(store), add_up(other_store), ask(), ask(), serve()
    )
    rest = await roll_up_all(store)
    assert first + second + rest == traffic.served == 240
    for by in combinations():
        await check(other_store, traffic, ALL, by)


async def test_what_was_spent_by_the_hour(store: Store) -> None:
    traffic = Traffic(random.Random(5))
    await traffic.open(store)
    for limit in (0, 60, 1_000):
        await traffic.serve(store, 90)
        if limit:
            await store.reports.roll_up(limit)
        account, key = traffic.accounts[1], traffic.keys[3]
        for subject, identity in (
            (Subject.KEY, (key.id,)),
            (Subject.ACCOUNT, (account.id,)),
            (Subject.GROUP, ("gold",)),
            (Subject.GROUP, ("nobody's",)),
            (Subject.END_USER, (account.id, "ann")),
            (Subject.END_USER, (account.id, "nobody")),
            (Subject.MODEL, (MODELS[1],)),
        ):
            for since in (0, 1_767_225_600_000 + HOUR_MS + 12_345):
                told = await store.reports.spent(subject, identity, since)
                assert list(told) == traffic.spent(subject, identity, since), (subject, since)


async def test_sums_larger_than_64_bits(books: Books) -> None:
    """A provider may report what it likes: nothing stops at it, and questions are answered."""
    usage = Usage(MAX_AMOUNT, MAX_AMOUNT)
    count = charge("").count
    enormous = type(count)(usage, count.rule, count.basis)
    reports = books.store.reports
    for _ in range(2):
        for _ in range(52):
            holds = await asyncio.gather(*(books.place(amount=0) for _ in range(20)))
            await asyncio.gather(
                *(books.store.ledger.post(charge(hold, 0, count=enormous)) for hold in holds)
            )
        (row,) = await reports.usage(ALL, (), 1)
        if row.requests == 1_040:
            assert row.usage == Usage(1_040 * MAX_AMOUNT, 1_040 * MAX_AMOUNT)
            assert await roll_up_all(books.store, 1_000_000) == 1_040
    (row,) = await reports.usage(ALL, (), 1)
    assert (row.requests, row.usage.input_tokens) == (2_080, 2**63 - 1 + 1_040 * MAX_AMOUNT)
    (spent,) = await reports.spent(Subject.KEY, (books.key.id,), 0)
    assert spent.tokens == 2 * row.usage.input_tokens


async def test_a_chunk_is_no_larger_than_asked(books: Books) -> None:
    for _ in range(5):
        await books.store.ledger.post(charge(await books.place()))
    reports = books.store.reports
    assert [await reports.roll_up(2) for _ in range(5)] == [2, 2, 1, 0, 0]


async def test_what_is_charged_after_it_was_asked_what_is_settled_waits(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = books.store.reports
    await books.store.ledger.post(charge(await books.place()))
    settled = await reports.last_number()
    await books.store.ledger.post(charge(await books.place()))
    with monkeypatch.context() as then:
        then.setattr(RollUp, "settled", lambda *_: settled)
        assert [await reports.roll_up(10) for _ in range(2)] == [1, 0]
    assert await reports.roll_up(10) == 1


async def test_where_nothing_was_charged_nothing_is_written(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    await books.credit(100)

    def refuse(*_: object) -> int:
        raise AssertionError("there is nothing to write")

    monkeypatch.setattr(RollUp, "add", refuse)
    assert await books.store.reports.roll_up(10) == 0


async def test_no_more_rows_than_asked(store: Store) -> None:
    traffic = Traffic(random.Random(6))
    await traffic.open(store)
    await traffic.serve(store, 40)
    by = (Dimension.MODEL, Dimension.KEY)
    told = await store.reports.usage(ALL, by, 4)
    assert list(told) == list(traffic.usage(ALL, by)[:4])


async def test_usage_is_not_told_apart_by_two_times(store: Store) -> None:
    with pytest.raises(ValueError, match="one of hour, day and month"):
        await store.reports.usage(ALL, (Dimension.DAY, Dimension.MONTH), 1)


async def test_usage_can_be_derived_again(store: Store, tamper: Tamper) -> None:
    traffic = Traffic(random.Random(7))
    await traffic.open(store)
    await traffic.serve(store, 60)
    await roll_up_all(store)
    tamper("DELETE FROM usage_hours", "UPDATE usage_progress SET transaction_id = 0")
    await check(store, traffic, ALL, APART)
    assert await roll_up_all(store, 13) == 60
    await check(store, traffic, ALL, APART)


async def test_two_customers_are_told_apart(store: Store) -> None:
    one, other = await open_books(store), await open_books(store)
    for books in (one, other, one):
        await store.ledger.post(charge(await books.place()))
    (row,) = await store.reports.usage(Selection(account_id=other.account.id), (), MANY)
    assert row.requests == 1


async def test_the_longest_names_are_added_up(store: Store) -> None:
    """PostgreSQL bounds the rows of an index, and this text cannot be made shorter there."""
    draw = random.Random(1)

    def text(size_bytes: int) -> str:
        return "".join(chr(draw.randrange(0x10000, 0x110000)) for _ in range(size_bytes // 4))

    books = await open_books(store)
    model, end_user = text(MAX_MODEL_ID_BYTES), text(4 * 512)
    asset = "A" * 16
    await books.credit(1_000, asset, end_user)
    (card,) = await store.rate_cards.pin([RateCard(model, asset, 1, 1, 1, 1)])
    hold = books.hold(
        asset=asset, model=model, end_user=end_user, sub_wallet=end_user, rate_card_id=card.id
    )
    assert (await store.ledger.place(hold)).placed
    await store.ledger.post(charge(hold.id))
    assert await roll_up_all(store) == 1
    (row,) = await store.reports.usage(ALL, APART, MANY)
    assert (row.model, row.end_user, row.asset, row.amount) == (model, end_user, asset, 60)
