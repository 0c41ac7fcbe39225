"""Receipts and usage of all accounts: pages, filters, and files that are sent as they are read."""

from __future__ import annotations

import asyncio
import csv
import io
import json

import pytest
from tests.support.client import Client
from tests.support.gates import Gate, until, until_idle
from tests.support.operated_house import ADMIN_KEY
from tests.support.reports_in_memory import ENDED_MS, a_receipt

from bandari.domain.accounts import Role
from bandari.domain.faults import StoreUnavailable
from bandari.service.reporting import MAX_PAGE
from bandari.web.exports import MAX_EXPORTS_OF_ONE

RECEIPTS, USAGE = "/admin/v1/receipts", "/admin/v1/usage"


@pytest.fixture
async def busy(house):
    """Two accounts with five receipts each, of three keys."""
    await house.told("POST", "/admin/v1/accounts", {"name": "baraka"})
    for number in range(1, 6):
        house.reports.book(1, a_receipt(number, key_id=number % 2 + 1, model=f"model-{number % 2}"))
        house.reports.book(
            2, a_receipt(number + 5, account="baraka", key_id=3, end_user="=juma", asset="KES")
        )
    return house


def ids(listed) -> list[str]:
    return [each["id"] for each in listed["data"]]


async def test_receipts_come_page_by_page(busy):
    everything = await busy.told("GET", RECEIPTS)
    assert (len(everything["data"]), everything["next"]) == (10, None)
    seen, after = [], 0
    while after is not None:
        page = await busy.told("GET", f"{RECEIPTS}?limit=3&after={after}")
        seen += page["data"]
        after = page["next"]
    assert seen == everything["data"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("account=amina", 5),
        ("account=baraka", 5),
        ("key=2", 3),
        ("key=3&account=amina", 0),
        ("model=model-0", 2),
        ("end_user==juma", 5),
        (f"start={ENDED_MS + 4}", 7),
        (f"end={ENDED_MS + 4}", 3),
        (f"start={ENDED_MS + 2}&end={ENDED_MS + 4}", 2),
        ("start=2023-11-14", 10),
        ("start=2023-11-15", 0),
        ("start=2023-11-14T22:13:20.004Z", 7),
        ("start=2023-11-15T01:13:20.004%2B03:00", 7),
        ("start=2023-11-15T01:13:20.004+03:00", 7),
        ("account=amina&key=2&model=model-1", 3),
    ],
)
async def test_receipts_are_filtered(busy, query, count):
    assert len(ids(await busy.told("GET", f"{RECEIPTS}?{query}"))) == count


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("acount=amina", "acount"),
        ("key=this", "key"),
        ("key=-1", "key"),
        ("start=yesterday", "start"),
        ("start=1700000000", "start"),
        ("start=2023-13-01", "start"),
        ("end=9" + "0" * 30, "end"),
        ("start=2024-01-01&end=2023-01-01", "end"),
        ("end_user=%00", "end_user"),
        ("model=" + "x" * 600, "model"),
        ("format=xml", "format"),
        ("limit=0", "limit"),
        ("after=x", "after"),
    ],
)
async def test_a_wrong_question_names_the_parameter(busy, query, field):
    status, _, named = await busy.refused("GET", f"{RECEIPTS}?{query}")
    assert (status, named) == (400, field)


async def test_too_many_parameters(busy):
    query = "&".join(f"p{number}=1" for number in range(60))
    assert (await busy.refused("GET", f"{RECEIPTS}?{query}"))[0] == 400


async def test_an_account_that_is_not_there(busy):
    for path in (RECEIPTS, USAGE):
        assert await busy.refused("GET", f"{path}?account=none") == (404, "not_found", "account")


async def test_one_receipt(busy):
    found = await busy.told("GET", f"{RECEIPTS}/receipt-7")
    assert (found["object"], found["account"], found["target"]) == (
        "receipt",
        "baraka",
        "acme:acme-1",
    )
    assert (await busy.refused("GET", f"{RECEIPTS}/receipt-99"))[:2] == (404, "not_found")


async def test_usage_is_added_up(busy):
    everything = await busy.told("GET", USAGE)
    assert [(row["asset"], row["requests"]) for row in everything["data"]] == [
        ("TOKEN", 5),
        ("KES", 5),
    ]
    told = await busy.told("GET", f"{USAGE}?by=day,model&account=amina")
    assert told["by"] == ["day", "model"]
    assert [(row["start"], row["model"], row["requests"]) for row in told["data"]] == [
        ("2023-11-14T00:00:00.000Z", "model-1", 3),
        ("2023-11-14T00:00:00.000Z", "model-0", 2),
    ]
    assert "account" not in told["data"][0]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("by=week", "by"),
        ("by=day,hour", "by"),
        ("by=day,", "by"),
        ("start=2023-11-14T22:13:00Z", "start"),
        ("end=2023-11-14T22:13:00Z", "end"),
        ("limit=5", "limit"),
        ("after=5", "after"),
    ],
)
async def test_a_wrong_sum_names_the_parameter(busy, query, field):
    status, _, named = await busy.refused("GET", f"{USAGE}?{query}")
    assert (status, named) == (400, field)


# -- files -----------------------------------------------------------------------------------------


