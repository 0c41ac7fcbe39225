"""The table of stores: every test in this directory runs on each."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from tests.contract.storage.books import Books, open_books
from tests.support.postgresql import PostgresqlServer

from bandari.adapters.storage import Store, open_store

STORES = ("sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql))
_TEMPLATE = "bandari_template"

Tamper = Callable[..., None]


@pytest.fixture(scope="session")
def migrated_template(postgresql: PostgresqlServer) -> str:
    """The name of a database to copy: it has the tables, and nothing in them."""
    postgresql.execute(f'CREATE DATABASE "{_TEMPLATE}" TEMPLATE template0')
    _open_and_close(postgresql.url(_TEMPLATE))
    return _TEMPLATE


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _open_and_close(f"sqlite:///{path}")
    return path


@pytest.fixture(params=STORES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without tables."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'bandari.db'}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with tables, and nothing in them."""
    with _migrated(kind, tmp_path / "bandari.db", request) as url:
        yield url


@pytest.fixture
def twin_url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Another one, to be compared with the first."""
    with _migrated(kind, tmp_path / "twin.db", request) as url:
        yield url


@contextmanager
def _migrated(kind: str, path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    if kind == "sqlite":
        template: Path = request.getfixturevalue("migrated_file")
        path.write_bytes(template.read_bytes())
        yield f"sqlite:///{path}"
        return
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    new = server.create_database(request.getfixturevalue("migrated_template"))
    yield new
    server.drop_database(new)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
async def other_store(url: str) -> AsyncIterator[Store]:
    """A second program on the same database."""
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
async def books(store: Store) -> Books:
    return await open_books(store)


@pytest.fixture
def tamper(url: str, kind: str) -> Tamper:
    """Change the database behind the store's back, past every constraint."""

    def on_sqlite(*statements: str) -> None:
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        try:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.execute("PRAGMA ignore_check_constraints = ON")
            for statement in statements:
                connection.execute(statement)
        finally:
            connection.close()

    def on_postgresql(*statements: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            checks = connection.execute(
                "SELECT conrelid::regclass::text, conname FROM pg_constraint"
                " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
            ).fetchall()
            for table, name in checks:
                connection.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"'.encode())
            connection.execute("SET session_replication_role = replica")
            for statement in statements:
                connection.execute(statement.encode())

    return on_sqlite if kind == "sqlite" else on_postgresql


def _open_and_close(url: str) -> None:
    async def open_and_close() -> None:
        await open_store(url).aclose()

    asyncio.run(open_and_close())
