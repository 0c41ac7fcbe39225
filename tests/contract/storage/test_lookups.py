"""What is asked on the way of every request, and every page of a list, goes by an index."""

from __future__ import annotations

import re
import sqlite3

import psycopg
import pytest
from tests.support.many_keys import digest_of, fill

from bandari.adapters.storage import Store
from bandari.adapters.storage.accounts import AccountStatements
from bandari.adapters.storage.end_users import EndUserStatements
from bandari.adapters.storage.keys import KeyStatements
from bandari.adapters.storage.store import open_database
from bandari.adapters.storage.transfers import TransferStatements

ACCOUNTS, KEYS, END_USERS = 1_000, 10_000, 5_000

Parameters = tuple[object, ...]


@pytest.fixture
def full_url(url: str) -> str:
    fill(url, ACCOUNTS, KEYS, END_USERS)
    return url


def plan(url: str, sql: str, parameters: Parameters) -> str:
    """How the database looks it up; PostgreSQL without knowing the parameters, as when prepared."""
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        rows = connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall()
        connection.close()
        return "\n".join(row[3] for row in rows)
    numbers = iter(range(1, 100))
    prepared = re.sub("%s", lambda _: f"${next(numbers)}", sql)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")
        connection.execute(f"PREPARE asked AS {prepared}".encode())
        given = ", ".join(f"'{value}'" for value in parameters)
        rows = connection.execute(f"EXPLAIN EXECUTE asked ({given})".encode()).fetchall()
        return "\n".join(row[0] for row in rows)


def test_every_lookup_goes_by_an_index(full_url: str) -> None:
    database = open_database(full_url)
    keys, accounts = KeyStatements(database), AccountStatements(database)
    end_users, transfers = EndUserStatements(database), TransferStatements(database)
    found = plan(full_url, keys.find, ("", "d", "d"))

    if full_url.startswith("postgresql"):
        for index in ("uq_keys_digest", "ix_keys_former_digest", "pk_end_users"):
            assert index in found
        assert "uq_wallets_account_id_end_user_asset" in found
    else:
        for search in ("(digest=?)", "(former_digest=?)", "(account_id=? AND end_user=?)"):
            assert search in found
    for sql, parameters in (
        (keys.find, ("", "d", "d")),
        (keys.by_id, (5,)),
        (keys.of_account, (5, 5, 10)),
        (accounts.by_name, ("n",)),
        (end_users.terms, (1, "u5")),
        (end_users.page, (1, "u5", 10)),
        (transfers.all_of, (1, "u5")),
        (transfers.lock, (1, "", "u5", "TOKEN")),
    ):
        told = plan(full_url, sql, parameters)
        assert not re.search(r"Seq Scan|\bSCAN (keys|accounts|wallets|end_users)\b", told), told
    for sql in (keys.everyone, accounts.page):
        told = plan(full_url, sql, (5, 10))
        assert not re.search(r"\bSort\b|USE TEMP B-TREE|\bSCAN (keys|accounts)\b", told), told


async def test_among_many_the_right_one_is_found(full_url: str, store: Store) -> None:
    for number in (1, 7, 4_990, KEYS):
        found = await store.keys.find_key(digest_of(number))
        assert found is not None
        assert (found.key.id, found.key.account_id) == (number, 1 + number % ACCOUNTS)
        assert (found.assets, found.is_former) == (("TOKEN",), False)
        assert found.has_end_users == (number % ACCOUNTS == 0)
    former = await store.keys.find_key(digest_of(-4_990))
    assert former is not None
    assert (former.key.id, former.is_former) == (4_990, True)
    assert await store.keys.find_key(digest_of(KEYS + 1)) is None

    listed = [key.id for key in await store.keys.list_keys()]
    assert listed == list(range(1, KEYS + 1))
