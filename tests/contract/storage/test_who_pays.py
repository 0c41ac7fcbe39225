"""Whose wallet a hold is of, and by which price ratio: both are pinned when it is placed."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.contract.storage.books import Books, a_count, charge, open_books
from tests.contract.storage.conftest import Tamper
from tests.support.clock import SetClock

from bandari.adapters.storage import Store, open_store
from bandari.domain.ledger import Count, Ending
from bandari.domain.pricing import FULL_PRICE, PriceRatio, charge_for
from bandari.domain.usage import CountRule, Usage
from bandari.service.upkeep import settle_dead_holds

OTIENO = "otieno"
HALF_MORE = PriceRatio(3, 2)


@pytest.fixture
async def reseller(books: Books) -> Books:
    """An account with 1,000 of its own, and an end user with 300."""
    await books.credit(300, end_user=OTIENO)
    return books


class TestSubWallets:
    async def test_a_hold_is_of_the_end_users_wallet_alone(self, reseller: Books) -> None:
        placement = await reseller.store.ledger.place(reseller.hold("a", 300, sub_wallet=OTIENO))

        assert placement.placed
        assert placement.wallet == await reseller.wallet(end_user=OTIENO)
        assert placement.wallet.end_user == OTIENO
        assert await reseller.amounts(OTIENO) == (300, 300)
        assert await reseller.amounts() == (1_000, 0)

    async def test_the_account_does_not_help_out(self, reseller: Books) -> None:
        ledger = reseller.store.ledger
        refused = await ledger.place(reseller.hold("a", 301, sub_wallet=OTIENO))
        assert not refused.placed
        assert refused.wallet == await reseller.wallet(end_user=OTIENO)

        await ledger.place(reseller.hold("b", 200, sub_wallet=OTIENO))
        assert await ledger.extend("b", 500, 101) == 0
        assert await ledger.extend("b", 500, 50) == 100
        receipt = await ledger.post(charge("b", 450))

        assert (receipt.amount, receipt.overrun, receipt.balance_after) == (300, 150, 0)
        assert receipt.account == reseller.account.name
        assert await reseller.amounts(OTIENO) == (0, 0)
        assert await reseller.amounts() == (1_000, 0)
        assert (await ledger.verify()).is_clean

    async def test_the_end_user_does_not_pay_for_the_account(self, reseller: Books) -> None:
        """Whom a request is for, and who pays for it, are two things."""
        ledger = reseller.store.ledger
        placement = await ledger.place(reseller.hold("a", 1_000, end_user=OTIENO))
        assert placement.placed
        assert placement.wallet is not None
        assert placement.wallet.end_user == ""
        await ledger.void("a")

        assert await reseller.amounts(OTIENO) == (300, 0)
        assert not (await ledger.place(reseller.hold("b", 1_001))).placed

    @pytest.mark.parametrize(
        "fields", [{"sub_wallet": "Otieno"}, {"sub_wallet": OTIENO, "asset": "KES"}]
    )
    async def test_without_a_wallet_of_his_nothing_is_placed(
        self, reseller: Books, fields: dict[str, str]
    ) -> None:
        await reseller.credit(500, "KES")
        placement = await reseller.store.ledger.place(reseller.hold(amount=1, **fields))
        assert (placement.placed, placement.wallet) == (False, None)

    async def test_two_accounts_may_each_have_one_of_that_name(self, reseller: Books) -> None:
        other = await open_books(reseller.store, 500, epoch=reseller.epoch)
        ledger = reseller.store.ledger
        assert (await ledger.place(other.hold(sub_wallet=OTIENO))).wallet is None
        await other.credit(50, end_user=OTIENO)

        assert not (await ledger.place(other.hold(sub_wallet=OTIENO, amount=51))).placed
        assert (await ledger.place(other.hold(sub_wallet=OTIENO, amount=50))).placed
        assert await reseller.amounts(OTIENO) == (300, 0)

    async def test_what_is_voided_is_his_again(self, reseller: Books) -> None:
        ledger = reseller.store.ledger
        await ledger.place(reseller.hold("a", 300, sub_wallet=OTIENO))
        await ledger.void("a")
        assert await reseller.amounts(OTIENO) == (300, 0)
        assert await reseller.amounts() == (1_000, 0)

    async def test_the_audit_sees_what_is_wrong_with_his(
        self, reseller: Books, tamper: Tamper
    ) -> None:
        ledger = reseller.store.ledger
        await ledger.place(reseller.hold("a", 100, sub_wallet=OTIENO))
        wallet = await reseller.wallet(end_user=OTIENO)
        tamper(f"UPDATE wallets SET balance = balance + 7, held = held + 1 WHERE id = {wallet.id}")

        found = {
            (one.subject, one.stored, one.derived) for one in (await ledger.verify()).differences
        }
        assert found == {
            (f"wallet {wallet.id}: balance", 307, 300),
            (f"wallet {wallet.id}: held", 101, 100),
        }


class TestPriceRatios:
    @pytest.mark.parametrize(
        "ratio", [FULL_PRICE, HALF_MORE, PriceRatio(0), PriceRatio(999_983, 1_000_000)]
    )
    @pytest.mark.parametrize("amount", [60, 0, 5_000])
    async def test_a_receipt_names_the_ratio(
        self, books: Books, ratio: PriceRatio, amount: int
    ) -> None:
        """Of a charge that is covered, that is nothing, and that is more than there is."""
        ledger = books.store.ledger
        await ledger.place(books.hold("a", price_ratio=ratio))

        receipt = await ledger.post(charge("a", amount))

        assert receipt.price_ratio == ratio
        assert await ledger.receipt("a") == receipt

    async def test_a_dead_servers_hold_is_charged_by_its_own_ratio(self, reseller: Books) -> None:
        ledger, seven = reseller.store.ledger, Count(Usage(4, 3), CountRule.COUNTED)
        holds = [
            reseller.hold("a", 100, price_ratio=HALF_MORE, counted=seven),
            reseller.hold("b", 100, price_ratio=PriceRatio(0), counted=seven),
            reseller.hold("c", 100, price_ratio=PriceRatio(1, 3), sub_wallet=OTIENO, counted=seven),
            reseller.hold("d", 100, counted=seven),
        ]
        for hold in holds:
            await ledger.place(hold)
        await ledger.close_epoch(reseller.epoch, 50)

        dead = await ledger.dead_holds(10)
        assert [hold for hold, _ in dead] == holds
        for hold, card in dead:
            assert card == replace(reseller.card, ratio=hold.price_ratio)
        assert await settle_dead_holds(ledger, SetClock()) == len(holds)

        paid = {}
        for hold in holds:
            receipt = await ledger.receipt(hold.id)
            assert receipt is not None
            assert (receipt.ending, receipt.price_ratio) == (Ending.SERVER_DIED, hold.price_ratio)
            paid[hold.id] = receipt.amount
        # 7 × 3/2 = 10.5, rounded up; 7 × 1/3 = 2.3.
        assert paid == {"a": 11, "b": 0, "c": 2, "d": 7}
        assert await reseller.amounts(OTIENO) == (298, 0)
        assert await reseller.amounts() == (982, 0)
        assert (await ledger.verify()).is_clean

    async def test_rate_cards_are_pinned_without_it(self, books: Books) -> None:
        """It is no price of the model's: it makes no new version, and none has it."""
        (card,) = await books.store.rate_cards.pin([replace(books.card, ratio=HALF_MORE)])
        assert (card.id, card.version) == (books.card.id, books.card.version)
        await books.store.ledger.place(books.hold("a"))
        await books.store.ledger.close_epoch(books.epoch, 50)
        ((_, dead),) = await books.store.ledger.dead_holds(1)
        assert dead.ratio == FULL_PRICE


