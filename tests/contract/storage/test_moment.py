"""A moment of the books is read whole, in pages, and its snapshot ends as soon as it may."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import closing

import pytest
from tests.contract.storage.books import Books, charge
from tests.contract.storage.conftest import Tamper

from bandari.adapters.storage import moment, postgresql
from bandari.adapters.storage.database import Database
from bandari.adapters.storage.moment import Moment, Page
from bandari.adapters.storage.schema import postings, receipts, transactions
from bandari.adapters.storage.store import open_database

COLUMNS = (
    (transactions.c.id,),
    (postings.c.transaction_id, postings.c.position),
    (receipts.c.transaction_id,),
)


@pytest.fixture
async def books(books: Books) -> Books:
    """One credit and six charges."""
    for _ in range(6):
        await books.store.ledger.post(charge(await books.place(), 10))
    return books


@pytest.fixture
def database(url: str) -> Database:
    return open_database(url)


def read(database: Database) -> Sequence[Page]:
    with closing(database.connect_reader()) as connection:
        return list(Moment(database, connection, *COLUMNS).pages())


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 8])
async def test_every_row_is_on_one_page(
    books: Books, database: Database, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "PAGE", size)

    pages = await asyncio.to_thread(read, database)

    assert [page.last for page in pages] == [*range(size, 7, size), 7]
    assert [row for page in pages for row in page.transactions] == [(n,) for n in range(1, 8)]
    pairs = [(n, position) for n in range(1, 8) for position in (0, 1)]
    assert [row for page in pages for row in page.postings] == pairs
    assert [row for page in pages for row in page.receipts] == [(n,) for n in range(2, 8)]


async def test_there_may_be_nothing(store: object, database: Database) -> None:
    assert await asyncio.to_thread(read, database) == []


async def test_what_nobody_wrote_is_passed_over(
    books: Books, database: Database, tamper: Tamper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "PAGE", 1)
    far = 10**15
    tamper(
        *(f"DELETE FROM {table} WHERE transaction_id < 4" for table in ("postings", "receipts")),
        "DELETE FROM transactions WHERE id < 4",
        f"UPDATE postings SET transaction_id = {far} WHERE transaction_id = 6",
        f"UPDATE receipts SET transaction_id = {far} WHERE transaction_id = 6",
        f"UPDATE transactions SET id = {far} WHERE id = 6",
    )

    pages = await asyncio.to_thread(read, database)

    assert [page.last for page in pages] == [4, 5, 7, far]


async def test_what_damage_leaves_behind_is_not_all_kept_in_memory(
    books: Books, database: Database, tamper: Tamper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moment, "PAGE", 1)
    monkeypatch.setattr(moment, "MAX_UNSETTLED", 2)
    tamper("DELETE FROM transactions WHERE id > 4")

    pages = await asyncio.to_thread(read, database)

    assert [page.last for page in pages] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("lost_beyond", "is_kept"),
    [
        pytest.param(7, False, id="nothing is unsettled"),
        pytest.param(6, False, id="little is unsettled"),
        pytest.param(4, True, id="much is unsettled"),
    ],
)
async def test_when_the_snapshot_ends(
    books: Books,
    database: Database,
    tamper: Tamper,
    monkeypatch: pytest.MonkeyPatch,
    lost_beyond: int,
    is_kept: bool,
) -> None:
    monkeypatch.setattr(moment, "PAGE", 1)
    monkeypatch.setattr(moment, "MAX_UNSETTLED", 2)
    tamper(f"DELETE FROM transactions WHERE id > {lost_beyond}")

    def first_page_on_snapshot() -> list[bool]:
        with closing(database.connect_reader()) as connection:
            ended = []
            roll_back = connection.roll_back
            connection.roll_back = lambda: (ended.append(True), roll_back())  # type: ignore[method-assign]
            pages = Moment(database, connection, *COLUMNS).pages()
            next(pages)
            is_on_snapshot = not ended
            list(pages)
            return [is_on_snapshot, bool(ended)]

    assert await asyncio.to_thread(first_page_on_snapshot) == [is_kept, True]


@pytest.mark.parametrize("kind", [pytest.param("postgresql", marks=pytest.mark.postgresql)])
async def test_a_standby_keeps_its_snapshot(
    books: Books, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot take a number to wait for, nor see who is running."""
    in_recovery = postgresql._NEXT_TO_BEGIN.replace("pg_is_in_recovery()", "true")
    monkeypatch.setattr(postgresql, "_NEXT_TO_BEGIN", in_recovery)

    with closing(await asyncio.to_thread(database.connect_reader)) as connection:
        assert connection.settled() is None
    assert (await books.store.ledger.verify()).is_clean
