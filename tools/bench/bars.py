"""What the figures must reach, and what they aim at: one row for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tools.bench import cached, full_store, keeping, streams, translated
from tools.bench.figures import Results, Spread, difference, ratio

JUDGED: Final = "128 connections"
"""The variant of (a) and (g) that the bars are about."""


@dataclass(frozen=True)
class Bar:
    """One bar. ``at_most`` says that less is better."""

    what: str
    must: float
    aim: float
    unit: str
    at_most: bool
    reached: Callable[[Results], Spread | None]

    def verdict(self, results: Results) -> str:
        """``aim``, ``must`` (reached, but not the aim), ``missed`` or ``not measured``."""
        spread = self.reached(results)
        if spread is None:
            return "not measured"
        if self._is_within(spread.median, self.aim):
            return "aim"
        return "must" if self._is_within(spread.median, self.must) else "missed"

    def _is_within(self, figure: float, bound: float) -> bool:
        return figure <= bound if self.at_most else figure >= bound


def _rate_against(subject: str) -> Callable[[Results], Spread | None]:
    return lambda results: ratio(
        results.find("a", JUDGED, "bandari"),
        results.find("a", JUDGED, subject),
        "requests_per_s",
    )


def _cpu_per_event(results: Results) -> Spread | None:
    own, limit = (results.find("b", streams.CPU, name) for name in ("bandari", "nginx"))
    return ratio(own, limit, "cpu_us_per_event")


def _added_delay(results: Results) -> Spread | None:
    names = ("bandari", streams.DIRECT)
    through, direct = (results.find("b", streams.DELAY, name) for name in names)
    return difference(through, direct, "delay_p99_ms")


def _dearest_translation(results: Results) -> Spread | None:
    """Of the pairs that this run has; nothing is said where one of them failed."""
    base = results.find("e", translated.VARIANT, translated.BASE.name)
    names = [pair.name for pair in translated.PAIRS if pair.is_translated]
    cells = [results.find("e", translated.VARIANT, name) for name in names]
    return _largest(ratio(cell, base, "cpu_us_per_event") for cell in cells if cell is not None)


def _full_against_empty(results: Results) -> Spread | None:
    full, empty = (results.find("g", JUDGED, name) for name in (full_store.FULL, full_store.EMPTY))
    return ratio(full, empty, "requests_per_s")


def _ready_to_resume(results: Results) -> Spread | None:
    ready, off = (
        results.find("i", keeping.VARIANT, name) for name in (keeping.DEFAULT, keeping.OFF)
    )
    return ratio(ready, off, "cpu_us_per_event")


def _bytes_per_byte(results: Results) -> Spread | None:
    """Of the recordings that take most."""
    return _largest(
        cell.spread("bytes_per_byte") for cell in results.cells.values() if cell.workload == "j"
    )


def _cached_against_relayed(results: Results) -> Spread | None:
    """In the form that gains less."""
    spreads = []
    for form in cached.FORMS:
        own, relayed = (results.find("k", form, name) for name in (cached.CACHED, cached.RELAYED))
        spreads.append(ratio(own, relayed, "requests_per_s"))
    found = [spread for spread in spreads if spread is not None]
    if len(found) < len(spreads):
        return None
    return min(found, key=lambda spread: spread.median)


def _largest(spreads: Iterable[Spread | None]) -> Spread | None:
    """Nothing where there is none, or where one of them is missing."""
    listed = list(spreads)
    found = [spread for spread in listed if spread is not None]
    if not found or len(found) < len(listed):
        return None
    return max(found, key=lambda spread: spread.median)


def _own(workload: str, figure: str) -> Callable[[Results], Spread | None]:
    def reached(results: Results) -> Spread | None:
        for cell in results.cells.values():
            if cell.workload == workload and cell.subject == "bandari":
                return cell.spread(figure)
        return None

    return reached


BARS: Final = (
    Bar("(a) requests/s against nginx", 0.08, 0.15, "×", False, _rate_against("nginx")),
    Bar("(a) requests/s against LiteLLM", 40, 100, "×", False, _rate_against("litellm")),
    Bar("(a) requests/s against Portkey", 5, 10, "×", False, _rate_against("portkey")),
    Bar("(a) requests/s, ledger on against off", 0.7, 0.9, "×", False, _rate_against("unbilled")),
    Bar("(b) CPU per event against nginx", 1.8, 1.3, "×", True, _cpu_per_event),
    Bar("(b) delay added at p99, 64 streams", 5, 2, "ms", True, _added_delay),
    Bar(
        "(e) CPU per event, the dearest translated stream against the same-protocol relay",
        1.6,
        1.3,
        "×",
        True,
        _dearest_translation,
    ),
    Bar("(f) memory per open stream", 50, 20, "KB", True, _own("f", "kb_per_stream")),
    Bar("(g) full store against empty", 0.9, 1.0, "×", False, _full_against_empty),
    Bar("(i) CPU per event, ready to resume against off", 1.1, 1.03, "×", True, _ready_to_resume),
    Bar("(j) memory per byte of stream", 1.5, 1.2, "bytes", True, _bytes_per_byte),
    Bar("(k) requests/s, cached against relayed", 1.5, 2.0, "×", False, _cached_against_relayed),
    Bar("idle memory, without the engine", 100, 60, "MB", True, _own("idle", "idle_mb")),
)