async def test_both_are_there_after_the_store_was_closed(url: str) -> None:
    async with open_store(url) as store:
        books = await open_books(store)
        await books.credit(40, end_user=OTIENO)
        hold = books.hold("a", 40, sub_wallet=OTIENO, end_user=OTIENO, price_ratio=HALF_MORE)
        await store.ledger.place(hold)
    async with open_store(url) as store:
        used = a_count(10, 14)
        receipt = await store.ledger.post(
            charge("a", charge_for(replace(books.card, ratio=HALF_MORE), used.usage), count=used)
        )
        assert (receipt.amount, receipt.price_ratio) == (36, HALF_MORE)
        (wallet,) = await store.accounts.wallets(books.account.id, OTIENO)
        assert (wallet.balance, wallet.held) == (4, 0)


async def test_of_many_end_users_each_pays_for_himself(store: Store) -> None:
    """In one batch, with holds of the account's own."""
    books = await open_books(store, 1_000)
    names = [f"user {number}" for number in range(40)]
    for number, name in enumerate(names):
        await books.credit(number + 1, end_user=name)
    holds = [
        books.hold(f"h{number}", number + 1, sub_wallet=name) for number, name in enumerate(names)
    ]
    holds += [books.hold(f"own {number}", 25) for number in range(40)]

    placements = await asyncio.gather(*(store.ledger.place(hold) for hold in holds))

    assert all(placement.placed for placement in placements)
    assert [await books.amounts(name) for name in names] == [(n, n) for n in range(1, 41)]
    assert await books.amounts() == (1_000, 1_000)
    assert (await store.ledger.verify()).is_clean
