"""What a batch locks on PostgreSQL: the wallets it changes, and none of its neighbours'."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from tests.support.many_keys import fill
from tests.support.postgresql import PostgresqlServer

from bandari.adapters.storage.store import open_database

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgresql: PostgresqlServer, migrated_template: str) -> Iterator[str]:
    new = postgresql.create_database(migrated_template)
    yield new
    postgresql.drop_database(new)


def locked(url: str) -> set[tuple[int, str]]:
    """Whose wallets another transaction could not change now."""
    whose = "SELECT account_id, end_user FROM wallets"
    with psycopg.connect(url) as connection:
        free = connection.execute(f"{whose} FOR NO KEY UPDATE SKIP LOCKED".encode()).fetchall()
        return set(connection.execute(whose.encode()).fetchall()) - set(free)


def test_an_end_users_wallet_is_not_his_accounts(url: str) -> None:
    fill(url, accounts=3, keys=1, end_users=4)
    connection = open_database(url).connect()
    try:
        connection.begin()
        connection.take([(1, ""), (1, "u2"), (2, ""), (3, "u2"), (1, "nobody")])

        assert locked(url) == {(1, ""), (1, "u2"), (2, "")}

        connection.roll_back()
        assert locked(url) == set()
    finally:
        connection.close()
