"""SQLite in trouble: full, locked, read-only, taken away. Nothing is lost, and it recovers."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bandari.adapters.storage import Store, open_store, sqlite
from bandari.adapters.storage.database import Connection, Verdict
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.sqlite import SqliteDatabase
from bandari.domain.accounts import Account
from bandari.domain.audit_log import Actor
from bandari.domain.faults import StoreUnavailable


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bandari.db"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def store(path: Path, time: Time) -> AsyncIterator[Store]:
    store = open_store(f"sqlite:///{path}")
    await store.writer.aclose()
    store.writer = GroupCommit(SqliteDatabase(str(path)), monotonic=time)
    store.accounts._writer = store.writer
    yield store
    await store.aclose()


async def create(store: Store, name: str) -> Account:
    return await store.accounts.create_account(name, 1, Actor("test"))


def pragma(connection: Connection, statement: str) -> object:
    return connection.cursor.execute(f"PRAGMA {statement}").fetchone()[0]


async def test_every_commit_is_synced(store: Store) -> None:
    assert await store.writer.run((), pragma, "synchronous") == 2
    assert await store.writer.run((), pragma, "journal_mode") == "wal"
    assert await store.writer.run((), pragma, "foreign_keys") == 1


async def test_a_reader_cannot_write(store: Store) -> None:
    assert await store.reader.run(pragma, "query_only") == 1


def test_the_file_is_its_owners(path: Path) -> None:
    database = SqliteDatabase(str(path))
    database.create()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_full_disk_refuses_and_recovers(store: Store, time: Time) -> None:
    await create(store, "before")

    def fill(connection: Connection) -> None:
        pages = pragma(connection, "page_count")
        pragma(connection, f"max_page_count = {pages}")

    await store.writer.run((), fill)
    with pytest.raises(StoreUnavailable):
        await create(store, "x" * 100_000)
    # The limit was the connection's own: a new one is as good as a disk with room again.
    time.now += 1
    await create(store, "y" * 100_000)

    assert await store.accounts.find_account("before") is not None
    assert await store.accounts.find_account("x" * 100_000) is None
    assert (await store.ledger.verify()).is_clean


async def test_a_database_that_cannot_be_written(store: Store, time: Time) -> None:
    await store.writer.run((), pragma, "user_version")

    def forbid(connection: Connection) -> None:
        connection.cursor.execute("PRAGMA query_only = ON")

    await store.writer.run((), forbid)
    with pytest.raises(StoreUnavailable):
        await create(store, "a")

    time.now += 1
    assert (await create(store, "a")).name == "a"


async def test_another_process_keeps_the_lock_too_long(
    store: Store, path: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "MAX_WAIT_S", 0.05)
    await create(store, "before")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable):
        await create(store, "a")
    assert await store.accounts.find_account("before") is not None

    other.execute("ROLLBACK")
    other.close()
    time.now += 1
    assert (await create(store, "a")).name == "a"


async def test_a_file_that_was_taken_away_is_not_made_anew(
    store: Store, path: Path, time: Time
) -> None:
    for file in path.parent.iterdir():
        file.rename(file.with_name(f"away-{file.name}"))
    with pytest.raises(StoreUnavailable):
        await create(store, "a")
    with pytest.raises(StoreUnavailable):
        await store.accounts.find_account("a")
    with pytest.raises(StoreUnavailable):
        await store.ledger.verify()
    assert not [file for file in path.parent.iterdir() if file == path]

    for file in path.parent.iterdir():
        file.rename(file.with_name(file.name.removeprefix("away-")))
    time.now += 1
    assert (await create(store, "a")).name == "a"


async def test_a_closed_store_answers_nothing(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    await store.aclose()

    with pytest.raises(StoreUnavailable, match="closed"):
        await create(store, "a")
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.accounts.find_account("a")
    assert sorted(file.name for file in path.parent.iterdir()) == ["bandari.db"]


@pytest.mark.parametrize(
    ("statement", "verdict"),
    [
        ("SELECT * FROM nothing", Verdict.CULPRIT),
        ("INSERT INTO t VALUES (1), (1)", Verdict.CULPRIT),
        ("nonsense", Verdict.CULPRIT),
    ],
)
def test_verdicts(path: Path, statement: str, verdict: Verdict) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with pytest.raises(sqlite3.Error) as raised:
        connection.execute(statement)
    connection.close()

    assert SqliteDatabase(str(path)).judge(raised.value) is verdict
    assert SqliteDatabase(str(path)).judge(ValueError()) is Verdict.CULPRIT
