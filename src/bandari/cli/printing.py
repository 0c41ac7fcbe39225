"""What a command says: answers on stdout, remarks on stderr, tables only for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

T = TypeVar("T")


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


def spelled_policy(policy: msgspec.Struct) -> str:
    """What a policy says, and nothing of what it does not say, on one line."""
    return _spelled(msgspec.to_builtins(policy)) or "no limits of its own"


def _spelled(fields: Mapping[str, object], path: str = "") -> str:
    parts = []
    for name, value in fields.items():
        where = f"{path}.{name}" if path else name
        if isinstance(value, Mapping):
            parts.append(_spelled(value, where))
        elif isinstance(value, bool):
            parts.append(f"{where}={str(value).lower()}")
        elif isinstance(value, list | tuple):
            parts.append(f"{where}={','.join(map(str, value))}")
        elif isinstance(value, int) and name == "expires_ms":
            parts.append(f"expires={date_of(value)} UTC")
        else:
            parts.append(f"{where}={value}")
    return " ".join(filter(None, parts))


def remark_on_more(
    listed: Sequence[T], limit: int, option: str, cursor: Callable[[T], object]
) -> None:
    """Where a list is as long as it was asked to be, how to ask for the rest."""
    if listed and len(listed) == limit:
        remark(f"There may be more: {option} {cursor(listed[-1])}")
