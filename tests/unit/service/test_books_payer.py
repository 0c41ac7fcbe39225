"""Who pays for a request, in which asset, and how much of its price."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.support.books_in_memory import BooksInMemory
from tests.support.clock import SetClock
from tests.support.samples import SHILLINGS, TOKENS, a_model, a_principal, a_request

from bandari.domain.accounts import AccountPolicy, EndUserTerms
from bandari.domain.catalogue import Group
from bandari.domain.keys import Principal
from bandari.domain.ledger import Count, Ending, RunningCount
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import FULL_PRICE, PriceRatio
from bandari.domain.usage import CountRule, Usage
from bandari.service.books import Books, HoldRequest, Payer, payer_for
from bandari.service.upkeep import settle_dead_holds

HALF_MORE, A_THIRD, NOTHING = PriceRatio(3, 2), PriceRatio(1, 3), PriceRatio(0)
BOTH = a_model(rate_cards=(TOKENS, SHILLINGS))
STRICT = AccountPolicy(needs_sub_wallets=True)
PROMPT = 100


def asking(*assets: str, ratio: PriceRatio = FULL_PRICE, **changes: object) -> Principal:
    """On behalf of ``otieno``, who has wallets in these assets."""
    terms = EndUserTerms(assets=assets)
    group = Group(name="default", price_ratio=ratio)
    return replace(
        a_principal(end_user="otieno", end_user_terms=terms, group_terms=group), **changes
    )


def wanted(principal: Principal, max_tokens: int = 50) -> HoldRequest:
    return HoldRequest(
        hold_id="rcpt_1",
        epoch=4,
        now_ms=1000,
        principal=principal,
        model=a_model(),
        request=a_request(max_tokens=max_tokens),
    )


async def uncounted() -> None:
    return None


class TestWho:
    def test_the_account_pays_for_itself(self):
        assert payer_for(BOTH, a_principal()) == Payer(TOKENS)
        assert payer_for(BOTH, a_principal(account_policy=STRICT)) == Payer(TOKENS)

    @pytest.mark.parametrize("terms", [None, EndUserTerms()])
    def test_the_account_pays_for_an_end_user_without_a_wallet(self, terms):
        asks = a_principal(end_user="otieno", end_user_terms=terms)
        assert payer_for(BOTH, asks) == Payer(TOKENS)

    def test_an_end_user_with_a_wallet_pays_for_himself(self):
        assert payer_for(BOTH, asking("TOKEN")) == Payer(TOKENS, "otieno")

    @pytest.mark.parametrize("terms", [None, EndUserTerms()])
    def test_an_account_may_pay_for_none_who_has_no_wallet(self, terms):
        asks = a_principal(end_user="otieno", end_user_terms=terms, account_policy=STRICT)
        refused = payer_for(BOTH, asks)
        assert isinstance(refused, Deny)
        assert refused.reason is Reason.INSUFFICIENT_BALANCE
        assert "end user 'otieno' has no wallet" in refused.detail
        assert refused.retry_after_ms is None

    def test_who_has_a_wallet_is_not_refused_by_that(self):
        assert payer_for(BOTH, asking("TOKEN", account_policy=STRICT)) == Payer(TOKENS, "otieno")


class TestWhichAsset:
    @pytest.mark.parametrize(
        ("assets", "card"),
        [(("TOKEN", "KES"), SHILLINGS), (("KES",), SHILLINGS), (("TOKEN",), TOKENS)],
    )
    def test_it_is_the_models_first_that_the_payer_has(self, assets, card):
        model = a_model(rate_cards=(SHILLINGS, TOKENS))
        assert payer_for(model, a_principal(assets=assets)) == Payer(card)
        assert payer_for(model, asking(*assets, assets=("TOKEN",))) == Payer(card, "otieno")

    def test_the_accounts_assets_are_not_the_end_users(self):
        """His wallet is his cap: the account does not step in where it is in another asset."""
        refused = payer_for(a_model(rate_cards=(TOKENS,)), asking("KES", assets=("TOKEN",)))
        assert isinstance(refused, Deny)
        assert refused.reason is Reason.INSUFFICIENT_BALANCE

    def test_an_account_without_a_wallet_is_refused(self):
        refused = payer_for(BOTH, a_principal(assets=()))
        assert isinstance(refused, Deny)
        assert "'amina' has no balance in TOKEN or KES" in refused.detail


class TestHowMuch:
    @pytest.mark.parametrize("ratio", [HALF_MORE, A_THIRD, NOTHING])
    def test_the_card_has_the_groups_ratio(self, ratio):
        own = replace(asking("TOKEN", ratio=ratio), end_user_terms=None)
        assert payer_for(BOTH, own) == Payer(replace(TOKENS, ratio=ratio))
        assert payer_for(BOTH, asking("TOKEN", ratio=ratio)) == Payer(
            replace(TOKENS, ratio=ratio), "otieno"
        )

    @pytest.mark.parametrize(
        ("ratio", "held", "charged"),
        [
            (FULL_PRICE, PROMPT + 50, 15),
            (HALF_MORE, 225, 23),  # 22.5
            (A_THIRD, 50, 5),
            (NOTHING, 0, 0),
        ],
    )
    async def test_what_is_held_and_charged(self, ratio, held, charged):
        ledger = BooksInMemory(TOKENS)
        ledger.credit(1, "TOKEN", 1_000)
        ledger.credit(1, "TOKEN", 400, "otieno")
        reservation = await Books(ledger).hold(wanted(asking("TOKEN", ratio=ratio)), uncounted)
        assert ledger.writes("place") == [held]
        placed = ledger.holds["rcpt_1"]
        assert (placed.sub_wallet, placed.end_user, placed.price_ratio) == (
            *("otieno", "otieno"),
            ratio,
        )
        receipt = await reservation.post(
            Count(Usage(10, 5), CountRule.REPORTED),
            Ending.COMPLETED,
            target="acme:acme-1",
            ended_ms=2000,
            finish_reason="stop",
            reasoning_effort=None,
        )
        assert (receipt.amount, receipt.price_ratio) == (charged, ratio)
        assert ledger.wallet(end_user="otieno").balance == 400 - charged
        assert ledger.wallet().balance == 1_000

    async def test_his_balance_shortens_the_answer_not_the_accounts(self):
        """180 are 120 tokens at that ratio: the prompt's bound and 20 more. 120 are 80."""
        ledger = BooksInMemory(TOKENS)
        ledger.credit(1, "TOKEN", 1_000_000)
        ledger.credit(1, "TOKEN", 180, "otieno")
        reservation = await Books(ledger).hold(wanted(asking("TOKEN", ratio=HALF_MORE)), uncounted)
        assert (reservation.max_tokens, reservation.shortened) == (20, True)
        await reservation.void()

        ledger.credit(1, "TOKEN", -60, "otieno")
        refused = await Books(ledger).hold(wanted(asking("TOKEN", ratio=HALF_MORE)), uncounted)
        assert isinstance(refused, Deny)
        assert "120 TOKEN are free" in refused.detail
        assert ledger.wallet().held == 0

    async def test_where_all_is_free_an_empty_wallet_is_enough(self):
        ledger = BooksInMemory(TOKENS)
        ledger.credit(1, "TOKEN", 0)
        asks = replace(asking(ratio=NOTHING), end_user=None)
        reservation = await Books(ledger).hold(wanted(asks, 4096), uncounted)
        assert (reservation.max_tokens, reservation.shortened) == (4096, False)
        assert await reservation.covers(10**9)

    async def test_a_dead_server_is_settled_by_the_ratio_of_its_hold(self):
        ledger = BooksInMemory(TOKENS)
        ledger.credit(1, "TOKEN", 1_000)
        await Books(ledger).hold(wanted(replace(asking(ratio=HALF_MORE), end_user=None)), uncounted)
        await ledger.count([RunningCount("rcpt_1", Count(Usage(10, 5), CountRule.COUNTED))])
        ledger.epoch_died(4)
        assert await settle_dead_holds(ledger, SetClock()) == 1
        assert ledger.receipts["rcpt_1"].amount == 23
