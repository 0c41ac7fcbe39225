"""A server that is killed in the middle of its work: all that it acknowledged is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
from tests.contract.storage.books import charge

from bandari.adapters.storage import open_store
from bandari.adapters.storage.postgresql import LOCKS

_ROOT = Path(__file__).parents[3]

# Charges as fast as it can, and says what it was told is durable. Until it is killed.
_SERVER = """
import asyncio, sys
from bandari.adapters.storage import open_store
from tests.contract.storage.books import charge, open_books

async def main():
    store = open_store(sys.argv[1])
    books = await open_books(store, balance=10**9)

    async def serve():
        while True:
            hold_id = await books.place(amount=100)
            receipt = await store.ledger.post(charge(hold_id, 60))
            print(receipt.id, receipt.balance_after, flush=True)

    await asyncio.gather(*(serve() for _ in range(16)))

asyncio.run(main())
"""


async def test_a_killed_server_loses_nothing_and_charges_nothing_twice(kind: str, url: str) -> None:
    acknowledged = charge_until_killed(url, 300)
    if kind == "postgresql":
        wait_for_the_end_of_epoch(url, 1)

    async with open_store(url) as store:
        ledger = store.ledger
        for receipt_id, balance_after in acknowledged:
            receipt = await ledger.receipt(receipt_id)
            assert receipt is not None
            assert receipt.balance_after == balance_after
        verification = await ledger.verify()
        assert verification.is_clean
        assert verification.receipts >= len(acknowledged)

        # What was running is dead as soon as the next server is up, and locks nothing for long.
        await ledger.open_epoch(99)
        dead = await ledger.dead_holds(100)
        assert len(dead) == verification.open_holds
        for hold, _ in dead:
            await ledger.post(charge(hold.id, 1))
        (wallet,) = await store.accounts.wallets(1)
        assert (wallet.held, await ledger.open_holds()) == (0, 0)
        assert wallet.balance == 10**9 - 60 * verification.receipts - len(dead)
        assert (await ledger.verify()).is_clean


def wait_for_the_end_of_epoch(url: str, epoch: int) -> None:
    """PostgreSQL notices a moment later that a client is gone, and then lets its lock go."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s::int, %s::int)", (LOCKS, epoch))


def charge_until_killed(url: str, enough: int) -> list[tuple[str, int]]:
    """Run a server until it has acknowledged ``enough`` charges; all that it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, url], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        lines = [server.stdout.readline() for _ in range(enough)]
        server.kill()
        lines += server.stdout.readlines()
    whole = [line.split() for line in lines if line.endswith("\n")]
    return [(receipt_id, int(balance)) for receipt_id, balance in whole]
