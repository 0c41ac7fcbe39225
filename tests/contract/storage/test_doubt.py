"""A connection to PostgreSQL that breaks during COMMIT: all callers still get the exact answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from tests.contract.storage.books import BY, Books, charge, open_books
from tests.support.cutting_proxy import Cut, CuttingProxy, cutting_proxy
from tests.support.postgresql import PostgresqlServer

from bandari.adapters.storage import Store, open_store
from bandari.adapters.storage.database import Connection, Outcome
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.ledger import SqlLedger
from bandari.adapters.storage.postgresql import PostgresqlConnection, PostgresqlDatabase
from bandari.adapters.storage.waiting_line import Patience
from bandari.domain.faults import StoreUnavailable
from bandari.service.ports import HoldAlreadyEnded

pytestmark = pytest.mark.postgresql


@pytest.fixture
def url(postgresql: PostgresqlServer, migrated_template: str) -> Iterator[str]:
    new = postgresql.create_database(migrated_template)
    yield new
    postgresql.drop_database(new)


@pytest.fixture
def proxy(url: str) -> Iterator[CuttingProxy]:
    with cutting_proxy(url) as proxy:
        yield proxy


@pytest.fixture
async def store(proxy: CuttingProxy) -> AsyncIterator[Store]:
    async with open_store(proxy.url) as opened:
        yield opened


@pytest.fixture
async def books(store: Store) -> Books:
    return await open_books(store)


@pytest.mark.parametrize("how", [Cut.BEFORE, Cut.AFTER])
async def test_every_write_is_made_once_and_answered(
    books: Books, proxy: CuttingProxy, how: Cut
) -> None:
    ledger = books.store.ledger

    proxy.cut(how)
    hold_id = await books.place(amount=100)
    assert proxy.was_cut.is_set()
    assert await books.amounts() == (1_000, 100)

    proxy.cut(how)
    assert await ledger.extend(hold_id, 50, 1) == 50
    assert proxy.was_cut.is_set()
    assert await books.amounts() == (1_000, 150)

    proxy.cut(how)
    receipt = await ledger.post(charge(hold_id, 60))
    assert proxy.was_cut.is_set()
    assert (receipt.amount, receipt.balance_after) == (60, 940)
    assert await books.amounts() == (940, 0)

    proxy.cut(how)
    assert await books.credit(5) is not None
    assert proxy.was_cut.is_set()
    assert await books.amounts() == (945, 0)
    assert (await ledger.verify()).is_clean


@pytest.mark.parametrize("how", [Cut.BEFORE, Cut.AFTER])
async def test_all_of_a_batch_are_answered(books: Books, proxy: CuttingProxy, how: Cut) -> None:
    ledger = books.store.ledger
    held = [await books.place(amount=10) for _ in range(20)]
    await ledger.post(charge(held[0], 1))
    may_run, is_armed = threading.Event(), threading.Event()

    def gather(_: Connection) -> None:
        assert may_run.wait(30)

    def arm(_: Connection) -> None:
        if not is_armed.is_set():
            is_armed.set()
            proxy.cut(how)

    gathering = books.store.writer.run((), gather)
    posts = [asyncio.ensure_future(ledger.post(charge(hold_id, 1))) for hold_id in held]
    await asyncio.sleep(0)
    arming = books.store.writer.run((), arm)
    may_run.set()
    outcomes = await asyncio.gather(*posts, return_exceptions=True)
    await asyncio.gather(gathering, arming)

    assert proxy.was_cut.is_set()
    assert isinstance(outcomes[0], HoldAlreadyEnded)
    assert not [outcome for outcome in outcomes[1:] if isinstance(outcome, BaseException)]
    assert await books.amounts() == (980, 0)
    assert (await ledger.verify()).is_clean


async def test_a_program_without_an_epoch_waits_until_it_is_decided(
    proxy: CuttingProxy, store: Store
) -> None:
    """Such as a command. Nobody ends its former session: PostgreSQL does, in its own time."""
    proxy.cut(Cut.AFTER)
    account = await store.accounts.create_account("amina", 1, BY)
    assert proxy.was_cut.is_set()
    assert await store.accounts.find_account("amina") == account


async def test_a_connection_that_says_nothing_any_more(
    url: str, proxy: CuttingProxy, store: Store, books: Books
) -> None:
    """As when a firewall forgot it: given up after the limit, and the callers know nothing."""
    database = PostgresqlDatabase(proxy.url)
    patience = Patience(write_s=10, stuck_s=10, commit_s=0.5, watch_interval_s=0.05)
    writer = GroupCommit(database, patience=patience)
    ledger = SqlLedger(database, writer, store.reader)
    epoch = await ledger.open_epoch(1)
    hold = books.hold("hold-silent", epoch=epoch)
    proxy.cut(Cut.SILENT)
    with pytest.raises(StoreUnavailable, match="unknown"):
        await ledger.place(hold)
    # It is written all the same; whoever ends it finds that out.
    await ledger.void(hold.id)
    with pytest.raises(HoldAlreadyEnded):
        await ledger.void(hold.id)
    assert await books.amounts() == (1_000, 0)
    await writer.aclose()


class TestWhatPostgresqlSays:
    """Of a transaction that is named as the writer names it."""

    @pytest.fixture
    def database(self, url: str) -> PostgresqlDatabase:
        return PostgresqlDatabase(url)

    @pytest.fixture
    def connection(self, database: PostgresqlDatabase) -> Iterator[Connection]:
        connection = database.connect()
        yield connection
        connection.close()

    @pytest.fixture
    def later(self, database: PostgresqlDatabase) -> Iterator[Connection]:
        connection = database.connect()
        yield connection
        connection.close()

    def test_the_three_outcomes(self, connection: Connection, later: Connection) -> None:
        connection.begin()
        first = connection.transaction
        assert first is not None
        assert later.outcome_of(first) is Outcome.UNDECIDED
        connection.commit()
        assert later.outcome_of(first) is Outcome.COMMITTED

        connection.begin()
        second = connection.transaction
        assert second not in (None, first)
        connection.roll_back()
        assert later.outcome_of(str(second)) is Outcome.ABORTED

    def test_a_number_of_another_cluster_means_nothing(
        self, connection: Connection, later: Connection
    ) -> None:
        connection.begin()
        connection.commit()
        _, _, number = str(connection.transaction).rpartition("/")
        assert later.outcome_of(f"another/00000001/{number}") is Outcome.UNKNOWN


class TestConnections:
    """How long a connection waits for a server that says nothing any more."""

    async def test_a_silent_server_is_noticed_in_seconds(self, store: Store) -> None:
        for run in (partial(store.writer.run, ()), store.reader.run):
            said = await run(parameters)
            assert int(said["keepalives_idle"]) <= 10
            assert int(said["tcp_user_timeout"]) <= 15_000

    async def test_what_the_url_says_goes_before(self, url: str) -> None:
        async with open_store(f"{url}?tcp_user_timeout=7000&connect_timeout=3") as store:
            said = await store.reader.run(parameters)
            assert (said["tcp_user_timeout"], said["connect_timeout"]) == ("7000", "3")
            assert said["keepalives_idle"] == "10"

    async def test_a_read_has_an_end_and_an_audit_has_none(self, store: Store) -> None:
        def timeouts(connection: Connection) -> tuple[str, str]:
            show = "SHOW statement_timeout"
            (outside,) = connection.cursor.execute(show).fetchone()
            connection.begin_snapshot()
            (inside,) = connection.cursor.execute(show).fetchone()
            connection.roll_back()
            return outside, inside

        assert await store.reader.run(timeouts) == ("10s", "0")


def parameters(connection: Connection) -> dict[str, str]:
    """What libpq was told."""
    assert isinstance(connection, PostgresqlConnection)
    return connection._raw.info.get_parameters()
