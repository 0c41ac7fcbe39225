"""Receipts are found in the order in which they were charged, each once, wherever they lie."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from tests.contract.storage.books import Books, charge
from tests.contract.storage.conftest import Tamper
from tests.contract.storage.traffic import BEGIN_MS, Traffic

from bandari.adapters.storage import Store, receipt_pages
from bandari.adapters.storage.receipt_pages import ReceiptPages
from bandari.domain.ledger import Receipt
from bandari.domain.reports import HOUR_MS, Selection

ALL = Selection()


async def in_pages(
    store: Store, selection: Selection, limit: int, last: int | None = None
) -> list[Receipt]:
    found: list[tuple[int, Receipt]] = []
    while page := await store.reports.receipts(
        selection, found[-1][0] if found else 0, limit, last
    ):
        assert len(page) <= limit
        found += page
    numbers = [number for number, _ in found]
    assert numbers == sorted(set(numbers))
    return [receipt for _, receipt in found]


def expected(traffic: Traffic, selection: Selection, order: Sequence[Receipt]) -> list[Receipt]:
    selected = {receipt.id for _, receipt in traffic.selected(selection)}
    return [receipt for receipt in order if receipt.id in selected]


@pytest.mark.parametrize(
    ("look", "spans", "probe", "near"),
    [
        pytest.param(50_000, 500, 10, 50, id="as it is"),
        pytest.param(3, 500, 1, 0, id="short looks"),
        pytest.param(50_000, 2, 1, 0, id="few spans at once"),
        pytest.param(5, 3, 0, 1, id="all of it short, and no probe"),
    ],
)
async def test_what_is_selected_is_found(
    store: Store, monkeypatch: pytest.MonkeyPatch, look: int, spans: int, probe: int, near: int
) -> None:
    for name, value in (
        *(("MAX_LOOK", look), ("MAX_SPANS", spans)),
        *(("PROBE", probe), ("NEAR", near)),
    ):
        monkeypatch.setattr(receipt_pages, name, value)
    draw = random.Random(look + spans)
    traffic = Traffic(draw)
    await traffic.open(store)
    for limit in (0, 37, 1_000, 0):
        await traffic.serve(store, 40)
        await traffic.credit(store, traffic.accounts[0])
        if limit:
            await store.reports.roll_up(limit)
        order = await in_pages(store, ALL, 1_000)
        charged = {receipt.id: receipt for _, receipt in traffic.charged}
        assert {receipt.id: receipt for receipt in order} == charged
        for _ in range(12):
            selection = traffic.some_selection()
            told = await in_pages(store, selection, draw.choice((1, 3, 1_000)))
            assert told == expected(traffic, selection, order), selection


async def test_times_need_not_be_whole_hours(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipt_pages, "PROBE", 0)
    monkeypatch.setattr(receipt_pages, "NEAR", 0)
    traffic = Traffic(random.Random(1))
    await traffic.open(store)
    await traffic.serve(store, 150)
    await store.reports.roll_up(100)
    order = await in_pages(store, ALL, 1_000)
    for start, end in ((20 * 60_000, 50 * 60_000), (HOUR_MS - 1, HOUR_MS), (1, 3 * HOUR_MS + 1)):
        for account in (None, traffic.accounts[0].id):
            selection = Selection(
                start_ms=BEGIN_MS + start, end_ms=BEGIN_MS + end, account_id=account
            )
            told = await in_pages(store, selection, 1_000)
            assert told == expected(traffic, selection, order)
    assert await in_pages(store, Selection(start_ms=BEGIN_MS + 100 * HOUR_MS), 10) == []


async def test_few_receipts_are_looked_through_to_find_few(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer with one receipt among many."""
    store = books.store
    for hour in (0, 9):
        for _ in range(30):
            await store.ledger.post(charge(await books.place(), 1, ended_ms=hour * HOUR_MS))
    for _ in range(2):
        hold = books.hold(amount=1, model="rare", end_user="one")
        await store.ledger.place(hold)
        await store.ledger.post(charge(hold.id, 1, ended_ms=9 * HOUR_MS))
        for _ in range(30):
            await store.ledger.post(charge(await books.place(), 1, ended_ms=9 * HOUR_MS))
    await store.reports.roll_up(1_000)
    monkeypatch.setattr(receipt_pages, "PROBE", 1)
    monkeypatch.setattr(receipt_pages, "NEAR", 0)
    monkeypatch.setattr(receipt_pages, "MAX_LOOK", 3)
    looks = 0
    look = ReceiptPages.look

    def counted(*arguments: object) -> object:
        nonlocal looks
        looks += 1
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ReceiptPages, "look", counted)
    told = await store.reports.receipts(Selection(model="rare"), 0, 10)
    assert len(told) == 2
    assert looks == 1


