from __future__ import annotations

import pytest
from tests.support.memory_store import MemoryStore
from tests.support.reports_in_memory import ENDED_MS, ReportsInMemory, a_receipt

from bandari.domain.faults import CallerFault, InvalidRequest, InvalidValue, NotFound
from bandari.domain.reports import HOUR_MS, Dimension, Selection, UsageRow
from bandari.domain.usage import Usage
from bandari.service import reporting
from bandari.service.reporting import Reporting

ALL = Selection()
HOUR = ENDED_MS - ENDED_MS % HOUR_MS


@pytest.fixture
def reports():
    found = ReportsInMemory()
    found.book(1, *(a_receipt(number) for number in range(1, 6)))
    found.book(2, *(a_receipt(number, account="bob", end_user="u") for number in range(6, 8)))
    return found


@pytest.fixture
def asked(reports):
    return Reporting(reports=reports, ledger=reports, accounts=MemoryStore())


async def test_a_receipt_is_for_those_whose_it_is(asked):
    assert (await asked.receipt("receipt-6", 2)).id == "receipt-6"
    assert (await asked.receipt("receipt-6")).account == "bob"


async def test_it_cannot_be_told_whether_another_account_has_it(asked):
    told = set()
    for receipt_id in ("receipt-6", "receipt-99", "", "\0", "\ud800", "x" * 10_000):
        with pytest.raises(NotFound) as refused:
            await asked.receipt(receipt_id, 1)
        told.add((refused.value.message, refused.value.param, refused.value.code))
    assert len(told) == 1


async def test_pages_follow_each_other(asked):
    ids, after = [], 0
    sizes = []
    while after is not None:
        page = await asked.receipts(ALL, after, 3)
        ids += [receipt.id for receipt in page.receipts]
        sizes.append(len(page.receipts))
        after = page.next
    assert ids == [f"receipt-{number}" for number in range(1, 8)]
    assert sizes == [3, 3, 1]


async def test_a_last_page_that_is_full_says_that_it_is_the_last(asked):
    page = await asked.receipts(Selection(account_id=2), 0, 2)
    assert (len(page.receipts), page.next) == (2, None)


async def test_a_page_has_a_hundred_unless_it_is_said_otherwise(asked, reports):
    reports.book(1, *(a_receipt(number) for number in range(8, 200)))
    assert len((await asked.receipts(ALL)).receipts) == 100
    reports.book(1, *(a_receipt(number) for number in range(200, 1_200)))
    assert len((await asked.receipts(ALL, 0, 1_000)).receipts) == 1_000


async def test_an_export_ends_where_it_began(asked, reports, monkeypatch):
    monkeypatch.setattr(reporting, "MAX_PAGE", 3)
    ids = []
    async for page in asked.each_receipt(ALL):
        ids += [receipt.id for receipt in page]
        reports.book(1, a_receipt(50 + len(ids)))
    assert ids == [f"receipt-{number}" for number in range(1, 8)]
    assert reports.asked == 3


async def test_an_export_of_nothing_has_no_pages(asked):
    assert [page async for page in asked.each_receipt(Selection(model="none"))] == []


@pytest.mark.parametrize(
    ("param", "after", "limit", "selection"),
    [
        ("after", -1, 1, ALL),
        ("after", 2**53, 1, ALL),
        ("limit", 0, 0, ALL),
        ("limit", 0, 1_001, ALL),
        ("start", 0, 1, Selection(start_ms=-1)),
        ("start", 0, 1, Selection(start_ms=2**53)),
        ("end", 0, 1, Selection(end_ms=2**53)),
        ("end", 0, 1, Selection(start_ms=5, end_ms=5)),
        ("account_id", 0, 1, Selection(account_id=-1)),
        ("key_id", 0, 1, Selection(key_id=2**63)),
        ("end_user", 0, 1, Selection(end_user="a\0b")),
        ("model", 0, 1, Selection(model="\ud800")),
        ("model", 0, 1, Selection(model="m" * 1_001)),
    ],
)
async def test_what_is_out_of_bounds_is_named(asked, param, after, limit, selection):
    with pytest.raises(InvalidValue) as refused:
        await asked.receipts(selection, after, limit)
    assert refused.value.param == param
    assert f"'{param}'" in refused.value.message
    if selection is not ALL:
        with pytest.raises(InvalidValue):
            await asked.usage(selection)
        with pytest.raises(InvalidValue):
            await anext(asked.each_receipt(selection))


async def test_bounds_may_be_reached(asked):
    edge = 2**53 - 1
    page = await asked.receipts(Selection(start_ms=0, end_ms=edge, key_id=0), edge, 1)
    assert (page.receipts, page.next) == ([], None)


async def test_usage_is_added_up(asked):
    rows = await asked.usage(Selection(start_ms=HOUR, end_ms=HOUR + HOUR_MS), (Dimension.ACCOUNT,))
    assert [(row.account, row.requests, row.amount) for row in rows] == [
        ("amina", 5, 150),
        ("bob", 2, 60),
    ]


@pytest.mark.parametrize(
    ("param", "selection"),
    [
        ("start", Selection(start_ms=HOUR + 1)),
        ("end", Selection(start_ms=HOUR, end_ms=HOUR + 2 * HOUR_MS - 1)),
    ],
)
async def test_usage_is_of_whole_hours(asked, param, selection):
    with pytest.raises(InvalidValue) as refused:
        await asked.usage(selection)
    assert refused.value.param == param
    low = HOUR if param == "start" else HOUR + HOUR_MS
    assert f"send {low} or {low + HOUR_MS} " in refused.value.message
    assert await asked.receipts(selection)


async def test_usage_is_told_apart_by_one_time(asked):
    with pytest.raises(InvalidValue) as refused:
        await asked.usage(ALL, (Dimension.DAY, Dimension.KEY, Dimension.MONTH))
    assert refused.value.param == "by"


async def test_more_rows_than_may_be_are_not_cut_off(asked, reports, monkeypatch):
    monkeypatch.setattr(reporting, "MAX_USAGE_ROWS", 2)
    assert len(await asked.usage(ALL, (Dimension.ACCOUNT,))) == 2
    reports.book(3, a_receipt(8, account="carol"))
    with pytest.raises(InvalidRequest, match="more than 2 rows"):
        await asked.usage(ALL, (Dimension.ACCOUNT,))


async def test_many_rows_may_be_asked_for(asked, reports, monkeypatch):
    row = UsageRow(asset="TOKEN", requests=1, usage=Usage(), amount=0, overrun=0)

    async def usage(_selection, _by, limit):
        return [row] * min(limit, 10_000)

    monkeypatch.setattr(reports, "usage", usage)
    assert len(await asked.usage(ALL)) == 10_000


@pytest.mark.parametrize("name", ["nobody", "\ud800", "a\0"])
async def test_an_account_that_is_not_there(asked, name):
    with pytest.raises(CallerFault) as refused:
        await asked.account_id(name)
    assert (refused.value.status, refused.value.param) == (404, "account")
