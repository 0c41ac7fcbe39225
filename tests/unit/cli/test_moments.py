"""Times as they are typed."""

from __future__ import annotations

import pytest

from bandari.cli import moments
from bandari.cli.failure import CommandFailed

NOW_MS = 1_800_000_000_000  # 2027-01-15 08:00 UTC
HOUR_MS = 3_600_000


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch):
    monkeypatch.setattr(moments, "now_ms", lambda: NOW_MS)


@pytest.mark.parametrize(
    ("text", "span_ms"),
    [("0", 0), ("5s", 5_000), ("90m", 5_400_000), ("24h", 24 * HOUR_MS), ("2w", 336 * HOUR_MS)],
)
def test_a_span(text, span_ms):
    assert moments.span_ms(text, "--o") == span_ms


@pytest.mark.parametrize("text", ["", "5", "-5s", "5y", "1.5h", "5 s", "1234567s", "٣s"])
def test_what_is_no_span(text):
    with pytest.raises(CommandFailed, match=r"--o: .* is not a time span") as caught:
        moments.span_ms(text, "--o")
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2027-01-16", NOW_MS + 16 * HOUR_MS),
        ("2027-01-15T09:00", NOW_MS + HOUR_MS),
        ("2027-01-15 09:00:00Z", NOW_MS + HOUR_MS),
        ("2027-01-15T09:00+01:00", NOW_MS),
        ("1h", NOW_MS - HOUR_MS),
        ("90m", NOW_MS - 2 * HOUR_MS),
    ],
)
def test_a_moment(text, at_ms):
    assert moments.moment_past(text, "--o") == moments.hour_past(text, "--o") == at_ms


def test_a_moment_to_come():
    assert moments.moment_to_come("90m", "--o") == NOW_MS + 5_400_000
    assert moments.moment_to_come("2027-01-16", "--o") == NOW_MS + 16 * HOUR_MS
    for text in ("2027-01-15T08:00", "2020-01-01"):
        with pytest.raises(CommandFailed, match="has passed"):
            moments.moment_to_come(text, "--o")


@pytest.mark.parametrize("text", ["", "tomorrow", "2027-13-01", "5y"])
def test_what_is_no_moment(text):
    for reading in (moments.moment_past, moments.moment_to_come):
        with pytest.raises(CommandFailed, match="is neither a date or time"):
            reading(text, "--o")


def test_within_an_hour_there_is_a_moment_and_no_hour():
    assert moments.moment_past("2027-01-15T08:30", "--o") == NOW_MS + HOUR_MS // 2
    with pytest.raises(CommandFailed, match="--o: '2027-01-15T08:30' is within an hour"):
        moments.hour_past("2027-01-15T08:30", "--o")
    assert moments.hour_past(None, "--o") is None
