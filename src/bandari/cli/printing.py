"""What a command says: answers on stdout, remarks on stderr, tables only for people."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table


def say(text: str) -> None:
    """One line of the answer."""
    print(text)


def say_json(value: object) -> None:
    """The answer as one line of JSON."""
    print(msgspec.json.encode(value).decode())


def remark(text: str) -> None:
    """Something beside the answer, for a person."""
    print(text, file=sys.stderr)


def say_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on a terminal; elsewhere the rows alone, their cells separated by tabs."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(row))
        return
    table = Table(*columns, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)


def date_of(milliseconds: int) -> str:
    """A moment, as a person reads it (UTC)."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
