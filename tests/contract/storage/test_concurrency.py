"""Many callers, many wallets, two programs: the sums are right and nothing is below zero."""

from __future__ import annotations

import asyncio
import random
import sqlite3

import psycopg
import pytest
from tests.contract.storage.books import Books, charge, open_books

from bandari.adapters.storage import Store
from bandari.service.ports import HoldAlreadyEnded


async def test_exactly_as_many_holds_as_are_affordable(store: Store) -> None:
    books = await open_books(store, balance=37 * 100 + 99)

    placements = await asyncio.gather(
        *(store.ledger.place(books.hold(amount=100)) for _ in range(200))
    )

    assert sum(placement.placed for placement in placements) == 37
    assert await books.amounts() == (3_799, 3_700)
    assert await store.ledger.open_holds() == 37


async def test_also_between_two_programs(store: Store, other_store: Store) -> None:
    books = await open_books(store, balance=37 * 100 + 99)

    placements = await asyncio.gather(
        *(
            (store, other_store)[number % 2].ledger.place(books.hold(amount=100))
            for number in range(200)
        )
    )

    assert sum(placement.placed for placement in placements) == 37
    assert await books.amounts() == (3_799, 3_700)


async def test_a_hold_that_many_want_to_end_ends_once(store: Store, other_store: Store) -> None:
    books = await open_books(store)
    hold_ids = [await books.place(amount=10) for _ in range(20)]

    async def end(where: Store, hold_id: str, posts: bool) -> bool:
        try:
            if posts:
                await where.ledger.post(charge(hold_id, 7))
            else:
                await where.ledger.void(hold_id)
        except HoldAlreadyEnded:
            return False
        return True

    ends = [
        (where, hold_id, posts)
        for hold_id in hold_ids
        for where in (store, other_store)
        for posts in (True, False)
    ]
    random.Random(5).shuffle(ends)
    ended = await asyncio.gather(*(end(*one) for one in ends))

    assert sum(ended) == 20
    balance, held = await books.amounts()
    verification = await store.ledger.verify()
    assert held == 0
    assert balance == 1_000 - 7 * verification.receipts
    assert verification.is_clean


@pytest.mark.parametrize("programs", [1, 2])
async def test_everything_at_once(
    programs: int, store: Store, other_store: Store, kind: str, url: str
) -> None:
    stores = (store, other_store)[:programs]
    epoch = await store.ledger.open_epoch(1)
    customers = [await open_books(store, balance=2_000, epoch=epoch) for _ in range(3)]
    credited = [2_000, 2_000, 2_000]
    charged = [0, 0, 0]
    seen: list[int] = []

    async def live(number: int) -> None:
        draw = random.Random(number)
        for _ in range(12):
            which = draw.randrange(3)
            books, ledger = customers[which], stores[number % programs].ledger
            if draw.random() < 0.3:
                mine = Books(stores[number % programs], books.account, books.key, books.card, epoch)
                amount = draw.randrange(-300, 300) or 1
                wallet = await mine.credit(amount)
                if wallet is not None:
                    credited[which] += amount
                    seen.append(wallet.free)
                continue
            hold = books.hold(amount=draw.randrange(200))
            placement = await ledger.place(hold)
            assert placement.wallet is not None
            seen.append(placement.wallet.free)
            if not placement.placed:
                continue
            await ledger.extend(hold.id, draw.randrange(100), 1)
            if draw.random() < 0.3:
                await ledger.void(hold.id)
            else:
                receipt = await ledger.post(charge(hold.id, draw.randrange(400)))
                charged[which] += receipt.amount

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number in range(64):
            group.create_task(live(number))

    assert min(seen) >= 0
    for which, books in enumerate(customers):
        assert await books.amounts() == (credited[which] - charged[which], 0)
    verification = await store.ledger.verify()
    assert verification.is_clean
    assert verification.open_holds == 0
    assert sum_of_postings(kind, url) == [("TOKEN", 0)]


def sum_of_postings(kind: str, url: str) -> list[tuple[str, int]]:
    """As a tool outside this repository asks for it."""
    sql = "SELECT asset, SUM(amount) FROM postings GROUP BY asset"
    if kind == "sqlite":
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()
    with psycopg.connect(url) as server:
        return [(asset, int(total)) for asset, total in server.execute(sql.encode()).fetchall()]


async def test_a_command_beside_a_busy_server(store: Store, other_store: Store) -> None:
    books = await open_books(store, balance=10**9)
    beside = Books(other_store, books.account, books.key, books.card, books.epoch)
    is_over = asyncio.Event()

    async def serve() -> None:
        while not is_over.is_set():
            await store.ledger.post(charge(await books.place()))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(32):
            group.create_task(serve())
        for _ in range(10):
            assert await beside.credit(5) is not None
        is_over.set()

    assert (await store.ledger.verify()).is_clean


async def test_an_audit_sees_one_moment_of_a_busy_ledger(store: Store) -> None:
    books = await open_books(store, balance=10**9)
    is_over = asyncio.Event()

    async def serve() -> None:
        while not is_over.is_set():
            await store.ledger.post(charge(await books.place()))

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for _ in range(16):
            group.create_task(serve())
        for _ in range(5):
            assert (await store.ledger.verify()).is_clean
        is_over.set()
