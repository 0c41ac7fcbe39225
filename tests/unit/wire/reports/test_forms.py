"""Receipts and usage, spelled: JSON, JSON Lines and CSV say the same."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from msgspec.structs import replace

from bandari.domain.estimate import Basis, Ratios
from bandari.domain.ledger import Ending, Receipt
from bandari.domain.pricing import PriceRatio
from bandari.domain.reports import Dimension, UsageRow
from bandari.domain.usage import CountRule, Usage
from bandari.wire.reports import bodies, tables
from bandari.wire.reports.exports import EXPORTS
from bandari.wire.reports.fields import iso

RECEIPT = Receipt(
    id="r-1",
    account="amina",
    key_id=3,
    model="bandari-1",
    target="acme:one",
    asset="KES",
    amount=450,
    overrun=7,
    balance_after=9_550,
    rate_card_version=2,
    usage=Usage(100, 50, cached_tokens=20, cache_write_tokens=10, reasoning_tokens=30),
    rule=CountRule.ESTIMATED,
    basis=Basis(input_bytes=400, images=1, output_bytes=190, ratios=Ratios(250_000, 260_000)),
    ending=Ending.CLIENT_LEFT,
    created_ms=1_767_225_599_001,
    ended_ms=1_767_225_600_000,
    end_user="zoë",
    finish_reason="stop",
    reasoning_effort="low",
    price_ratio=PriceRatio(3, 4),
    repeated_tokens=70,
)
TOLD = {
    "id": "r-1",
    "account": "amina",
    "key_id": 3,
    "end_user": "zoë",
    "model": "bandari-1",
    "target": "acme:one",
    "asset": "KES",
    "amount": 450,
    "overrun": 7,
    "balance_after": 9550,
    "rate_card_version": 2,
    "price_ratio": "3/4",
    "usage": {
        "input_tokens": 100,
        "cached_tokens": 20,
        "cache_write_tokens": 10,
        "output_tokens": 50,
        "reasoning_tokens": 30,
        "total_tokens": 150,
    },
    "repeated_tokens": 70,
    "rule": "estimated",
    "basis": {
        "input_bytes": 400,
        "images": 1,
        "output_bytes": 190,
        "input_ratio": 250_000,
        "output_ratio": 260_000,
    },
    "ending": "client_left",
    "finish_reason": "stop",
    "reasoning_effort": "low",
    "created_ms": 1_767_225_599_001,
    "created": "2025-12-31T23:59:59.001Z",
    "ended_ms": 1_767_225_600_000,
    "ended": "2026-01-01T00:00:00.000Z",
}
BARE = replace(
    RECEIPT, basis=None, end_user=None, finish_reason=None, reasoning_effort=None, amount=0
)
ROW = UsageRow(
    asset="TOKEN",
    requests=2,
    usage=Usage(10, 5, cached_tokens=1),
    amount=15,
    overrun=0,
    start_ms=1_767_225_600_000,
    account="amina",
    key_id=3,
    end_user="",
    model="bandari-1",
)
BY = (Dimension.MONTH, *(Dimension.ACCOUNT, Dimension.KEY), Dimension.END_USER, Dimension.MODEL)


def read(table: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.decode(), newline="")))


def flat(told: dict[str, Any]) -> dict[str, str]:
    """What a row of a table has to say where an object of JSON says ``told``."""
    inner = {**told.pop("usage"), **(told.pop("basis", None) or {})}
    return {name: "" if value is None else str(value) for name, value in (told | inner).items()}


def test_a_receipt_is_told_whole():
    assert json.loads(bodies.receipt_body(RECEIPT)) == {"object": "receipt", **TOLD}


def test_what_is_not_known_of_a_receipt_is_null():
    told = json.loads(bodies.receipt_body(BARE))
    for name in ("basis", "end_user", "finish_reason", "reasoning_effort"):
        assert told[name] is None


def test_a_page_says_where_the_next_begins():
    told = json.loads(bodies.receipts_body([RECEIPT, BARE], 17))
    assert [entry["amount"] for entry in told["data"]] == [450, 0]
    assert (told["object"], told["next"]) == ("list", 17)
    assert json.loads(bodies.receipts_body([], None)) == {
        "object": "list",
        "data": [],
        "next": None,
    }


def test_a_customer_is_not_told_the_target():
    assert b"acme" not in bodies.receipt_body(RECEIPT, tells_target=False)
    assert b"acme" not in bodies.receipts_body([RECEIPT], None, tells_target=False)
    assert b"acme" not in bodies.receipt_lines([RECEIPT], tells_target=False)
    header = tables.receipts_header(tells_target=False)
    table = header + tables.receipt_rows([RECEIPT], tells_target=False)
    assert b"target" not in header
    assert b"acme" not in table
    assert read(table)[0]["overrun"] == "7"


def test_usage_says_what_it_is_told_apart_by():
    told = json.loads(bodies.usage_body([ROW], BY))
    assert told["by"] == ["month", "account", "key", "end_user", "model"]
    assert told["data"] == [
        {
            "start_ms": 1_767_225_600_000,
            "start": "2026-01-01T00:00:00.000Z",
            "account": "amina",
            "key_id": 3,
            "end_user": "",
            "model": "bandari-1",
            "asset": "TOKEN",
            "requests": 2,
            "amount": 15,
            "overrun": 0,
            "usage": {
                "input_tokens": 10,
                "cached_tokens": 1,
                "cache_write_tokens": 0,
                "output_tokens": 5,
                "reasoning_tokens": 0,
                "total_tokens": 15,
            },
        }
    ]
    (bare,) = json.loads(bodies.usage_body([ROW], ()))["data"]
    assert list(bare) == ["asset", "requests", "amount", "overrun", "usage"]


def test_lines_are_the_objects_one_by_one():
    lines = bodies.receipt_lines([RECEIPT, BARE])
    assert lines.endswith(b"}\n")
    told = [json.loads(line) for line in lines.splitlines()]
    assert told[0] == TOLD
    assert len(told) == 2
    assert json.loads(bodies.usage_lines([ROW], BY))["requests"] == 2
    assert bodies.receipt_lines([]) == bodies.usage_lines([], BY) == b""


@pytest.mark.parametrize("receipt", [RECEIPT, BARE])
def test_a_table_says_what_the_objects_say(receipt):
    table = tables.receipts_header() + tables.receipt_rows([receipt, receipt])
    rows = read(table)
    expected = flat(json.loads(bodies.receipt_lines([receipt])))
    basis = dict.fromkeys(TOLD["basis"], "")
    assert rows == [basis | expected] * 2
    assert len(rows[0]) == len(tables.receipts_header().split(b","))


@pytest.mark.parametrize("by", [(), BY, (Dimension.KEY, Dimension.HOUR)])
def test_a_table_of_usage_says_what_the_objects_say(by):
    rows = read(tables.usage_header(by) + tables.usage_rows([ROW], by))
    expected = flat(json.loads(bodies.usage_lines([ROW], by)))
    assert rows == [expected]
    told_apart = list(expected)[: len(rows[0]) - 10]
    assert list(rows[0])[: len(told_apart)] == told_apart


def test_rows_end_as_the_standard_says():
    assert tables.receipts_header().endswith(b",ended\r\n")
    assert tables.receipt_rows([RECEIPT]).count(b"\r\n") == 1
    assert tables.receipt_rows([]) == b""


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("plain", b"plain"),
        ("", b""),
        ("a,b", b'"a,b"'),
        ('say "so"', b'"say ""so"""'),
        ("two\nlines", b'"two\nlines"'),
        ("two\rlines", b'"two\rlines"'),
        ("zoë", "zoë".encode()),
        ("=1+1", b"'=1+1"),
        ("+1", b"'+1"),
        ("-1", b"'-1"),
        ("@sum(a,b)", b'"\'@sum(a,b)"'),
        ("\tx", b"'\tx"),
        ("\rx", b'"\'\rx"'),
        ("\uff1d1", "'\uff1d1".encode()),
        ("a=b", b"a=b"),
    ],
)
def test_texts_are_quoted_and_no_formulas(text, spelled):
    row = tables.usage_rows([replace(ROW, end_user=text)], (Dimension.END_USER,))
    assert row == spelled + b",TOKEN,2,15,0,10,1,0,5,0,15\r\n"


def test_negative_numbers_are_numbers():
    row = tables.receipt_rows([replace(RECEIPT, balance_after=-5)])
    assert b",-5," in row


def test_every_export_begins_with_its_head():
    assert EXPORTS["csv"].receipts_head == tables.receipts_header()
    assert EXPORTS["csv"].usage_head(BY) == tables.usage_header(BY)
    assert EXPORTS["jsonl"].receipts_head == EXPORTS["jsonl"].usage_head(BY) == b""
    for export in EXPORTS.values():
        assert export.receipts([RECEIPT]).count(b"\n") == 1
        assert export.usage([ROW], BY).count(b"\n") == 1


@pytest.mark.parametrize(
    ("at_ms", "told"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999, "1970-01-01T00:00:00.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, None),
        (2**53 - 1, None),
    ],
)
def test_a_moment_is_told_to_the_millisecond(at_ms, told):
    assert iso(at_ms) == told
