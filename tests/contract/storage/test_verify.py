"""The audit: clean books pass, also while they are written, and every kind of damage is found.

Everything is tried with the books on one page, and with a page for each transaction.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing

import psycopg
import pytest
from tests.contract.storage.books import Books, charge, open_books
from tests.contract.storage.conftest import Tamper
from tests.support.postgresql import PostgresqlServer

from bandari.adapters.storage import Store, moment, open_store, postgresql
from bandari.adapters.storage.store import open_database
from bandari.adapters.storage.verify import verify
from bandari.domain.ledger import Difference, Verification


@pytest.fixture(autouse=True, params=[1, 2, moment.PAGE], ids="page of {}".format)
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(moment, "PAGE", request.param)
    return int(request.param)


@pytest.fixture
async def books(store: Store) -> Books:
    """Wallet 1: credited 1,000 (transaction 1), charged 60 (2), overdrawn 70 beyond (3), 0 held."""
    books = await open_books(store)
    await store.ledger.post(charge(await books.place("paid"), 60))
    await store.ledger.post(charge(await books.place("overdrawn"), 1_010))
    await books.credit(500)
    await books.place("open", 200)
    return books


async def test_clean_books(books: Books, page: int) -> None:
    steps: list[tuple[int, int]] = []

    verification = await books.store.ledger.verify(lambda done, of: steps.append((done, of)))

    assert verification.is_clean
    assert verification.wallets == 1
    assert verification.transactions == 4
    assert verification.postings == 9
    assert verification.open_holds == 1
    assert verification.receipts == 2
    done_of_four = [0, *range(page, 4, page), 4]
    assert steps == [(done, 4) for done in done_of_four]


async def test_empty_books(store: Store) -> None:
    assert (await store.ledger.verify()).is_clean


INSERT_HOLD = (
    "INSERT INTO holds (id, wallet_id, amount, epoch, key_id, rate_card_id, model, created_ms)"
    " VALUES ('{}', {}, 0, 1, 1, 1, 'm', 1)"
)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        pytest.param(
            "UPDATE postings SET amount = amount + 3 WHERE transaction_id = 2 AND position = 1",
            [Difference("transaction 2: sum of its postings", 0, 3)],
            id="a line's posting changed",
        ),
        pytest.param(
            "UPDATE postings SET amount = amount + 3 WHERE transaction_id = 1 AND position = 0",
            [
                Difference("transaction 1: sum of its postings", 0, 3),
                Difference("wallet 1: balance", 500, 503),
                Difference("receipt paid: balance after", 940, 943),
                Difference("receipt overdrawn: balance after", 0, 3),
            ],
            id="a wallet's posting changed",
        ),
        pytest.param(
            "DELETE FROM postings WHERE transaction_id = 4",
            [Difference("wallet 1: balance", 500, 0)],
            id="a credit's postings lost",
        ),
        pytest.param(
            "UPDATE postings SET asset = 'KES' WHERE transaction_id = 1",
            [Difference("a posting of transaction 1: wallet with its asset", 1, 0)],
            id="another asset",
        ),
        pytest.param(
            "UPDATE postings SET asset = 'KES' WHERE transaction_id = 1 AND position = 1",
            [
                Difference("transaction 1: sum of its postings", 0, -1_000),
                Difference("transaction 1: sum of its postings", 0, 1_000),
            ],
            id="two assets in a transaction",
        ),
        pytest.param(
            "DELETE FROM transactions WHERE id = 4",
            [
                Difference("a posting of transaction 4: transaction", 4, 0),
                Difference("a posting of transaction 4: transaction", 4, 0),
            ],
            id="a transaction lost",
        ),
        pytest.param(
            f"UPDATE postings SET transaction_id = {10**15} WHERE transaction_id = 4",
            [
                Difference(f"a posting of transaction {10**15}: transaction", 10**15, 0),
                Difference(f"a posting of transaction {10**15}: transaction", 10**15, 0),
            ],
            id="postings of a transaction far beyond the last",
        ),
        pytest.param(
            f"UPDATE receipts SET transaction_id = {10**15} WHERE id = 'overdrawn'",
            [
                Difference("transaction 3: receipts of a charge", 0, 1),
                Difference("receipt overdrawn: transaction of its charge", 10**15, 0),
                Difference("receipt overdrawn: amount", 940, 0),
                Difference("receipt overdrawn: overrun", 70, 0),
                Difference("receipt overdrawn: balance after", 0, 500),
            ],
            id="a receipt of a transaction far beyond the last",
        ),
        pytest.param(
            "DELETE FROM transactions",
            [
                Difference(f"a posting of transaction {number}: transaction", number, 0)
                for number in (1, 1, 2, 2, 3, 3, 3, 4, 4)
            ]
            + [
                Difference("receipt paid: transaction of its charge", 2, 0),
                Difference("receipt overdrawn: transaction of its charge", 3, 0),
            ],
            id="all transactions lost",
        ),
        pytest.param(
            "UPDATE wallets SET balance = balance + 1",
            [Difference("wallet 1: balance", 501, 500)],
            id="a balance changed",
        ),
        pytest.param(
            "UPDATE wallets SET held = held - 1",
            [Difference("wallet 1: held", 199, 200)],
            id="a reserve changed",
        ),
        pytest.param(
            "UPDATE wallets SET held = 501",
            [
                Difference("wallet 1: held", 501, 200),
                Difference("wallet 1: free, which is never negative", -1, 0),
            ],
            id="more held than there is",
        ),
        pytest.param(
            "UPDATE holds SET amount = 201",
            [Difference("wallet 1: held", 200, 201)],
            id="a hold changed",
        ),
        pytest.param(
            INSERT_HOLD.format("lost", 77),
            [Difference("hold lost: wallet", 77, 0)],
            id="a hold without a wallet",
        ),
        pytest.param(
            INSERT_HOLD.format("paid", 1),
            [Difference("hold paid: open, although it has a receipt", 1, 0)],
            id="an open hold with a receipt",
        ),
        pytest.param(
            "DELETE FROM receipts WHERE id = 'paid'",
            [Difference("transaction 2: receipts of a charge", 0, 1)],
            id="a receipt lost",
        ),
        pytest.param(
            "UPDATE receipts SET transaction_id = 4 WHERE id = 'paid'",
            [
                Difference("transaction 2: receipts of a charge", 0, 1),
                Difference("receipt paid: transaction of its charge", 4, 0),
                Difference("receipt paid: amount", 60, -500),
                Difference("receipt paid: balance after", 940, 500),
            ],
            id="a receipt of another transaction",
        ),
        pytest.param(
            "UPDATE receipts SET amount = 61 WHERE id = 'paid'",
            [Difference("receipt paid: amount", 61, 60)],
            id="a receipt's amount changed",
        ),
        pytest.param(
            "UPDATE receipts SET overrun = 0 WHERE id = 'overdrawn'",
            [Difference("receipt overdrawn: overrun", 0, 70)],
            id="an overrun hidden",
        ),
        pytest.param(
            "UPDATE receipts SET balance_after = 941 WHERE id = 'paid'",
            [Difference("receipt paid: balance after", 941, 940)],
            id="a balance after changed",
        ),
        pytest.param(
            "UPDATE receipts SET wallet_id = 2 WHERE id = 'paid'",
            [Difference("receipt paid: amount", 60, 0)],
            id="a receipt of another wallet",
        ),
    ],
)
async def test_damage_is_found(
    books: Books, tamper: Tamper, damage: str, found: list[Difference]
) -> None:
    tamper(damage)

    verification = await books.store.ledger.verify()

    assert sorted(map(str, verification.differences)) == sorted(map(str, found))


async def test_at_most_a_thousand_differences(books: Books, tamper: Tamper) -> None:
    first, last = INSERT_HOLD.format("lost 0", 77).split(" VALUES ")
    rows = ", ".join(last.replace("lost 0", f"lost {number}") for number in range(1_100))
    tamper(f"{first} VALUES {rows}")

    assert len((await books.store.ledger.verify()).differences) == 1_000


async def test_a_charge_of_nothing_keeps_the_balance(books: Books, tamper: Tamper) -> None:
    await books.store.ledger.post(charge(await books.place("free"), 0))
    assert (await books.store.ledger.verify()).is_clean
    tamper("UPDATE receipts SET balance_after = 501 WHERE id = 'free'")

    found = (await books.store.ledger.verify()).differences

    assert found == (Difference("receipt free: balance after", 501, 500),)


async def test_two_receipts_of_one_charge(books: Books, tamper: Tamper, kind: str) -> None:
    if kind == "postgresql":
        tamper("ALTER TABLE receipts DROP CONSTRAINT uq_receipts_transaction_id")
    else:
        tamper(
            "CREATE TABLE copy AS SELECT * FROM receipts",
            "DROP TABLE receipts",
            "ALTER TABLE copy RENAME TO receipts",
        )
    tamper(
        "CREATE TABLE twice AS SELECT * FROM receipts WHERE id = 'paid'",
        "UPDATE twice SET id = 'paid again'",
        "INSERT INTO receipts SELECT * FROM twice",
    )

    found = (await books.store.ledger.verify()).differences

    assert found == (Difference("transaction 2: receipts of a charge", 2, 1),)


async def verify_while(url: str, write: Callable[[], Awaitable[None]]) -> Verification:
    """Verify, and ``write`` whenever it reports: on its snapshot first, then between its pages."""
    loop = asyncio.get_running_loop()

    def report(_done: int, _total: int) -> None:
        asyncio.run_coroutine_threadsafe(_awaited(write), loop).result()

    return await asyncio.to_thread(verify, open_database(url), report)


async def _awaited(write: Callable[[], Awaitable[None]]) -> None:
    await write()


async def test_what_is_written_meanwhile_is_not_looked_at(books: Books, url: str) -> None:
    before = await books.store.ledger.verify()

    async def write() -> None:
        other = await open_books(books.store, 70, books.epoch)
        await other.store.ledger.post(charge(await other.place(amount=70), 80))
        await books.credit(50)
        await books.store.ledger.post(charge(await books.place(amount=10), 10))
        await books.place(amount=10)

    assert await verify_while(url, write) == before
    after = await books.store.ledger.verify()
    assert after.is_clean
    assert after.transactions > before.transactions


async def test_a_hold_that_was_open_is_charged_meanwhile(books: Books, url: str) -> None:
    todo = ["open"]

    async def write() -> None:
        if todo:
            await books.store.ledger.post(charge(todo.pop(), 20))

    verification = await verify_while(url, write)

    assert verification.is_clean
    assert verification.open_holds == 1


async def test_no_snapshot_is_held_between_pages(books: Books, url: str, kind: str) -> None:
    reports = 0
    held: list[object] = []

    async def write() -> None:
        nonlocal reports
        reports += 1
        await books.credit(1)
        if reports == 1:  # the wallets are still to be read
            return
        if kind == "sqlite":
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as other:
                (busy, *_) = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                held.append(busy)
        else:
            with psycopg.connect(url, autocommit=True) as other:
                row = other.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state = 'idle in transaction'"
                ).fetchone()
                assert row is not None
                held.append(row[0])

    assert (await verify_while(url, write)).is_clean
    assert held == [0] * (reports - 1)
    assert reports > 1


class InFlight:
    """A charge of another customer that has its number, and is not committed."""

    def __init__(self, url: str, wallet_id: int) -> None:
        self.connection = psycopg.connect(url)
        execute = self.connection.execute
        execute("UPDATE wallets SET balance = balance - 7 WHERE id = %s", (wallet_id,))
        row = execute(
            "INSERT INTO transactions (kind, created_ms) VALUES ('adjustment', 1) RETURNING id"
        ).fetchone()
        assert row is not None
        execute(
            "INSERT INTO postings (transaction_id, position, asset, amount, wallet_id, line)"
            " VALUES (%s, 0, 'TOKEN', -7, %s, NULL), (%s, 1, 'TOKEN', 7, NULL, 'cash')",
            (row[0], wallet_id, row[0]),
        )

    async def end(self) -> None:
        if not self.connection.closed:
            self.connection.commit()
            self.connection.close()


@pytest.fixture
async def two_customers(
    postgresql: PostgresqlServer, migrated_template: str
) -> AsyncIterator[tuple[str, Books, Books]]:
    url = postgresql.create_database(migrated_template)
    async with open_store(url) as store:
        first = await open_books(store)
        second = await open_books(store, epoch=first.epoch)
        yield url, first, second
    postgresql.drop_database(url)


@pytest.mark.postgresql
async def test_a_number_that_was_given_and_not_committed(
    two_customers: tuple[str, Books, Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends too late to wait for: then everything is read on the snapshot, without it."""
    url, first, second = two_customers
    monkeypatch.setattr(postgresql, "MAX_SETTLING_S", 0.05)
    in_flight = InFlight(url, (await first.wallet()).id)
    await second.credit(1)

    verification = await verify_while(url, in_flight.end)

    assert verification.is_clean
    assert verification.transactions == 3
    after = await first.store.ledger.verify()
    assert after.is_clean
    assert after.transactions == 4


