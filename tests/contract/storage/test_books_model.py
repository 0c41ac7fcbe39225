"""Random operations against the store and against plain Python: they must always agree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.storage.books import Books, charge, open_books

from bandari.adapters.storage import Store, open_store
from bandari.service.ports import HoldAlreadyEnded

HOLDS = st.integers(0, 5)
AMOUNTS = st.integers(0, 150)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("credit"), st.just(0), st.integers(-150, 150).filter(bool)),
        st.tuples(st.just("place"), HOLDS, AMOUNTS),
        st.tuples(st.just("extend"), HOLDS, AMOUNTS),
        st.tuples(st.just("post"), HOLDS, AMOUNTS),
        st.tuples(st.just("void"), HOLDS, st.just(0)),
    ),
    max_size=30,
)


class Model:
    """The books as a reader of the design would keep them: a balance, and the open holds."""

    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.holds: dict[int, int] = {}
        self.ended: set[int] = set()
        self.overruns = 0

    @property
    def held(self) -> int:
        return sum(self.holds.values())

    @property
    def free(self) -> int:
        return self.balance - self.held


class Both:
    """Does everything twice and compares."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.ledger = books.store.ledger
        self.model = Model(100)

    def hold_id(self, number: int) -> str:
        return f"{self.books.account.id}/{number}"

    async def credit(self, _: int, amount: int) -> None:
        wallet = await self.books.credit(amount)
        if self.model.free + amount < 0:
            assert wallet is None
        else:
            self.model.balance += amount
            assert wallet is not None

    async def place(self, number: int, amount: int) -> None:
        if number in self.model.holds or number in self.model.ended:
            return
        placement = await self.ledger.place(self.books.hold(self.hold_id(number), amount))
        assert placement.placed == (amount <= self.model.free)
        if placement.placed:
            self.model.holds[number] = amount

    async def extend(self, number: int, amount: int) -> None:
        least = amount // 2
        added = await self.ledger.extend(self.hold_id(number), amount, least)
        expected = min(amount, self.model.free) if number in self.model.holds else 0
        assert added == (expected if expected >= least else 0)
        if added:
            self.model.holds[number] += added

    async def post(self, number: int, amount: int) -> None:
        if number not in self.model.holds:
            with pytest.raises(HoldAlreadyEnded):
                await self.ledger.post(charge(self.hold_id(number), amount))
            return
        receipt = await self.ledger.post(charge(self.hold_id(number), amount))
        taken = min(amount, self.model.free + self.model.holds.pop(number))
        self.model.ended.add(number)
        self.model.balance -= taken
        assert (receipt.amount, receipt.overrun) == (taken, amount - taken)
        assert receipt.balance_after == self.model.balance

    async def void(self, number: int, _: int) -> None:
        if number not in self.model.holds:
            with pytest.raises(HoldAlreadyEnded):
                await self.ledger.void(self.hold_id(number))
            return
        await self.ledger.void(self.hold_id(number))
        del self.model.holds[number]
        self.model.ended.add(number)

    async def agree(self) -> None:
        assert await self.books.amounts() == (self.model.balance, self.model.held)
        assert self.model.free >= 0


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def opened(url: str, runner: asyncio.Runner) -> Iterator[tuple[Store, int]]:
    async def start() -> tuple[Store, int]:
        store = open_store(url)
        return store, await store.ledger.open_epoch(1)

    store, epoch = runner.run(start())
    yield store, epoch
    runner.run(store.aclose())


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(operations=OPERATIONS)
def test_the_store_agrees_with_a_model(
    opened: tuple[Store, int], runner: asyncio.Runner, operations: list[tuple[str, int, int]]
) -> None:
    store, epoch = opened

    async def compare() -> None:
        both = Both(await open_books(store, balance=100, epoch=epoch))
        for name, number, amount in operations:
            await getattr(both, name)(number, amount)
            await both.agree()
        assert (await store.ledger.verify()).is_clean

    runner.run(compare())
