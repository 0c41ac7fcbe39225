"""What the benchmark makes of its samples: spreads, ratios, verdicts and tables."""

from __future__ import annotations

import pytest
from tools.bench import cached, full_store, keeping, streams, table, translated
from tools.bench.bars import BARS, JUDGED, Bar
from tools.bench.figures import Cell, Results, Sample, Spread, difference, ratio


def cell(results: Results, workload: str, variant: str, subject: str, *samples: Sample) -> Cell:
    made = results.cell(workload, variant, subject)
    made.samples += samples
    return made


def rates(*figures: float) -> list[Sample]:
    return [{"requests_per_s": figure} for figure in figures]


def test_ratios_are_taken_repeat_by_repeat() -> None:
    results = Results()
    # The machine slows to a half in the second repeat: both are hit, and the ratio stays.
    own = cell(results, "a", "1", "bandari", *rates(10, 5, 12))
    limit = cell(results, "a", "1", "nginx", *rates(100, 50, 100))
    assert ratio(own, limit, "requests_per_s") == Spread(0.1, 0.1, 0.12)
    assert difference(limit, own, "requests_per_s") == Spread(88, 45, 90)


def test_there_is_no_ratio_to_what_failed_or_was_not_run() -> None:
    results = Results()
    own = cell(results, "a", "1", "bandari", *rates(10))
    failed = cell(results, "a", "1", "litellm", *rates(1))
    failed.failed = "status 500"
    empty = cell(results, "a", "1", "nginx")
    for other in (failed, empty, None):
        assert ratio(own, other, "requests_per_s") is None
        assert ratio(other, own, "requests_per_s") is None
    assert failed.spread("requests_per_s") is None


def test_failures_are_cells_without_figures_that_should_have_some() -> None:
    results = Results()
    cell(results, "a", "1", "bandari", *rates(10))
    empty = cell(results, "a", "1", "nginx")
    failed = cell(results, "a", "1", "litellm", *rates(1))
    failed.failed = "status 500"
    skipped = cell(results, "a", "1", "portkey")
    skipped.failed, skipped.was_skipped = "not installed", True
    assert results.failures() == [empty, failed]


@pytest.mark.parametrize(
    ("figure", "at_most", "verdict"),
    [
        (0.8, False, "missed"),
        (0.9, False, "must"),
        (1.0, False, "aim"),
        (1.1, True, "missed"),
        (1.0, True, "must"),
        (0.9, True, "aim"),
        (None, True, "not measured"),
    ],
)
def test_verdicts(figure: float | None, at_most: bool, verdict: str) -> None:
    spread = None if figure is None else Spread(figure, 0, 9)
    must, aim = (1.0, 0.9) if at_most else (0.9, 1.0)
    bar = Bar("it", must, aim, "×", at_most, lambda _: spread)
    assert bar.verdict(Results()) == verdict


def test_every_bar_finds_its_figure() -> None:
    results = Results()
    for subject in ("bandari", "nginx", "unbilled", "litellm", "portkey"):
        cell(results, "a", JUDGED, subject, *rates(10))
    for subject in (full_store.EMPTY, full_store.FULL):
        cell(results, "g", JUDGED, subject, *rates(10))
    for subject in ("bandari", "nginx"):
        cell(results, "b", streams.CPU, subject, {"cpu_us_per_event": 10})
    for subject in ("bandari", streams.DIRECT):
        cell(results, "b", streams.DELAY, subject, {"delay_p99_ms": 10})
    for pair in translated.PAIRS:
        cell(results, "e", translated.VARIANT, pair.name, {"cpu_us_per_event": 10})
    cell(results, "f", "2000 streams", "nginx", {"kb_per_stream": 1})
    cell(results, "f", "2000 streams", "bandari", {"kb_per_stream": 2})
    for subject in (keeping.OFF, keeping.DEFAULT):
        cell(results, "i", keeping.VARIANT, subject, {"cpu_us_per_event": 10})
    cell(results, "j", "100 events", keeping.FINISHED, {"bytes_per_byte": 4})
    for form in cached.FORMS:
        for subject in (cached.RELAYED, cached.CACHED):
            cell(results, "k", form, subject, *rates(10))
    cell(results, "idle", "after one answer", "bandari", {"idle_mb": 3})
    reached = [bar.reached(results) for bar in BARS]
    assert [spread and spread.median for spread in reached] == [
        *(1, 1, 1, 1, 1, 0, 1, 2, 1),
        *(1, 4, 1),
        3,
    ]
    for bar in BARS:
        assert bar.verdict(Results()) == "not measured"


