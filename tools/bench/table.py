"""What a run showed, as tables for people: the same cells for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tools.bench import cached, keeping, streams, translated
from tools.bench.bars import BARS, Bar
from tools.bench.figures import Cell, Results, Spread, difference, ratio
from tools.bench.full_store import EMPTY

NOTHING: Final = "–"
REASON_CHARACTERS: Final = 60


@dataclass(frozen=True)
class Section:
    """A table with its title, and a line of what must be known to read it."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Column:
    """A title, and what of a cell stands under it."""

    title: str
    spread: Callable[[Results, Cell], Spread | None]
    scale: float = 1.0


def _figure(title: str, name: str, scale: float = 1.0) -> Column:
    return Column(title, lambda _, cell: cell.spread(name), scale)


def _against(title: str, subject: str, name: str) -> Column:
    def spread(results: Results, cell: Cell) -> Spread | None:
        return ratio(cell, results.find(cell.workload, cell.variant, subject), name)

    return Column(title, spread)


def _sparing(title: str, subject: str, name: str) -> Column:
    """How often the cell's subject could do its work in what the other takes for it."""

    def spread(results: Results, cell: Cell) -> Spread | None:
        return ratio(results.find(cell.workload, cell.variant, subject), cell, name)

    return Column(title, spread)


def _beyond(title: str, subject: str, name: str) -> Column:
    def spread(results: Results, cell: Cell) -> Spread | None:
        return difference(cell, results.find(cell.workload, cell.variant, subject), name)

    return Column(title, spread)


_BUSY: Final = (
    _figure("load's core busy, %", "load_core_busy", 100),
    _figure("others on the gateway's, %", "gateway_core_others", 100),
)
_PEAK: Final = _figure("peak MB", "peak_mb")
_COMMIT: Final = _figure("median commit, ms", "median_commit_ms")


def _rates(against: str) -> tuple[Column, ...]:
    return (
        _figure("requests/s", "requests_per_s"),
        _against(f"× {against}", against, "requests_per_s"),
        _sparing(f"× {against} by CPU", against, "cpu_us_per_request"),
        _figure("p50 ms", "p50_ms"),
        _figure("p99 ms", "p99_ms"),
        _figure("CPU µs/request", "cpu_us_per_request"),
        _PEAK,
        _COMMIT,
        _figure("writes/commit", "operations_per_commit"),
        *_BUSY,
    )


def _per_event(against: str) -> tuple[Column, ...]:
    return (
        _figure("CPU µs/event", "cpu_us_per_event"),
        _against(f"× {against}", against, "cpu_us_per_event"),
        _figure("events/read", "events_per_read"),
        _figure("delay p99 ms", "delay_p99_ms"),
        _PEAK,
        *_BUSY,
    )


_DELAYS: Final = (
    _figure("delay p50 ms", "delay_p50_ms"),
    _figure("delay p99 ms", "delay_p99_ms"),
    _beyond("added p50 ms", streams.DIRECT, "delay_p50_ms"),
    _beyond("added p99 ms", streams.DIRECT, "delay_p99_ms"),
    _figure("events/read", "events_per_read"),
    *_BUSY,
)
_COLUMNS: Final[Mapping[tuple[str, str], Sequence[Column]]] = {
    ("b", streams.DELAY): _DELAYS,
    ("b", streams.CPU): _per_event("nginx"),
    ("e", ""): _per_event(translated.BASE.name),
    ("g", ""): _rates(EMPTY),
    ("f", ""): (
        _figure("KB per stream", "kb_per_stream"),
        _figure("MB before", "before_mb"),
        _figure("MB with them", "after_mb"),
    ),
    ("i", ""): (*_per_event(keeping.OFF), _COMMIT),
    ("j", ""): (
        _figure("bytes per byte", "bytes_per_byte"),
        _figure("KB of stream", "stream_kb"),
        _figure("KB of memory", "kb_per_stream"),
    ),
    ("k", ""): _rates(cached.RELAYED),
    ("idle", ""): (_figure("MB", "idle_mb"),),
    ("h", ""): (
        _figure("tokens/s", "tokens_per_s"),
        _against("× directly", "directly", "tokens_per_s"),
    ),
    ("books", ""): tuple(
        _figure(f"{title}, ms", name)
        for title, name in (
            ("directly", "direct"),
            ("through", "through"),
            ("one commit", "commit"),
            ("added", "added"),
            ("added beyond two commits (bar 1.5)", "beyond"),
        )
    ),
}

