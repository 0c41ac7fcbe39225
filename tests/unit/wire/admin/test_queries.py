"""Queries: times, numbers, choices, and names that nobody knows."""

from __future__ import annotations

import time
from enum import StrEnum

import pytest

from bandari.domain.faults import InvalidRequest, InvalidValue, UnsupportedField
from bandari.domain.reports import Dimension
from bandari.wire.admin.queries import EARLIEST_MS, LATEST_MS, Query, read_time

KNOWN = ("a", "limit", "by", "start", "end")


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("text", "moment_ms"),
    [
        ("1700000000000", 1_700_000_000_000),
        (str(EARLIEST_MS), EARLIEST_MS),
        (str(LATEST_MS), LATEST_MS),
        ("2023-11-14", 1_699_920_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-14T22:13:20", 1_700_000_000_000),
        ("2023-11-14 22:13:20", 1_700_000_000_000),
        ("2023-11-14T22:13:20.5Z", 1_700_000_000_500),
        ("2023-11-14T22:13:20.000999Z", 1_700_000_000_000),
        ("2023-11-15T01:13:20+03:00", 1_700_000_000_000),
        ("2023-11-15T01:13:20 03:00", 1_700_000_000_000),
        ("2023-11-14T19:13:20-0300", 1_700_000_000_000),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
    ],
)
def test_a_time(text: str, moment_ms: int) -> None:
    assert read_time(text, "start") == moment_ms


def test_a_time_without_an_offset_is_in_utc_wherever_the_server_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Africa/Nairobi")
    time.tzset()
    try:
        assert read_time("2023-11-14T22:13:20", "start") == 1_700_000_000_000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-5",
        "1700000000",
        str(EARLIEST_MS - 1),
        str(LATEST_MS + 1),
        "9" * 500,
        "20231114",
        "2023",
        "2023-02-30",
        "yesterday",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1.7e12",
        "١٧٠٠٠٠٠٠٠٠٠٠٠",
    ],
)
def test_no_time(text: str) -> None:
    with pytest.raises(InvalidValue, match="'start' must be a time like") as caught:
        read_time(text, "start")
    assert caught.value.param == "start"
    assert len(caught.value.message) < 300


def test_what_is_said() -> None:
    query = Query("a=x%20y&a=z+%C3%A9&limit=5&by=day,model,day", KNOWN)
    assert query.text("a") == "z é"
    assert query.number("limit") == query.limit() == 5
    assert query.dimensions() == (Dimension.DAY, Dimension.MODEL)
    assert Query("a=red", KNOWN).choice("a", Colour) is Colour.RED


def test_what_is_not_said() -> None:
    for text in ("", "a=&limit=&by="):
        query = Query(text, KNOWN)
        assert query.text("a") is query.number("limit") is query.choice("a", Colour) is None
        assert (query.limit(), query.dimensions(), query.range_ms()) == (100, (), (None, None))


@pytest.mark.parametrize(
    ("text", "param"),
    [("b=1", "b"), ("a=1&limits=5", "limits"), ("A=1", "A"), ("%00=1", "\x00")],
)
def test_a_name_that_nobody_knows(text: str, param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        Query(text, KNOWN)
    assert caught.value.param == param


def test_the_nearest_parameter_is_named() -> None:
    with pytest.raises(
        UnsupportedField, match=r"no parameter 'limits' here\. Did you mean 'limit'"
    ):
        Query("limits=5", KNOWN)


@pytest.mark.parametrize("text", ["a=%00", "a=%0A", "a=" + "x" * 513])
def test_a_text_is_bounded(text: str) -> None:
    with pytest.raises(InvalidValue, match="'a' must be at most 512 printable"):
        Query(text, KNOWN).text("a")


@pytest.mark.parametrize("number", ["0", "1001", "-1", "1e2", "1.0", "0x5", "5 ", "٥", "9" * 99])
def test_a_number_is_bounded(number: str) -> None:
    with pytest.raises(InvalidValue, match="'limit' must be an integer between 1 and 1000"):
        Query(f"limit={number}", KNOWN).limit()


def test_a_choice_is_one_of_them() -> None:
    with pytest.raises(InvalidValue, match="'a' must be one of red, blue, and is 'green'"):
        Query("a=green", KNOWN).choice("a", Colour)
    with pytest.raises(InvalidValue, match="'by' must be one of hour"):
        Query("by=day,year", KNOWN).dimensions()


def test_a_query_is_bounded() -> None:
    with pytest.raises(InvalidRequest, match="more than 50 parameters"):
        Query("&".join(["a=1"] * 51), KNOWN)
