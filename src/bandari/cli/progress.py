"""How far a command is: a bar for a person at a terminal, and nothing for anybody else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text


class HowFar(ProgressColumn):
    """How many are done, how many a second (over the last half minute), and how long it takes."""

    max_refresh = 0.2

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what

    def render(self, task: Task) -> Text:
        if task.total is None:
            return Text("")
        text = f"{task.completed:,.0f} of {task.total:,.0f} {self._what}"
        if task.speed and task.time_remaining is not None:
            left = timedelta(seconds=int(task.time_remaining))
            text += f", {task.speed:,.0f}/s, {left} left"
        return Text(text, no_wrap=True)


@contextmanager
def bar(doing: str, what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows that so many of ``what`` are done; call what it yields with (done, in all).

    It is on stderr, and gone at the end.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        HowFar(what),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
