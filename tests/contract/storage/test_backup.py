"""A backup is one moment of the books, also while they are written, from either database."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.contract.storage.books import Books, charge
from tests.contract.storage.conftest import Tamper

from bandari.adapters.storage import StorageError, moment, open_store
from bandari.adapters.storage import backup as backups
from bandari.adapters.storage.backup import BackupExists, BackupFailed, back_up
from bandari.adapters.storage.store import open_database
from bandari.domain.accounts import Role
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor
from bandari.domain.reports import HOUR_MS, Dimension, Selection


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("copy*")]


def ignore(_done: int, _tables: int) -> None:
    return


async def test_a_backup_holds_everything_and_verifies(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "PAGE_ROWS", 1)  # several pages of every table
    monkeypatch.setattr(moment, "PAGE", 3)
    for _ in range(7):
        await books.store.ledger.post(charge(await books.place()))
    await books.place("still-open")
    file = tmp_path / "copy.db"
    told: list[tuple[int, int]] = []
    rows = await books.store.back_up(file, lambda done, tables: told.append((done, tables)))
    assert rows > 7 * 4
    async with open_store(f"sqlite:///{file}") as copy:
        found = await copy.ledger.verify()
        assert found.is_clean
        assert (found.receipts, found.open_holds) == (7, 1)
        assert await copy.accounts.wallets(books.account.id) == [await books.wallet()]
    assert told == [(0, 8), (3, 8), (6, 8), (8, 8)]
    assert names_in(tmp_path) == ["copy.db"]


async def test_a_backup_under_load_is_one_moment(books: Books, tmp_path: Path) -> None:
    await books.credit(1_000_000)
    stopped = asyncio.Event()

    async def charge_on() -> int:
        count = 0
        while not stopped.is_set():
            await books.store.ledger.post(charge(await books.place()))
            count += 1
        return count

    clients = [asyncio.create_task(charge_on()) for _ in range(4)]
    for number in range(3):
        file = tmp_path / f"copy-{number}.db"
        await books.store.back_up(file, ignore)
        async with open_store(f"sqlite:///{file}") as copy:
            assert (await copy.ledger.verify()).is_clean
    stopped.set()
    assert sum(await asyncio.gather(*clients)) > 0


async def test_people_and_what_they_changed_are_in_it(books: Books, tmp_path: Path) -> None:
    store, by = books.store, Actor("ops", "request-1")
    limits = Limits(requests_per_minute=5)
    await store.accounts.set_end_user_limits(books.account.id, "ann", limits, 5, by)
    user = await store.users.create_user("eve", Role.AUDITOR, b"d" * 32, "…1234", 6, by)
    log = await store.audit_log.entries(subject=None, who=None, before=None, limit=100)
    file = tmp_path / "copy.db"
    await store.back_up(file, ignore)
    async with open_store(f"sqlite:///{file}") as copy:
        end_user = await copy.accounts.end_user(books.account.id, "ann")
        assert end_user is not None
        assert end_user.limits == limits
        assert await copy.users.find_user(b"d" * 32) == user
        copied = await copy.audit_log.entries(subject=None, who=None, before=None, limit=100)
        assert list(copied) == list(log)
        assert len(log) >= 4


@pytest.mark.parametrize("rolled_up", [0, 3, 100])
async def test_usage_is_added_up_again_in_the_copy(
    books: Books, tmp_path: Path, rolled_up: int
) -> None:
    for number in range(5):
        hour = number * HOUR_MS
        await books.store.ledger.post(charge(await books.place(), 7, ended_ms=hour))
    await books.store.reports.roll_up(rolled_up)
    by = (Dimension.HOUR, Dimension.KEY)
    usage = await books.store.reports.usage(Selection(), by, 10)
    file = tmp_path / "copy.db"
    await books.store.back_up(file, ignore)
    async with open_store(f"sqlite:///{file}") as copy:
        assert await copy.reports.usage(Selection(), by, 10) == usage
        assert [await copy.reports.roll_up(100) for _ in range(2)] == [5, 0]
        assert await copy.reports.usage(Selection(), by, 10) == usage
        assert len(usage) == 5


async def test_a_backup_overwrites_nothing(books: Books, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    file.write_text("mine")
    with pytest.raises(BackupExists, match=r"copy\.db"):
        await books.store.back_up(file, ignore)
    assert file.read_text() == "mine"


async def test_what_is_written_meanwhile_is_not_in_it(
    books: Books, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes land when the snapshot was just taken, and between the pages."""
    monkeypatch.setattr(moment, "PAGE", 1)
    await books.store.ledger.post(charge(await books.place()))
    await books.place("open")
    before = await books.store.ledger.verify()
    wallet = await books.wallet()
    loop = asyncio.get_running_loop()

    async def write() -> None:
        await books.credit(100)
        await books.store.ledger.post(charge(await books.place()))

    def report(_done: int, _total: int) -> None:
        asyncio.run_coroutine_threadsafe(write(), loop).result()

    file = tmp_path / "copy.db"
    await asyncio.to_thread(back_up, open_database(url), file, report)
    async with open_store(f"sqlite:///{file}") as copy:
        assert await copy.ledger.verify() == before
        assert await copy.accounts.wallets(books.account.id) == [wallet]
    assert (await books.store.ledger.verify()).transactions > before.transactions


