"""The bar: for a terminal, and for nothing else."""

from __future__ import annotations

import io
import sys

import pytest
from rich.console import Console
from rich.progress import Progress

from bandari.cli.progress import HowFar, bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_only_a_terminal_gets_a_bar(kind: type[io.StringIO], monkeypatch) -> None:
    stderr = kind()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")  # takes every file for a terminal

    with bar("verifying", "transactions") as on_progress:
        on_progress(1_000, 2_000)

    assert ("verifying" in stderr.getvalue()) == stderr.isatty()
    assert ("1,000 of 2,000 transactions" in stderr.getvalue()) == stderr.isatty()


def test_it_says_how_fast_and_how_long() -> None:
    seconds = iter(range(1_000))
    progress = Progress(
        HowFar("transactions"), console=Console(file=io.StringIO()), get_time=lambda: next(seconds)
    )
    task = progress.add_task("verifying", total=None)
    column = progress.columns[0]
    assert isinstance(column, HowFar)
    assert column.render(progress.tasks[0]).plain == ""

    for done in (1_000, 3_000, 5_000):
        progress.update(task, completed=done, total=1_000_000)

    assert column.render(progress.tasks[0]).plain == (
        "5,000 of 1,000,000 transactions, 2,000/s, 0:08:18 left"
    )
