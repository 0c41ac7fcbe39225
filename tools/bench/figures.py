"""What was measured: samples by workload, variant and subject, and what is made of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Sample = dict[str, float]
"""One measured run's figures by name; the name's end is the unit."""


@dataclass(frozen=True)
class Spread:
    """The median of the repeats, and the least and the most of them."""

    median: float
    least: float
    most: float


@dataclass
class Cell:
    """One subject under one variant of a workload. ``failed`` says why there is no figure."""

    workload: str
    variant: str
    subject: str
    samples: list[Sample] = field(default_factory=list)
    failed: str | None = None
    was_skipped: bool = False

    def spread(self, figure: str) -> Spread | None:
        """Of that figure; None where it was not measured."""
        if self.failed is not None:
            return None
        return spread_of(sample[figure] for sample in self.samples if figure in sample)


class Results:
    """All cells of a run, in the order in which they were begun."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str, str], Cell] = {}

    def cell(self, workload: str, variant: str, subject: str) -> Cell:
        """That cell; a new and empty one the first time."""
        key = (workload, variant, subject)
        return self.cells.setdefault(key, Cell(*key))

    def find(self, workload: str, variant: str, subject: str) -> Cell | None:
        return self.cells.get((workload, variant, subject))

    def failures(self) -> list[Cell]:
        """The cells without figures that should have had some."""
        return [
            cell
            for cell in self.cells.values()
            if not cell.was_skipped and (cell.failed is not None or not cell.samples)
        ]


def spread_of(values: Iterable[float]) -> Spread | None:
    """None of nothing."""
    listed = list(values)
    if not listed:
        return None
    return Spread(statistics.median(listed), min(listed), max(listed))


def ratio(above: Cell | None, below: Cell | None, figure: str) -> Spread | None:
    """Of two subjects in the same run, repeat by repeat: what drifts meets both."""
    return _paired(above, below, figure, lambda one, other: one / other if other else None)


def difference(above: Cell | None, below: Cell | None, figure: str) -> Spread | None:
    """What the first has more than the second, repeat by repeat."""
    return _paired(above, below, figure, lambda one, other: one - other)


def _paired(
    above: Cell | None,
    below: Cell | None,
    figure: str,
    of_two: Callable[[float, float], float | None],
) -> Spread | None:
    if above is None or below is None or above.failed or below.failed:
        return None
    pairs = zip(above.samples, below.samples, strict=False)
    values = (of_two(one[figure], other[figure]) for one, other in pairs if figure in one)
    return spread_of(value for value in values if value is not None)
