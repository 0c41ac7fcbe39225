"""Many accounts and keys, put into a database at once, past the store."""

from __future__ import annotations

import hashlib
import sqlite3

import psycopg


def digest_of(number: int) -> bytes:
    """Of key ``number``; of ``-number`` for the secret it had before, which each tenth key has."""
    return hashlib.sha256(str(number).encode()).digest()


def fill(url: str, accounts: int, keys: int, end_users: int) -> None:
    """Accounts 1, 2, …, each with a wallet, and keys 1, 2, … spread over them.

    Account 1 has the end users ``u1``, ``u2``, …, each with a wallet.
    """
    tables = {
        "accounts (id, name, created_ms)": [
            (number, f"account {number}", 1) for number in range(1, accounts + 1)
        ],
        "end_users (account_id, name, created_ms)": [
            (1, f"u{number}", 1) for number in range(1, end_users + 1)
        ],
        "wallets (account_id, asset, balance, held, end_user)": [
            *((number, "TOKEN", 0, 0, "") for number in range(1, accounts + 1)),
            *((1, "TOKEN", 0, 0, f"u{number}") for number in range(1, end_users + 1)),
        ],
        "keys (id, account_id, name, group_name, digest, hint, created_ms, former_digest)": [
            (
                *(number, 1 + number % accounts, f"key {number}", "default", digest_of(number)),
                *("…", 1, digest_of(-number) if number % 10 == 0 else None),
            )
            for number in range(1, keys + 1)
        ],
    }
    if url.startswith("sqlite"):
        _fill_sqlite(url.removeprefix("sqlite:///"), tables)
    else:
        _fill_postgresql(url, tables)


def _fill_sqlite(path: str, tables: dict[str, list[tuple[object, ...]]]) -> None:
    connection = sqlite3.connect(path)
    for table, rows in tables.items():
        marks = ", ".join("?" * len(table.split(",")))
        connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
    connection.commit()
    connection.close()


def _fill_postgresql(url: str, tables: dict[str, list[tuple[object, ...]]]) -> None:
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for table, rows in tables.items():
            with cursor.copy(f"COPY {table} FROM STDIN".encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        connection.commit()
        connection.autocommit = True
        connection.execute("ANALYZE")