async def test_receipts_as_csv(busy):
    client = await busy.ask("GET", f"{RECEIPTS}?format=csv&account=baraka")
    assert client.headers["content-type"].startswith("text/csv")
    assert client.headers["content-disposition"] == 'attachment; filename="receipts.csv"'
    assert client.ended
    rows = list(csv.DictReader(io.StringIO(client.body.decode())))
    assert [row["id"] for row in rows] == [f"receipt-{number}" for number in range(6, 11)]
    assert {row["end_user"] for row in rows} == {"'=juma"}


async def test_receipts_as_json_lines(busy):
    client = await busy.ask("GET", f"{RECEIPTS}?format=jsonl")
    lines = [json.loads(line) for line in client.body.splitlines()]
    assert lines == (await busy.told("GET", RECEIPTS))["data"]
    assert client.headers["content-type"] == "application/x-ndjson"


async def test_usage_as_a_file(busy):
    told = await busy.told("GET", f"{USAGE}?by=model")
    client = await busy.ask("GET", f"{USAGE}?by=model&format=jsonl")
    assert [json.loads(line) for line in client.body.splitlines()] == told["data"]
    client = await busy.ask("GET", f"{USAGE}?by=model&format=csv")
    rows = list(csv.DictReader(io.StringIO(client.body.decode())))
    assert [row["requests"] for row in rows] == [str(row["requests"]) for row in told["data"]]


@pytest.mark.parametrize("path", [RECEIPTS, USAGE])
async def test_a_file_of_nothing_has_its_head(busy, path):
    client = await busy.ask("GET", f"{path}?format=csv&key=99")
    assert (client.status, client.body.count(b"\r\n")) == (200, 1)
    client = await busy.ask("GET", f"{path}?format=jsonl&key=99")
    assert (client.status, client.body, client.ended) == (200, b"", True)


async def test_a_mistake_is_told_before_the_file_begins(busy):
    busy.reports.failing = StoreUnavailable()
    assert (await busy.refused("GET", f"{RECEIPTS}?format=csv"))[:2] == (503, "store_unavailable")
    assert (await busy.refused("GET", f"{RECEIPTS}?format=csv&start=x"))[2] == "start"


# -- large ones ------------------------------------------------------------------------------------

PAGES = 4


@pytest.fixture
def large(house):
    """Four pages of receipts."""
    house.reports.book(1, *(a_receipt(number) for number in range(PAGES * MAX_PAGE)))
    return house


async def test_a_large_file_is_whole(large):
    client = await large.ask("GET", f"{RECEIPTS}?format=jsonl")
    assert client.ended
    numbers = [json.loads(line)["id"] for line in client.body.splitlines()]
    assert numbers == [f"receipt-{number}" for number in range(PAGES * MAX_PAGE)]
    assert large.reports.asked == PAGES


async def test_head_sends_no_file(large):
    client = await large.ask("HEAD", f"{RECEIPTS}?format=csv")
    assert (client.status, client.body, client.ended) == (200, b"", True)
    assert large.reports.asked == 1


async def test_what_is_charged_meanwhile_is_not_in_it(large):
    large.reports.gate = Gate()
    client = Client(b"")
    task = large.begin(client, f"{RECEIPTS}?format=jsonl")
    await large.reports.gate.reached.wait()
    large.reports.book(1, a_receipt(99_999))
    large.reports.gate.open()
    await task
    assert client.body.count(b"\n") == PAGES * MAX_PAGE


async def test_a_client_that_stalls_is_given_no_more(large):
    client = Client(b"")
    client.not_reading = Gate()
    task = large.begin(client, f"{RECEIPTS}?format=csv")
    await client.not_reading.reached.wait()
    await until_idle()
    assert large.reports.asked == 1
    client.not_reading.open()
    await task
    assert client.body.count(b"\n") == PAGES * MAX_PAGE + 1
    assert client.ended


async def test_a_client_that_leaves_costs_no_more(large):
    client = Client(b"")
    client.not_reading = Gate()
    task = large.begin(client, f"{RECEIPTS}?format=csv")
    await client.not_reading.reached.wait()
    client.disconnect()
    client.not_reading.open()
    await task
    assert large.reports.asked <= 2
    assert large.exports._running.total() == 0


async def test_a_file_that_breaks_off_has_no_end(large):
    client = Client(b"")
    client.not_reading = Gate()
    task = large.begin(client, f"{RECEIPTS}?format=csv")
    await client.not_reading.reached.wait()
    large.reports.failing = StoreUnavailable()
    client.not_reading.open()
    await task
    assert (client.status, client.ended) == (200, False)
    assert large.exports._running.total() == 0


async def test_nobody_keeps_the_others_from_their_files(large):
    """One operator has as many under way as he may; another has his, and he again when one ends."""
    stalled = []
    for _ in range(MAX_EXPORTS_OF_ONE):
        client = Client(b"")
        client.not_reading = Gate()
        stalled.append((client, large.begin(client, f"{RECEIPTS}?format=csv")))
        await client.not_reading.reached.wait()
    assert (await large.refused("GET", f"{RECEIPTS}?format=csv"))[:2] == (503, "overloaded")
    assert (await large.ask("GET", RECEIPTS)).status == 200
    other = large.admin_keys[Role.AUDITOR]
    assert (await large.ask("GET", f"{RECEIPTS}?format=csv", key=other)).status == 200
    client, task = stalled.pop()
    client.not_reading.open()
    await task
    assert (await large.ask("GET", f"{RECEIPTS}?format=csv", key=ADMIN_KEY)).status == 200
    for client, task in stalled:
        client.disconnect()
        client.not_reading.open()
        await task
    await until(lambda: large.exports._running.total() == 0)
    await asyncio.sleep(0)
