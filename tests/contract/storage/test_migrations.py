"""Books of an earlier version: what they hold is right, also what was open when it ended."""

from __future__ import annotations

from tests.support import former_books
from tests.support.clock import SetClock
from tests.support.former_books import COUNTED, CREDIT, HELD, RECEIPT, SPENT, USAGE

from bandari.adapters.storage import open_store
from bandari.domain.ledger import Count, Ending
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
