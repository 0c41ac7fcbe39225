"""A backup is one moment of the books, also while they are written, from either database."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.contract.storage.books import Books, charge

from bandari.adapters.storage import backup as backups
from bandari.adapters.storage import open_store
from bandari.adapters.storage.backup import BackupExists


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("copy*")]


def ignore(_done: int, _tables: int) -> None:
    return


async def test_a_backup_holds_everything_and_verifies(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backups, "PAGE_ROWS", 3)  # several pages of every table
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
    await asyncio.sleep(0)
    assert told[-1][0] == told[-1][1]
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


async def test_a_backup_overwrites_nothing(books: Books, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    file.write_text("mine")
    with pytest.raises(BackupExists, match=r"copy\.db"):
        await books.store.back_up(file, ignore)
    assert file.read_text() == "mine"


async def test_a_backup_that_fails_leaves_nothing(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise OSError("no space left")

    monkeypatch.setattr(backups, "_copy", broken)
    with pytest.raises(OSError, match="no space left"):
        await books.store.back_up(tmp_path / "copy.db", ignore)
    assert names_in(tmp_path) == []