async def test_a_backup_that_fails_leaves_nothing(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"copy.db.part{suffix}").touch()
        raise OSError("no space left")

    monkeypatch.setattr(backups, "_copy", broken)
    with pytest.raises(OSError, match="no space left"):
        await books.store.back_up(tmp_path / "copy.db", ignore)
    assert names_in(tmp_path) == []


async def test_a_disk_that_is_full(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def filled(target: backups._Target, _table: object, _rows: object) -> int:
        target.execute("PRAGMA max_page_count = 1")
        target.execute("CREATE TABLE more AS SELECT zeroblob(1000000)")
        return 0

    monkeypatch.setattr(backups._Target, "insert", filled)
    with pytest.raises(BackupFailed, match=r"copy\.db cannot be written: database or disk is full"):
        await books.store.back_up(tmp_path / "copy.db", ignore)
    assert names_in(tmp_path) == []


async def test_rows_that_the_copy_refuses(books: Books, url: str, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    with (
        pytest.raises(BackupFailed, match=r"copy\.db cannot be written: UNIQUE"),
        backups._writing(file, file.with_name("copy.db.part")) as target,
    ):
        target.insert(backups.transactions, [(1, "credit", None, None, 1)] * 2)


async def test_a_ledger_that_cannot_be_read(books: Books, tmp_path: Path, tamper: Tamper) -> None:
    tamper("DROP TABLE receipts")
    with pytest.raises(StorageError, match="The ledger cannot be read"):
        await books.store.back_up(tmp_path / "copy.db", ignore)
    assert names_in(tmp_path) == []


async def test_a_directory_that_is_not_there(books: Books, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="there is no directory"):
        await books.store.back_up(tmp_path / "nowhere" / "copy.db", ignore)


async def test_what_an_earlier_backup_left_is_replaced(books: Books, tmp_path: Path) -> None:
    for name in ("copy.db.part", "copy.db.part-journal", "copy.db.part-wal"):
        (tmp_path / name).write_text("left behind")
    await books.store.back_up(tmp_path / "copy.db", ignore)
    assert names_in(tmp_path) == ["copy.db"]


async def test_a_backup_that_is_cancelled_leaves_nothing(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    insert = backups._Target.insert

    def insert_later(*arguments: Any) -> int:
        go_on.wait()
        return insert(*arguments)

    monkeypatch.setattr(backups._Target, "insert", insert_later)
    begun = asyncio.Event()
    file = tmp_path / "copy.db"
    caller = asyncio.create_task(books.store.back_up(file, lambda _done, _total: begun.set()))
    await begun.wait()
    assert names_in(tmp_path) != []
    caller.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert names_in(tmp_path) == []
