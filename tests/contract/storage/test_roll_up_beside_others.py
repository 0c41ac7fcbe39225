"""Adding up while other servers' transactions run: only PostgreSQL lets several write at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from tests.contract.storage.books import Books, charge

from bandari.adapters.storage import roll_up
from bandari.adapters.storage.roll_up import RollUp
from bandari.adapters.storage.schema import receipts
from bandari.domain.reports import Selection

ALL = Selection()
pytestmark = pytest.mark.parametrize(
    "kind", [pytest.param("postgresql", marks=pytest.mark.postgresql)]
)


@pytest.fixture
def other(url: str) -> Iterator[psycopg.Connection[object]]:
    """Another server's transaction."""
    with psycopg.connect(url) as connection:
        yield connection


def charge_again(server: psycopg.Connection[object], receipt_id: str) -> int:
    """Enter a receipt like the first, under a number of its own; the wallet is left out of it."""
    row = server.execute(
        "INSERT INTO transactions (kind, created_ms) VALUES ('charge', 1) RETURNING id"
    ).fetchone()
    assert isinstance(row, tuple)
    changed = {"id": f"'{receipt_id}'", "transaction_id": str(row[0])}
    values = ", ".join(changed.get(column.name, column.name) for column in receipts.columns)
    server.execute(
        f"INSERT INTO receipts SELECT {values} FROM receipts WHERE id = 'first'".encode()
    )
    return int(row[0])


async def test_what_is_committed_late_is_passed_over_by_nobody(
    books: Books, other: psycopg.Connection[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roll_up, "SETTLING_S", 0.05)
    monkeypatch.setattr("bandari.adapters.storage.reports.SETTLING_S", 0.05)
    reports = books.store.reports
    await books.store.ledger.post(charge(await books.place("first", 1), 1))
    assert await reports.roll_up(10) == 1

    late = await asyncio.to_thread(charge_again, other, "late")
    with psycopg.connect(other.info.dsn, autocommit=True) as third:
        assert await asyncio.to_thread(charge_again, third, "early") > late

    assert await reports.roll_up(10) == 0
    assert [receipt.id for _, receipt in await reports.receipts(ALL, 0, 10)] == ["first"]
    (usage,) = await reports.usage(ALL, (), 10)
    assert usage.requests == 2

    await asyncio.to_thread(other.commit)
    assert await reports.roll_up(10) == 2
    told = [receipt.id for _, receipt in await reports.receipts(ALL, 0, 10)]
    assert told == ["first", "late", "early"]
    (usage,) = await reports.usage(ALL, (), 10)
    assert usage.requests == 3


async def test_who_finds_another_adding_up_does_not_wait(
    books: Books, other: psycopg.Connection[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await books.store.ledger.post(charge(await books.place(amount=1), 1))
    reports = books.store.reports
    settled = await reports.last_number()
    monkeypatch.setattr(RollUp, "settled", lambda *_: settled)
    await asyncio.to_thread(other.execute, "SELECT * FROM usage_progress FOR UPDATE")
    async with asyncio.timeout(5):
        assert await reports.roll_up(10) == 0
    await asyncio.to_thread(other.rollback)
    assert await reports.roll_up(10) == 3
