"""A copy of the books while they are written: one moment of either database, as a SQLite file.

The copy is made by the same code from SQLite and from PostgreSQL, a page of rows at a time. It is a
data directory's ``bandari.db``: it can be verified, and served.

SQLite's own online backup is not used: it begins again whenever another process writes, so beside a
busy server it either never ends or, in one step, holds its snapshot as long as the copying takes.

What is kept of answers is no part of the books and may be larger than all the rest, so what was
there at that moment is copied after it, each as it is then. What is added up of the receipts is not
copied: the server that opens the copy adds them up again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Select, Table, func, select, tuple_

from bandari.adapters.storage.database import Connection, Database, Row, StorageError
from bandari.adapters.storage.kept_tables import (
    metadata,
    recording_frames,
    recordings,
    responses,
)
from bandari.adapters.storage.migrate import bring_up
from bandari.adapters.storage.moment import Moment
from bandari.adapters.storage.schema import (
    postings,
    receipts,
    transactions,
    usage_hours,
    usage_progress,
)
from bandari.adapters.storage.sqlite import SqliteDatabase
from bandari.adapters.storage.statements import compiled, constant, first, given

PAGE_ROWS = 5_000
PAGE_KEPT = 8
"""Few, because each may be as large as a whole answer."""

_APPENDED = (transactions, postings, receipts)
_DERIVED = (usage_hours, usage_progress)
_KEPT = (responses, recordings, recording_frames)
_CHANGING = [
    table for table in metadata.sorted_tables if table not in (*_APPENDED, *_DERIVED, *_KEPT)
]


class BackupExists(StorageError):
    """There is a file of that name already."""


class BackupFailed(StorageError):
    """The copy cannot be written."""


def back_up(database: Database, file: Path, report: Callable[[int, int], None]) -> int:
    """Copy everything into a new file; returns the number of rows.

    ``report`` is called with (transactions done, transactions in all). The file appears under its
    name only when it is whole and on disk. Raises a ``StorageError`` or ``OSError``.
    """
    if os.path.lexists(file):
        raise BackupExists(f"{file} exists already.")
    if not file.parent.is_dir():
        raise BackupFailed(f"{file} cannot be written: there is no directory {file.parent}.")
    part = file.with_name(file.name + ".part")
    try:
        _remove(part)
        with _writing(file, part) as target:
            rows = _read(database, target, report)
        part.rename(file)
        _sync(file.parent)
        return rows
    finally:
        _remove(part)


class _Target:
    """The new file, in one transaction."""

    def __init__(self, connection: sqlite3.Connection, failure: Callable[[str], Exception]) -> None:
        self._connection = connection
        self._failure = failure
        # Nobody else opens it before it is whole.
        self.execute("PRAGMA journal_mode = DELETE")
        self.execute("BEGIN")

    def execute(self, sql: str) -> None:
        try:
            self._connection.execute(sql)
        except sqlite3.Error as error:
            raise self._failure(str(error)) from error

    def insert(self, table: Table, rows: Sequence[Row]) -> int:
        """Returns how many there were."""
        names = ", ".join(column.name for column in table.columns)
        marks = ", ".join("?" * len(table.columns))
        sql = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608 - our own schema
        try:
            self._connection.executemany(sql, rows)
        except sqlite3.Error as error:
            raise self._failure(str(error)) from error
        return len(rows)


@contextmanager
def _writing(file: Path, part: Path) -> Iterator[_Target]:
    """The part, made with our tables; committed and synced at the end."""

    def failure(why: str) -> BackupFailed:
        return BackupFailed(f"{file} cannot be written: {why}.")

    try:
        bring_up(SqliteDatabase(str(part)))
        connection = sqlite3.connect(part, isolation_level=None)
    except (StorageError, sqlite3.Error) as error:
        raise failure(str(error)) from error
    try:
        target = _Target(connection, failure)
        yield target
        target.execute("COMMIT")
    finally:
        connection.close()


def _read(database: Database, target: _Target, report: Callable[[int, int], None]) -> int:
    try:
        source = database.connect_reader()
        try:
            return _copy(database, source, target, report)
        finally:
            source.close()
    except Exception as error:
        if database.is_driver_error(error):
            raise StorageError(f"The ledger cannot be read: {error}") from error
        raise


def _copy(
    database: Database, source: Connection, target: _Target, report: Callable[[int, int], None]
) -> int:
    moment = Moment(database, source, *(list(table.columns) for table in _APPENDED))
    before = moment.first - 1
    total = moment.last - before
    report(0, total)
    rows = 0
    newest = [select(func.max(table.c.id)).scalar_subquery() for table in (responses, recordings)]
    ends = source.cursor.execute(compiled(database.dialect, select(*newest))).fetchone()
    newest_response, newest_recording = ends
    for table in _CHANGING:
        for changing in _pages(database, source, select(table), PAGE_ROWS):
            rows += target.insert(table, changing)
    for page in moment.pages():
        appended = (page.transactions, page.postings, page.receipts)
        for table, some in zip(_APPENDED, appended, strict=True):
            rows += target.insert(table, some)
        report(page.last - before, total)
    # Ids grow, so what comes meanwhile lies behind the newest one, and this comes to an end.
    known = select(responses).where(responses.c.id <= given("newest"))
    for kept in _pages(database, source, known, PAGE_KEPT, newest=newest_response):
        rows += target.insert(responses, kept)
    for some_recordings, frames in _recordings(database, source, newest_recording):
        rows += target.insert(recordings, some_recordings)
        rows += target.insert(recording_frames, frames)
    return rows


def _pages(
    database: Database, source: Connection, rows: Select[Any], page_rows: int, **bounds: object
) -> Iterator[Sequence[Row]]:
    """All rows of one table, in the order of its key. ``bounds`` are the statement's parameters."""
    (table,) = rows.get_final_froms()
    assert isinstance(table, Table), "rows are those of a table"
    keys = list(table.primary_key.columns)
    places = [list(table.columns).index(key) for key in keys]
    pages = rows.order_by(*keys)
    names = [key.name for key in keys]
    after = tuple_(*keys) > tuple_(*(given(key.name, key.type) for key in keys))
    size = constant(page_rows)
    start = compiled(database.dialect, first(pages, size), *bounds)
    further = compiled(database.dialect, first(pages.where(after), size), *bounds, *names)
    page = source.cursor.execute(start, [*bounds.values()]).fetchall()
    while page:
        yield page
        last = page[-1]
        behind = [last[place] for place in places]
        page = source.cursor.execute(further, [*bounds.values(), *behind]).fetchall()


def _recordings(
    database: Database, source: Connection, newest: str | None
) -> Iterator[tuple[Sequence[Row], Sequence[Row]]]:
    """Those up to the newest one, page by page, and their frames.

    A page is one statement: a recording and its frames are of one moment.
    """
    some = first(
        select(recordings)
        .where(recordings.c.id > given("after"), recordings.c.id <= given("newest"))
        .order_by(recordings.c.id),
        constant(PAGE_KEPT),
    ).subquery("some")
    frames = recording_frames.c
    page = compiled(
        database.dialect,
        select(some, frames.recording_id, frames.position, frames.data)
        .select_from(some.outerjoin(recording_frames, frames.recording_id == some.c.id))
        .order_by(some.c.id, frames.position),
        *("after", "newest"),
    )
    width = len(recordings.columns)
    after = ""
    while rows := source.cursor.execute(page, (after, newest)).fetchall():
        found = {row[0]: row[:width] for row in rows}
        yield [*found.values()], [row[width:] for row in rows if row[width] is not None]
        after = rows[-1][0]


def _remove(part: Path) -> None:
    for suffix in ("", "-journal", "-wal", "-shm"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    """Make the new name durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
