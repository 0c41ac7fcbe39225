"""A ledger that has been in use for long, written quickly: straight into the tables.

It is a true one. Customers have credit, spend it, run out of it (the rest is an overrun) and buy
more; some answers cost nothing; some are still running. Seeded, so always the same.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg

from bandari.adapters.storage.migrate import bring_up
from bandari.adapters.storage.store import open_database

WALLETS = 400
HOLDS = 100
CREDIT = 50_000
MAX_CHARGE = 700
_BATCH = 20_000
_START_MS = 1_760_000_000_000

COLUMNS = {
    "accounts": "id name created_ms",
    "wallets": "id account_id asset balance held",
    "keys": "id account_id name group_name digest hint created_ms",
    "rate_cards": "id model asset version input_per_million cached_input_per_million "
    "cache_write_per_million output_per_million per_request",
    "epochs": "id opened_ms",
    "holds": "id wallet_id amount epoch key_id rate_card_id model created_ms",
    "transactions": "id kind who why created_ms",
    "postings": "transaction_id position asset amount wallet_id line",
    "receipts": "id transaction_id wallet_id key_id rate_card_id model target amount overrun "
    "balance_after input_tokens output_tokens cached_tokens cache_write_tokens reasoning_tokens "
    "rule ending created_ms ended_ms finish_reason",
}
_NUMBERED = ("accounts", "wallets", "keys", "rate_cards", "epochs", "transactions")

Batch = dict[str, list[tuple[Any, ...]]]


def write_full_ledger(
    url: str, charges: int, *, accounts: int = WALLETS, keys: int = WALLETS
) -> None:
    """Fill the database at ``url``, which must be empty or missing; makes the tables too.

    Each of the ``accounts`` has one wallet, and at least one of the ``keys``.
    """
    assert keys >= accounts
    bring_up(open_database(url))
    batches = _Ledger(random.Random(1), charges, accounts, keys).batches()
    if url.startswith("sqlite"):
        _fill_sqlite(url.removeprefix("sqlite:///"), batches)
    else:
        _fill_postgresql(url, batches)


@dataclass
class _Ledger:
    chance: random.Random
    charges: int
    accounts: int
    keys: int
    balances: list[int] = field(init=False)
    transaction: int = 0

    def __post_init__(self) -> None:
        self.balances = [0] * (self.accounts + 1)

    def batches(self) -> Iterator[Batch]:
        """All rows. Wallets come last, with what has become of them."""
        yield self._customers()
        batch = _empty()
        for number in range(1, self.accounts + 1):
            self._credit(batch, number)
        for _ in range(self.charges):
            self._charge(batch, self.chance.randint(1, self.accounts))
            if len(batch["postings"]) >= _BATCH:
                yield batch
                batch = _empty()
        yield batch
        yield self._running()

    def _customers(self) -> Batch:
        batch = _empty()
        for number in range(1, self.accounts + 1):
            batch["accounts"].append((number, f"customer {number}", _START_MS))
        for number in range(1, self.keys + 1):
            account = (number - 1) % self.accounts + 1
            digest = number.to_bytes(32)
            key = (number, account, "default", "default", digest, "…abcd", _START_MS)
            batch["keys"].append(key)
        prices = (1_000_000, 1_000_000, 1_000_000, 1_000_000, 0)
        batch["rate_cards"].append((1, "m", "TOKEN", 1, *prices))
        batch["epochs"].append((1, _START_MS))
        return batch

    def _credit(self, batch: Batch, wallet: int) -> None:
        self.transaction += 1
        self.balances[wallet] += CREDIT
        batch["transactions"].append((self.transaction, "credit", "test", "credit", _START_MS))
        self._post(batch, (CREDIT, wallet, None), (-CREDIT, None, "cash"))

    def _charge(self, batch: Batch, wallet: int) -> None:
        if self.balances[wallet] == 0:
            self._credit(batch, wallet)
        self.transaction += 1
        tokens = self.chance.randint(0, MAX_CHARGE)
        taken = min(tokens, self.balances[wallet])
        self.balances[wallet] -= taken
        now_ms = _START_MS + self.transaction
        batch["transactions"].append((self.transaction, "charge", None, None, now_ms))
        sides = (
            (-taken, wallet, None),
            (tokens, None, "revenue"),
            (taken - tokens, None, "overruns"),
        )
        self._post(batch, *sides)
        batch["receipts"].append(
            (
                *(f"rcpt_{self.chance.getrandbits(128):032x}", self.transaction, wallet, wallet),
                *(1, "m", "local:m", taken, tokens - taken, self.balances[wallet]),
                *(tokens // 2, tokens - tokens // 2, 0, 0, 0),
                *("reported", "completed", now_ms - 900, now_ms, "stop"),
            )
        )

    def _post(self, batch: Batch, *sides: tuple[int, int | None, str | None]) -> None:
        written = [side for side in sides if side[0]]
        batch["postings"] += [
            (self.transaction, position, "TOKEN", *side) for position, side in enumerate(written)
        ]

    def _running(self) -> Batch:
        batch = _empty()
        held = [0] * (self.accounts + 1)
        for number in range(HOLDS):
            wallet = number % self.accounts + 1
            amount = min(100, self.balances[wallet] - held[wallet])
            held[wallet] += amount
            hold = (f"rcpt_{number}", wallet, amount, 1, wallet, 1, "m", _START_MS)
            batch["holds"].append(hold)
        batch["wallets"] = [
            (number, number, "TOKEN", self.balances[number], held[number])
            for number in range(1, self.accounts + 1)
        ]
        return batch


def _empty() -> Batch:
    return {table: [] for table in COLUMNS}


def _fill_sqlite(path: str, batches: Iterator[Batch]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        for batch in batches:
            connection.execute("BEGIN")
            for table, rows in batch.items():
                columns = COLUMNS[table].split()
                marks = ", ".join("?" * len(columns))
                insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"
                connection.executemany(insert, rows)
            connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _fill_postgresql(url: str, batches: Iterator[Batch]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # The rows come table by table, and wallets last: references are whole at the end only.
        connection.execute("SET session_replication_role = replica")
        for batch in batches:
            for table, rows in batch.items():
                _copy(connection, table, rows)
        for table in _NUMBERED:
            connection.execute(
                f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id))"
                f" FROM {table}".encode()
            )
        connection.execute("ANALYZE")


def _copy(connection: psycopg.Connection[Any], table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        columns = ", ".join(COLUMNS[table].split())
        statement = f"COPY {table} ({columns}) FROM STDIN".encode()
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
