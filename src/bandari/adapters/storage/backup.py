"""A copy of the books while they are written: one moment of either database, as a SQLite file.

The copy is made by the same code from SQLite and from PostgreSQL, a page of rows at a time. It is a
data directory's ``bandari.db``: it can be verified, and served.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Table, select, tuple_

from bandari.adapters.storage.database import Connection, Database, StorageError
from bandari.adapters.storage.migrate import bring_up
from bandari.adapters.storage.schema import metadata
from bandari.adapters.storage.sqlite import SqliteDatabase
from bandari.adapters.storage.statements import compiled, constant, first, given

PAGE_ROWS = 5_000


class BackupExists(StorageError):
    """There is a file of that name already."""


def back_up(database: Database, file: Path, report: Callable[[int, int], None]) -> int:
    """Copy everything into a new file; returns the number of rows.

    ``report`` is called with (tables done, tables in all). The file appears under its name only
    when it is whole. Raises ``BackupExists``, ``StorageError`` or ``OSError``.
    """
    if file.exists():
        raise BackupExists(f"{file} exists already.")
    part = file.with_name(file.name + ".part")
    part.unlink(missing_ok=True)
    bring_up(SqliteDatabase(str(part)))
    source = database.connect_reader()
    try:
        source.begin_snapshot()
        with closing(sqlite3.connect(part, isolation_level=None)) as target:
            # Tables come in the order of their references. Nobody else opens it before it is whole.
            target.execute("PRAGMA journal_mode=DELETE")
            target.execute("BEGIN")
            tables = metadata.sorted_tables
            rows = 0
            for done, table in enumerate(tables):
                report(done, len(tables))
                rows += _copy(database, source, target, table)
            target.execute("COMMIT")
            report(len(tables), len(tables))
        source.roll_back()
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        source.close()
    part.rename(file)
    return rows


def _copy(database: Database, source: Connection, target: sqlite3.Connection, table: Table) -> int:
    keys = list(table.primary_key.columns)
    places = [list(table.columns).index(key) for key in keys]
    pages = select(table).order_by(*keys)
    names = [key.name for key in keys]
    after = tuple_(*keys) > tuple_(*(given(key.name, key.type) for key in keys))
    size = constant(PAGE_ROWS)
    start = compiled(database.dialect, first(pages, size))
    further = compiled(database.dialect, first(pages.where(after), size), *names)
    marks = ", ".join("?" * len(table.columns))
    insert = f"INSERT INTO {table.name} VALUES ({marks})"  # noqa: S608 - a name of our own schema
    count = 0
    page: list[Any] = source.cursor.execute(start).fetchall()
    while page:
        target.executemany(insert, [tuple(row) for row in page])
        count += len(page)
        last = page[-1]
        page = source.cursor.execute(further, [last[place] for place in places]).fetchall()
    return count