TITLES: Final = {
    "a": "(a) whole answers",
    "b": "(b) streams of 100 events, 10 ms apart",
    "c": "(c) whole answers from an upstream with TLS",
    "d": "(d) a prompt of 100 KB",
    "e": "(e) translated streams of 100 events, 10 ms apart",
    "f": "(f) open streams that are idle",
    "g": "(g) whole answers with a store that is full",
    "h": "(h) the engine in the box",
    "i": "(i) streams of (b) that can be read again",
    "j": "(j) memory of recordings",
    "k": "(k) answers from the cache, 128 connections",
    "idle": "memory without the engine",
    "books": "what the books add to one answer",
}


def sections(results: Results, notes: Mapping[str, str]) -> Iterator[Section]:
    """The bars first, then every workload that was run. ``notes`` follow the titles."""
    yield Section("Against the bars", "", _BAR_HEADER, [_bar_row(bar, results) for bar in BARS])
    for workload, title in TITLES.items():
        note = notes.get(workload, "")
        found = [cell for cell in results.cells.values() if cell.workload == workload]
        for variant in dict.fromkeys(cell.variant for cell in found):
            cells = [cell for cell in found if cell.variant == variant]
            columns = columns_of(workload, variant)
            header = ["subject", *(column.title for column in columns)]
            rows = [_row(results, cell, columns) for cell in cells]
            yield Section(f"{title}: {variant}", note, header, rows)
            note = ""


_BAR_HEADER: Final = ("figure", "must", "aim", "measured", "verdict")


def _bar_row(bar: Bar, results: Results) -> list[str]:
    sign = "≤" if bar.at_most else "≥"
    bounds = [f"{sign} {number(bound)} {bar.unit}" for bound in (bar.must, bar.aim)]
    return [bar.what, *bounds, shown(bar.reached(results)), bar.verdict(results)]


def _row(results: Results, cell: Cell, columns: Sequence[Column]) -> list[str]:
    if cell.failed is not None:
        why = cell.failed if cell.was_skipped else f"failed: {cell.failed}"
        short = why if len(why) <= REASON_CHARACTERS else f"{why[: REASON_CHARACTERS - 1]}…"
        return [cell.subject, short, *[NOTHING] * (len(columns) - 1)]
    spreads = (column.spread(results, cell) for column in columns)
    return [
        cell.subject,
        *(shown(spread, column.scale) for column, spread in zip(columns, spreads, strict=True)),
    ]


def columns_of(workload: str, variant: str) -> Sequence[Column]:
    """What is shown of that workload's cells."""
    return _COLUMNS.get((workload, variant)) or _COLUMNS.get((workload, "")) or _rates("nginx")


def shown(spread: Spread | None, scale: float = 1.0) -> str:
    """``median (least–most)``; the median alone where they do not differ to the eye."""
    if spread is None:
        return NOTHING
    median, least, most = (
        number(value * scale) for value in (spread.median, spread.least, spread.most)
    )
    return median if least == most else f"{median} ({least}–{most})"


def number(value: float) -> str:
    """Three digits that count, and all that stand before the point."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    decimals = 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{decimals}f}"


def plain(section: Section) -> Iterator[str]:
    """Lines for the terminal."""
    yield ""
    yield section.title
    if section.note:
        yield section.note
    lines = [section.header, *section.rows]
    widths = [max(len(line[at]) for line in lines) for at in range(len(section.header))]
    for line in lines:
        yield "  ".join(
            cell.ljust(width) for cell, width in zip(line, widths, strict=True)
        ).rstrip()


def markdown(section: Section) -> Iterator[str]:
    """Lines of a Markdown table."""
    yield ""
    yield f"**{section.title}**" + (f" ({section.note})" if section.note else "")
    yield ""
    yield _pipes(section.header)
    yield _pipes(["---"] + ["---:"] * (len(section.header) - 1))
    for row in section.rows:
        yield _pipes(row)


def _pipes(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