@pytest.mark.postgresql
async def test_a_number_that_was_given_is_waited_for(
    two_customers: tuple[str, Books, Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, first, second = two_customers
    in_flight = InFlight(url, (await first.wallet()).id)
    await second.credit(1)
    loop = asyncio.get_running_loop()

    def end_instead_of_sleeping(_seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(in_flight.end(), loop).result()

    monkeypatch.setattr(postgresql, "sleep", end_instead_of_sleeping)

    verification = await first.store.ledger.verify()

    assert verification.is_clean
    assert verification.transactions == 4


@pytest.mark.postgresql
async def test_a_number_that_is_given_just_before_the_snapshot(
    two_customers: tuple[str, Books, Books], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot sees a later one, but not this: what is beyond the settled is read on it."""
    url, first, second = two_customers
    wallet = await first.wallet()
    loop = asyncio.get_running_loop()
    in_flight: list[InFlight] = []
    begin_snapshot = postgresql.PostgresqlConnection.begin_snapshot

    def begin_later(connection: postgresql.PostgresqlConnection) -> None:
        in_flight.append(InFlight(url, wallet.id))
        asyncio.run_coroutine_threadsafe(second.credit(1), loop).result()
        begin_snapshot(connection)

    monkeypatch.setattr(postgresql.PostgresqlConnection, "begin_snapshot", begin_later)

    async def end() -> None:
        await in_flight[0].end()

    verification = await verify_while(url, end)

    assert verification.is_clean
    assert verification.transactions == 3
