"""Epochs: a hold outlives its server, and only a dead server's hold may be ended by another."""

from __future__ import annotations

import psycopg
import pytest
from tests.contract.storage.books import Books, charge, open_books

from bandari.adapters.storage import Store, open_store
from bandari.service.ports import HoldAlreadyEnded


async def test_epochs_are_told_apart(store: Store) -> None:
    first = await store.ledger.open_epoch(1)
    second = await store.ledger.open_epoch(2)

    assert second > first


async def test_a_living_servers_holds_are_not_dead(books: Books, other_store: Store) -> None:
    await books.place()

    assert await books.store.ledger.dead_holds(10) == []
    # Such as a command beside the server: it opens no epoch.
    assert await other_store.ledger.dead_holds(10) == []


async def test_holds_of_a_closed_epoch_are_dead(books: Books, other_store: Store) -> None:
    hold_id = await books.place()

    await books.store.ledger.close_epoch(books.epoch, 9)

    assert await other_store.ledger.dead_holds(10) == [(books.hold(hold_id), books.card)]


async def test_holds_of_a_server_that_is_gone_are_dead(url: str) -> None:
    async with open_store(url) as former:
        books = await open_books(former)
        for _ in range(3):
            await books.place()

    async with open_store(url) as later:
        epoch = await later.ledger.open_epoch(50)
        living = await open_books(later, epoch=epoch)
        await living.place()

        assert len(await later.ledger.dead_holds(2)) == 2
        dead = await later.ledger.dead_holds(10)
        assert [hold.epoch for hold, _ in dead] == [books.epoch] * 3
        for hold, _ in dead:
            await later.ledger.void(hold.id)
        assert await later.ledger.dead_holds(10) == []
        assert await books_amounts(later, books) == (1_000, 0)
        assert (await later.ledger.verify()).is_clean


async def books_amounts(store: Store, books: Books) -> tuple[int, int]:
    (wallet,) = await store.accounts.wallets(books.account.id)
    return wallet.balance, wallet.held


async def test_closing_twice_or_what_never_was_is_harmless(books: Books) -> None:
    await books.store.ledger.close_epoch(books.epoch, 9)
    await books.store.ledger.close_epoch(books.epoch, 10)


async def test_a_dead_hold_is_settled_by_one_of_two(books: Books, other_store: Store) -> None:
    hold_id = await books.place()
    await books.store.ledger.close_epoch(books.epoch, 9)

    await other_store.ledger.post(charge(hold_id))
    with pytest.raises(HoldAlreadyEnded):
        await books.store.ledger.void(hold_id)


@pytest.mark.parametrize("kind", [pytest.param("postgresql", marks=pytest.mark.postgresql)])
class TestServersSideBySide:
    """Only PostgreSQL has several servers on one database."""

    async def test_each_lives(self, books: Books, other_store: Store) -> None:
        neighbour = await open_books(other_store)
        await books.place()
        await neighbour.place()

        assert await books.store.ledger.dead_holds(10) == []
        assert await other_store.ledger.dead_holds(10) == []

    async def test_one_dies_and_the_other_sees_it(self, url: str, store: Store) -> None:
        living = await open_books(store)
        await living.place()
        async with open_store(url) as dying:
            books = await open_books(dying)
            hold_id = await books.place()
            assert await store.ledger.dead_holds(10) == []

        assert [hold.id for hold, _ in await store.ledger.dead_holds(10)] == [hold_id]

    async def test_a_server_that_lost_its_connection_lives_on(
        self, url: str, store: Store, other_store: Store
    ) -> None:
        books = await open_books(store)
        first = await books.place()
        end_all_sessions(url)
        # The other server may bury it before it is back; what it holds is dead then.
        await other_store.ledger.dead_holds(10)

        second = await books.place()

        assert await other_store.ledger.dead_holds(10) == []
        assert (await store.ledger.post(charge(first))).amount == 60
        assert (await store.ledger.post(charge(second))).amount == 60


def end_all_sessions(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