async def test_spans_that_lie_within_each_other(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one hour: one of many who is there from first to last, and others in between."""
    store = books.store
    for number in range(40):
        end_user = "often" if number % 4 == 0 else f"{number % 4} {number // 12}"
        hold = books.hold(amount=1, end_user=end_user)
        await store.ledger.place(hold)
        await store.ledger.post(charge(hold.id, 1, ended_ms=5))
    order = await in_pages(store, ALL, 100)
    await store.reports.roll_up(100)
    monkeypatch.setattr(receipt_pages, "PROBE", 0)
    monkeypatch.setattr(receipt_pages, "NEAR", 0)
    looks: list[int] = []
    look = ReceiptPages.look

    def counted(*arguments: object) -> object:
        looks.append(1)
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ReceiptPages, "look", counted)
    for spans, least, limit in ((500, 50, 100), (500, 1, 100), (2, 1, 100), (3, 2, 1)):
        monkeypatch.setattr(receipt_pages, "MAX_SPANS", spans)
        monkeypatch.setattr(receipt_pages, "MAX_LOOK", least)
        looks.clear()
        async with asyncio.timeout(20):
            assert await in_pages(store, Selection(model="m"), limit) == order
            # No look has read more than it may.
            assert len(looks) * least >= len(order)
            often = [receipt for receipt in order if receipt.end_user == "often"]
            assert await in_pages(store, Selection(end_user="often"), limit) == often
            few = [receipt for receipt in order if receipt.end_user == "3 1"]
            assert len(few) == 3
            assert await in_pages(store, Selection(end_user="3 1"), limit) == few


async def test_what_is_charged_meanwhile_is_beyond_the_last_number(books: Books) -> None:
    store = books.store
    first = await store.ledger.post(charge(await books.place(), 1))
    last = await store.reports.last_number()
    second = await store.ledger.post(charge(await books.place(), 1))
    assert await in_pages(store, ALL, 10, last) == [first]
    assert await in_pages(store, ALL, 10) == [first, second]
    assert await in_pages(store, ALL, 10, 10**15) == [first, second]


async def test_numbers_may_be_missing(books: Books, tamper: Tamper) -> None:
    store = books.store
    for _ in range(3):
        await store.ledger.post(charge(await books.place(), 1))
    far = 10**15
    order = await in_pages(store, ALL, 10)
    tamper(
        *(
            f"UPDATE {table} SET {number} = {far} WHERE {number} = 4"
            for table, number in (
                *(("postings", "transaction_id"), ("receipts", "transaction_id")),
                ("transactions", "id"),
            )
        )
    )
    async with asyncio.timeout(5):
        assert await in_pages(store, Selection(model="m"), 10) == order
        assert await store.reports.roll_up(10) == 3
        assert await in_pages(store, Selection(model="m"), 1) == order
        assert await in_pages(store, Selection(model="o"), 1) == []


async def test_a_cursor_passes_over_nothing_that_comes_late(
    store: Store, other_store: Store
) -> None:
    """A reader who follows the books sees every receipt, whichever server charged it when."""
    traffic = Traffic(random.Random(3))
    await traffic.open(store)
    is_serving = True

    async def follow() -> list[str]:
        seen: list[str] = []
        after = 0
        while True:
            is_last = not is_serving
            page = await store.reports.receipts(ALL, after, 20)
            seen += [receipt.id for _, receipt in page]
            after = page[-1][0] if page else after
            if is_last and not page:
                return seen

    async def serve() -> None:
        nonlocal is_serving
        for _ in range(10):
            await asyncio.gather(traffic.serve(store, 10), traffic.serve(other_store, 10))
        is_serving = False

    seen, _ = await asyncio.gather(follow(), serve())
    assert sorted(seen) == sorted(receipt.id for _, receipt in traffic.charged)