def translations(**figures: float) -> Results:
    """Of the pairs that are named like ``chat_over_messages``; the base costs 10."""
    results = Results()
    for name, figure in {"chat_over_chat": 10.0, **figures}.items():
        pair = name.replace("_", " ")
        cell(results, "e", translated.VARIANT, pair, {"cpu_us_per_event": figure})
    return results


def dearest_translation(results: Results) -> Spread | None:
    (bar,) = (bar for bar in BARS if bar.what.startswith("(e)"))
    return bar.reached(results)


def test_the_dearest_translation_is_judged_and_no_relay_is() -> None:
    results = translations(
        chat_over_messages=12, responses_over_messages=15, responses_over_responses=90
    )
    assert dearest_translation(results) == Spread(1.5, 1.5, 1.5)


def test_no_translation_is_judged_where_one_of_them_failed() -> None:
    results = translations(chat_over_messages=12, messages_over_chat=12)
    results.cell("e", translated.VARIANT, "messages over chat").failed = "status 500"
    assert dearest_translation(results) is None


def reached(results: Results, workload: str) -> Spread | None:
    (bar,) = (bar for bar in BARS if bar.what.startswith(f"({workload})"))
    return bar.reached(results)


def test_the_recordings_that_take_most_are_judged_and_none_where_one_is_missing() -> None:
    results = Results()
    cell(results, "j", "100 events", keeping.FINISHED, {"bytes_per_byte": 1.2})
    cell(results, "j", "2,000 events", keeping.RUNNING, {"bytes_per_byte": 1.4})
    assert reached(results, "j") == Spread(1.4, 1.4, 1.4)
    results.cell("j", "100 events", keeping.RUNNING).failed = "status 500"
    assert reached(results, "j") is None


def test_the_form_that_gains_less_from_the_cache_is_judged_and_none_where_one_is_missing() -> None:
    results = Results()
    for factor, form in enumerate(cached.FORMS, 2):
        assert reached(results, "k") is None
        cell(results, "k", form, cached.RELAYED, *rates(10))
        cell(results, "k", form, cached.CACHED, *rates(10 * factor))
    assert reached(results, "k") == Spread(2, 2, 2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0834, "0.083"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (62_500, "62,500"),
        (-3.14, "-3.14"),
    ],
)
def test_numbers_have_three_digits_that_count(value: float, text: str) -> None:
    assert table.number(value) == text


def test_a_spread_is_left_out_where_nothing_is_spread() -> None:
    assert table.shown(Spread(2, 1, 3)) == "2.00 (1.00–3.00)"
    assert table.shown(Spread(0.5, 0.5, 0.5), 100) == "50.0"
    assert table.shown(None) == table.NOTHING


def test_tables_say_who_failed_and_who_is_missing() -> None:
    results = Results()
    cell(results, "a", JUDGED, "nginx", {"requests_per_s": 100, "load_core_busy": 0.5})
    failed = cell(results, "a", JUDGED, "litellm")
    failed.failed = "status 500 " + "x" * 100
    skipped = cell(results, "a", JUDGED, "portkey")
    skipped.failed, skipped.was_skipped = "not installed: make bench-peers", True
    bars, whole, *_ = table.sections(results, {"a": "a note"})
    assert len(bars.rows) == len(BARS)
    assert whole.note == "a note"
    limit, one, other = whole.rows
    assert limit[:3] == ["nginx", "100", "1.00"]
    assert "50.0" in limit
    assert one[1].startswith("failed: status 500")
    assert len(one[1]) == table.REASON_CHARACTERS
    assert other[1] == "not installed: make bench-peers"
    assert {len(row) for row in whole.rows} == {len(whole.header)}


def test_every_workload_has_columns_and_both_forms_have_every_cell() -> None:
    results = Results()
    variants = {"b": (streams.DELAY, streams.CPU)}
    for workload in table.TITLES:
        for variant in variants.get(workload, ("some",)):
            cell(results, workload, variant, "bandari", {"requests_per_s": 1})
    for section in table.sections(results, {}):
        plain, markdown = list(table.plain(section)), list(table.markdown(section))
        for row in section.rows:
            assert any(line.startswith(row[0]) for line in plain)
            assert any(line.startswith(f"| {row[0]}") for line in markdown)
