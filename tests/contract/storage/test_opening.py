"""Opening a store: the schema is made, brought up to date, and never taken back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from tests.contract.storage.books import open_books
from tests.contract.storage.conftest import Tamper

from bandari.adapters.storage import Store, open_store
from bandari.adapters.storage.database import (
    DatabaseMissing,
    DatabaseNotMigrated,
    DatabaseTooNew,
    StorageError,
    UnsupportedDatabase,
)
from bandari.adapters.storage.migrate import MIGRATIONS, REVISIONS, stored_revision
from bandari.adapters.storage.schema import metadata
from bandari.adapters.storage.store import open_database


async def test_from_empty(empty_url: str) -> None:
    assert stored_revision(open_database(empty_url)) is None

    async with open_store(empty_url) as store:
        await open_books(store)
        assert (await store.ledger.verify()).is_clean

    assert stored_revision(open_database(empty_url)) == REVISIONS[-1]


async def test_the_migrations_build_what_the_schema_says(empty_url: str) -> None:
    await open_store(empty_url).aclose()

    engine = open_database(empty_url).migration_engine()
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        inspector = sqlalchemy.inspect(connection)
        for table in metadata.tables.values():
            checks = {check["name"] for check in inspector.get_check_constraints(table.name)}
            assert checks == {
                constraint.name
                for constraint in table.constraints
                if isinstance(constraint, sqlalchemy.CheckConstraint)
            }
    engine.dispose()


def test_the_known_revisions_are_those_of_the_files() -> None:
    revisions = ScriptDirectory(str(MIGRATIONS)).walk_revisions()

    assert tuple(script.revision for script in revisions)[::-1] == REVISIONS


async def test_what_was_kept_is_there_again(url: str) -> None:
    async with open_store(url) as store:
        books = await open_books(store)
        await books.place(amount=10)

    async with open_store(url, create=False, migrate=False) as store:
        (wallet,) = await store.accounts.wallets(books.account.id)
        assert (wallet.balance, wallet.held) == (1_000, 10)


async def test_a_newer_database_is_refused(url: str, tamper: Tamper) -> None:
    tamper("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(DatabaseTooNew, match="revision 9999"):
        open_store(url)


def test_an_older_database_is_refused_where_it_may_not_be_changed(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        Path(empty_url.removeprefix("sqlite:///")).touch()

    with pytest.raises(DatabaseNotMigrated, match="older version"):
        open_store(empty_url, migrate=False)


def test_programs_that_start_together(empty_url: str) -> None:
    program = (
        "import asyncio, sys; from bandari.adapters.storage import open_store\n"
        "sys.stdin.read()\n"
        "asyncio.run(open_store(sys.argv[1]).aclose())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, empty_url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    for process in started:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, b"")

    async def has_books() -> None:
        async with open_store(empty_url) as store:
            await open_books(store)

    asyncio.run(has_books())


class TestUrls:
    def test_a_file_that_is_not_there_is_only_made_if_asked(self, tmp_path: Path) -> None:
        with pytest.raises(DatabaseMissing, match="no database"):
            open_store(f"sqlite:///{tmp_path}/none.db", create=False)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("url", ["mysql://root@localhost/x", "nonsense", ""])
    def test_other_databases(self, url: str) -> None:
        with pytest.raises(UnsupportedDatabase):
            open_store(url)

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
    def test_a_ledger_in_memory(self, url: str) -> None:
        with pytest.raises(StorageError, match="name a file"):
            open_store(url)

    def test_something_else_than_a_database(self, tmp_path: Path) -> None:
        (tmp_path / "bandari.db").write_bytes(b"not a database" * 1_000)

        with pytest.raises(StorageError, match="cannot be opened"):
            open_store(f"sqlite:///{tmp_path}/bandari.db")

    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="cannot be opened"):
            open_store(f"sqlite:///{tmp_path}/none/bandari.db")

    def test_a_server_that_is_not_there(self) -> None:
        with pytest.raises(StorageError, match="cannot be opened"):
            open_store("postgresql://nobody@127.0.0.1:1/none")

    async def test_a_path_with_odd_characters(self, tmp_path: Path) -> None:
        path = tmp_path / "a b?c#d%20é.db"
        store: Store = open_store(f"sqlite:///{str(path).replace('?', '%3F')}")
        await store.aclose()


async def open_and_close(url: str) -> None:
    await open_store(url).aclose()


def test_the_driver_of_the_other_database_is_not_imported(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys; from bandari.adapters.storage import open_store\n"
        "asyncio.run(open_store(sys.argv[1]).aclose())\n"
        "print('psycopg' in sys.modules, 'alembic' in sys.modules)"
    )
    url = f"sqlite:///{tmp_path}/bandari.db"
    asyncio.run(open_and_close(url))

    out = subprocess.run([sys.executable, "-c", program, url], capture_output=True, check=True)

    assert out.stdout == b"False False\n"
