"""Books of an earlier version: what they hold is right, also what was open when it ended."""

from __future__ import annotations

import pytest
import sqlalchemy
from msgspec.structs import replace
from tests.contract.storage.books import BY
from tests.support import former_books
from tests.support.clock import SetClock
from tests.support.former_books import COUNTED, CREDIT, HELD, RECEIPT, SPENT, USAGE

from bandari.adapters.storage import open_store
from bandari.adapters.storage.migrate import upgrade
from bandari.adapters.storage.store import open_database
from bandari.domain.ledger import Count, Ending, Line, TransactionKind
from bandari.domain.pricing import FULL_PRICE, token_card
from bandari.domain.usage import CountRule, Usage
from bandari.service.upkeep import settle_dead_holds


async def test_open_holds_are_kept_and_settled_by_their_last_count(empty_url: str) -> None:
    former_books.write_former_books(empty_url)
    async with open_store(empty_url) as store:
        ledger = store.ledger
        assert (await ledger.verify()).is_clean
        (wallet,) = await store.accounts.wallets(1)
        assert (wallet.balance, wallet.held) == (CREDIT - SPENT, sum(HELD.values()))

        await ledger.open_epoch(10)
        holds = {hold.id: hold for hold, _ in await ledger.dead_holds(10)}
        assert {name: hold.amount for name, hold in holds.items()} == HELD
        assert holds[COUNTED].counted == Count(Usage(*USAGE), CountRule.COUNTED)
        assert holds[COUNTED].end_user == "otieno"

        assert await settle_dead_holds(ledger, SetClock()) == 2
        charged = USAGE[0] + USAGE[1]
        (wallet,) = await store.accounts.wallets(1)
        assert (wallet.balance, wallet.held) == (CREDIT - SPENT - charged, 0)
        settled = await ledger.receipt(COUNTED)
        assert settled is not None
        assert (settled.amount, settled.ending, settled.rule) == (
            charged,
            Ending.SERVER_DIED,
            CountRule.COUNTED,
        )
        assert (await ledger.verify()).is_clean


async def test_former_receipts_have_no_basis_and_teach_nothing(empty_url: str) -> None:
    former_books.write_former_books(empty_url)
    async with open_store(empty_url) as store:
        receipt = await store.ledger.receipt(RECEIPT)
        assert receipt is not None
        assert (receipt.rule, receipt.basis) == (CountRule.ESTIMATED, None)
        assert await store.ledger.experience() == {}


async def test_former_books_are_at_full_price_and_of_the_accounts_own(empty_url: str) -> None:
    former_books.write_former_books(empty_url)
    async with open_store(empty_url) as store:
        receipt = await store.ledger.receipt(RECEIPT)
        assert receipt is not None
        assert receipt.price_ratio == FULL_PRICE
        (wallet,) = await store.accounts.wallets(1)
        assert wallet.end_user == ""

        await store.ledger.open_epoch(10)
        for hold, card in await store.ledger.dead_holds(10):
            assert (hold.sub_wallet, hold.price_ratio, card.ratio) == ("", FULL_PRICE, FULL_PRICE)


async def test_former_receipts_repeat_nothing_and_former_prices_ask_nothing_for_it(
    empty_url: str,
) -> None:
    former_books.write_former_books(empty_url)
    async with open_store(empty_url) as store:
        receipt = await store.ledger.receipt(RECEIPT)
        assert receipt is not None
        assert receipt.repeated_tokens == 0
        assert await store.rate_cards.pin([token_card("m")]) == [replace(token_card("m"), id=1)]


async def test_wallets_keep_what_guards_them_and_what_points_at_them(empty_url: str) -> None:
    """On SQLite their table is made anew."""
    former_books.write_former_books(empty_url)
    async with open_store(empty_url) as store:
        (own,) = await store.accounts.wallets(1)
        his = await store.accounts.transfer(
            *(1, "TOKEN", 5, Line.CASH, TransactionKind.CREDIT, "test", 20, BY, "otieno")
        )
        assert his is not None
        assert (own.id, his.id) == (1, 2)
    engine = open_database(empty_url).migration_engine()
    for change in (
        "UPDATE wallets SET held = -1 WHERE id = 2",
        "UPDATE wallets SET held = 6 WHERE id = 2",
        "UPDATE wallets SET end_user = NULL WHERE id = 2",
        "UPDATE wallets SET end_user = '' WHERE id = 2",
    ):
        with pytest.raises(sqlalchemy.exc.IntegrityError), engine.begin() as connection:
            connection.exec_driver_sql(change)
    with engine.begin() as connection:
        inspector = sqlalchemy.inspect(connection)
        for table in ("holds", "postings", "receipts"):
            referred = {key["referred_table"] for key in inspector.get_foreign_keys(table)}
            assert "wallets" in referred
        if empty_url.startswith("sqlite"):
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall() == []
    engine.dispose()


def test_what_has_been_appended_is_not_written_again(empty_url: str) -> None:
    """There may be millions of receipts: a new column is a matter of the schema alone."""
    former_books.write_former_books(empty_url)
    database = open_database(empty_url)
    upgrade(database, "0003")

    def places() -> list[object]:
        """Where the tables are stored."""
        engine = database.migration_engine()
        with engine.begin() as connection:
            found = connection.exec_driver_sql(
                "SELECT name, rootpage FROM sqlite_schema WHERE tbl_name IN"
                " ('receipts', 'postings', 'transactions') ORDER BY name"
                if empty_url.startswith("sqlite")
                else "SELECT pg_relation_filenode('receipts'), pg_relation_filenode('postings'),"
                " pg_relation_filenode('transactions')"
            )
            rows = [tuple(row) for row in found]
        engine.dispose()
        return [*rows]

    before = places()
    for revision in ("0004", "0005"):
        upgrade(database, revision)
        assert places() == before
