"""Placing holds: how much is set aside, when an answer is shortened, and when it is refused."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.books_in_memory import BooksInMemory
from tests.support.samples import (
    FREE_OUTPUT,
    PER_REQUEST,
    SHILLINGS,
    TOKENS,
    a_model,
    a_principal,
    a_request,
)

from bandari.domain.chat import ResponseFormat, Tool, ToolChoice
from bandari.domain.faults import ContextLengthExceeded, StoreUnavailable
from bandari.domain.ledger import Count
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import FULL_PRICE
from bandari.domain.usage import CountRule, Usage
from bandari.service.books import (
    IMAGE_BOUND_TOKENS,
    MAX_PLACE_ATTEMPTS,
    Books,
    HoldRequest,
)
from bandari.service.reservation import ROLL_TOKENS

PROMPT = 100
"""The bound of ``a_request``: its bytes and what a template may add."""


class Counter:
    """Counts the prompt (or fails to), and how often it was asked to."""

    def __init__(self, tokens: int | BaseException | None = None) -> None:
        self.tokens = tokens
        self.asked = 0

    async def __call__(self) -> int | None:
        self.asked += 1
        if isinstance(self.tokens, BaseException):
            raise self.tokens
        return self.tokens


def books(balance: int = 1_000_000, asset: str = "TOKEN") -> BooksInMemory:
    ledger = BooksInMemory(TOKENS, FREE_OUTPUT, PER_REQUEST, SHILLINGS)
    ledger.credit(1, asset, balance)
    return ledger


async def hold(ledger, request=None, model=None, count=None, principal=None, through=None):
    wanted = HoldRequest(
        hold_id="rcpt_1",
        epoch=4,
        now_ms=1000,
        principal=principal or a_principal(),
        model=model or a_model(),
        request=request or a_request(),
    )
    return await (through or Books(ledger)).hold(wanted, count or Counter())


# -- how much --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "amount"),
    [
        (a_request(max_tokens=50), PROMPT + 50),
        (a_request(max_tokens=1024), PROMPT + 1024),
        (a_request(max_tokens=3000), PROMPT + ROLL_TOKENS),
        (a_request(), PROMPT + ROLL_TOKENS),
        (a_request(max_tokens=50, n=3), PROMPT + 150),
        (a_request(n=3), PROMPT + 3 * ROLL_TOKENS),
        (a_request(max_tokens=1, images=2), PROMPT + 2 * IMAGE_BOUND_TOKENS + 1),
        (a_request(max_tokens=1, input_bytes=0), 65),
    ],
)
async def test_a_hold_covers_the_prompts_bound_and_the_next_1024_tokens_of_each_choice(
    request_, amount
):
    ledger = books()
    model = a_model(context_window=100_000, max_output_tokens=100_000)
    reservation = await hold(ledger, request_, model)
    assert ledger.writes("place") == [amount]
    assert ledger.wallet().held == amount
    assert not reservation.shortened
    assert reservation.max_tokens == request_.sampling.max_tokens


async def test_the_hold_says_whose_it_is_and_pins_the_price():
    ledger = books()
    await hold(ledger, a_request(max_tokens=1), principal=a_principal(end_user="zawadi"))
    placed = ledger.holds["rcpt_1"]
    assert replace(placed, amount=0) == replace(
        placed,
        id="rcpt_1",
        account_id=1,
        asset="TOKEN",
        amount=0,
        epoch=4,
        key_id=3,
        model="bandari-1",
        rate_card_id=TOKENS.id,
        created_ms=1000,
        end_user="zawadi",
        counted=None,
        sub_wallet="",
        price_ratio=FULL_PRICE,
    )


async def test_a_model_may_give_less_than_1024_tokens():
    ledger = books()
    await hold(ledger, model=a_model(max_output_tokens=10))
    assert ledger.writes("place") == [PROMPT + 10]


async def test_free_output_holds_the_prompt_only_and_is_never_shortened():
    ledger = books(balance=PROMPT)
    model = a_model(rate_cards=(FREE_OUTPUT,), max_output_tokens=8192)
    reservation = await hold(ledger, a_request(), model)
    assert ledger.writes("place") == [PROMPT]
    assert reservation.covered_output is None
    assert (reservation.max_tokens, reservation.shortened) == (None, False)


async def test_without_a_limit_of_the_clients_the_models_holds_unannounced():
    reservation = await hold(books(), a_request(), a_model(max_output_tokens=2000))
    assert (reservation.max_tokens, reservation.shortened) == (2000, False)


async def test_a_price_per_request_is_part_of_the_hold():
    ledger = books(balance=7)
    reservation = await hold(ledger, a_request(max_tokens=9), a_model(rate_cards=(PER_REQUEST,)))
    assert ledger.writes("place") == [7]
    assert not reservation.shortened
    ledger = books(balance=6)
    refused = await hold(ledger, a_request(), a_model(rate_cards=(PER_REQUEST,)))
    assert isinstance(refused, Deny)


async def test_prices_that_are_no_whole_units_are_rounded_once():
    ledger = books(1000, "KES")
    principal = a_principal(assets=("KES",))
    await hold(ledger, a_request(max_tokens=10), a_model(rate_cards=(SHILLINGS,)), None, principal)
    assert ledger.writes("place") == [22]  # 100 x 0.15 + 10 x 0.4 + 3


# -- which wallet ----------------------------------------------------------------------------------


async def test_the_models_first_asset_that_the_account_has_a_wallet_in_pays():
    model = a_model(rate_cards=(TOKENS, SHILLINGS))
    ledger = books(1000, "KES")
    reservation = await hold(ledger, model=model, principal=a_principal(assets=("KES",)))
    assert reservation.card is SHILLINGS
    ledger.credit(1, "TOKEN", 5000)
    ledger.holds.clear()
    reservation = await hold(ledger, model=model, principal=a_principal(assets=("KES", "TOKEN")))
    assert reservation.card is TOKENS


@pytest.mark.parametrize("assets", [(), ("TOKEN",)])
async def test_without_a_wallet_the_refusal_names_the_assets(assets):
    ledger = BooksInMemory()  # also where the wallet is gone since the key was looked up
    model = a_model(rate_cards=(TOKENS, SHILLINGS))
    refused = await hold(ledger, model=model, principal=a_principal(assets=assets))
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.INSUFFICIENT_BALANCE
    assert "'amina' has no balance in TOKEN or KES" in refused.detail


# -- the context window ----------------------------------------------------------------------------


async def test_a_prompt_that_surely_fits_is_not_counted():
    count = Counter(5)
    await hold(books(), a_request(max_tokens=8192 - PROMPT), a_model(max_output_tokens=8192), count)
    assert count.asked == 0


async def test_a_prompt_that_exceeds_the_window_is_refused_with_both_numbers():
    ledger = books()
    count = Counter(9000)
    with pytest.raises(ContextLengthExceeded) as caught:
        await hold(ledger, a_request(input_bytes=40_000), count=count)
    assert "9000 tokens" in caught.value.message
    assert "8192" in caught.value.message
    assert caught.value.param == "messages"
    assert count.asked == 1
    assert not ledger.log


async def test_a_prompt_that_fills_the_window_leaves_no_room_for_an_answer():
    with pytest.raises(ContextLengthExceeded):
        await hold(books(), a_request(input_bytes=40_000), count=Counter(8192))
    reservation = await hold(books(), a_request(input_bytes=40_000), count=Counter(8191))
    assert not reservation.shortened


async def test_a_long_prompt_that_cannot_be_counted_is_left_to_the_upstream():
    ledger = books()
    reservation = await hold(ledger, a_request(input_bytes=40_000), count=Counter(None))
    assert ledger.writes("place") == [8192 + ROLL_TOKENS]
    assert reservation.exact_input is None


async def test_a_limit_is_cut_to_what_the_window_leaves_after_the_counted_prompt():
    ledger = books()
    reservation = await hold(
        ledger, a_request(input_bytes=8000, max_tokens=4096), count=Counter(8000)
    )
    assert (reservation.max_tokens, reservation.shortened) == (192, True)
    assert reservation.exact_input == 8000
    assert ledger.writes("place") == [8192]


async def test_an_exact_count_may_show_that_nothing_need_be_cut():
    reservation = await hold(
        books(), a_request(input_bytes=8000, max_tokens=4000), count=Counter(2000)
    )
    assert (reservation.max_tokens, reservation.shortened) == (4000, False)


async def test_without_a_count_half_of_the_bound_is_taken_for_the_prompt():
    reservation = await hold(books(), a_request(input_bytes=8000, max_tokens=4096))
    assert (reservation.max_tokens, reservation.shortened) == (4096, False)
    reservation = await hold(
        books(), a_request(input_bytes=80_000, max_tokens=4096), a_model(context_window=8000)
    )
    assert (reservation.max_tokens, reservation.shortened) == (4000, True)


async def test_a_limit_beyond_what_the_model_gives_is_cut_and_announced():
    reservation = await hold(books(), a_request(max_tokens=5000))
    assert (reservation.max_tokens, reservation.shortened) == (4096, True)


# -- the balance -----------------------------------------------------------------------------------


async def test_a_balance_that_covers_part_of_the_answer_shortens_it():
    ledger = books(balance=PROMPT + 40)
    reservation = await hold(ledger, a_request(max_tokens=500))
    assert (reservation.max_tokens, reservation.shortened) == (40, True)
    assert ledger.writes("place") == [PROMPT + 40]
    assert reservation.covered_output == 40


async def test_what_the_balance_covers_is_divided_among_the_choices():
    ledger = books(balance=PROMPT + 41)
    reservation = await hold(ledger, a_request(max_tokens=500, n=4))
    assert (reservation.max_tokens, reservation.shortened) == (10, True)
    assert ledger.writes("place") == [PROMPT + 40]


async def test_an_answer_without_a_limit_gets_the_one_that_the_balance_sets():
    """Also where the hold itself, which reaches 1,024 tokens ahead, could be placed in full."""
    ledger = books(balance=PROMPT + 2000)
    reservation = await hold(ledger, a_request())
    assert (reservation.max_tokens, reservation.shortened) == (2000, True)
    assert ledger.writes("place") == [PROMPT + ROLL_TOKENS]


async def test_the_prompt_is_counted_exactly_when_the_balance_is_in_doubt():
    count = Counter(20)
    ledger = books(balance=PROMPT + 40)
    reservation = await hold(ledger, a_request(max_tokens=500), count=count)
    assert count.asked == 1
    assert (reservation.max_tokens, reservation.exact_input) == (120, 20)
    assert ledger.wallet().free == 0

    count = Counter(20)
    reservation = await hold(books(PROMPT + 40), a_request(max_tokens=41), count=count)
    assert (reservation.max_tokens, reservation.shortened) == (41, False)

    count = Counter(20)
    await hold(books(PROMPT + 40), a_request(max_tokens=40), count=count)
    assert count.asked == 0


async def test_a_count_that_frees_much_still_holds_no_more_than_1024_tokens_ahead():
    ledger = books(balance=2500)
    request = a_request(max_tokens=3000, input_bytes=5000)
    reservation = await hold(ledger, request, count=Counter(100))
    assert reservation.max_tokens == 2400
    assert ledger.writes("place") == [100 + ROLL_TOKENS]


async def test_a_balance_that_does_not_cover_a_first_token_is_refused_and_costs_nothing():
    ledger = books(balance=PROMPT)
    refused = await hold(ledger, a_request(max_tokens=500))
    assert isinstance(refused, Deny)
    assert refused.reason is Reason.INSUFFICIENT_BALANCE
    assert "100 TOKEN are free" in refused.detail
    assert "may cost 101" in refused.detail
    assert ledger.wallet().held == 0


@pytest.mark.parametrize("balance", [0, 1, PROMPT - 1])
async def test_a_balance_that_does_not_cover_the_prompt_is_refused(balance):
    ledger = books()
    ledger.credit(1, "TOKEN", balance - 1_000_000)
    refused = await hold(ledger)
    assert isinstance(refused, Deny)
    assert f"{balance} TOKEN are free" in refused.detail
    assert not ledger.log


async def test_each_choice_needs_a_token():
    assert isinstance(await hold(books(PROMPT + 2), a_request(n=3)), Deny)
    assert not isinstance(await hold(books(PROMPT + 3), a_request(n=3)), Deny)


FORCED = {"tools": (Tool("f"),), "tool_choice": ToolChoice("required")}
NAMED = {"tools": (Tool("f"),), "tool_choice": ToolChoice("named", "f")}
SCHEMA = {"response_format": ResponseFormat("json_schema")}


@pytest.mark.parametrize("useless", [FORCED, NAMED, SCHEMA])
async def test_where_a_shortened_answer_is_useless_it_is_refused(useless):
    ledger = books(balance=PROMPT + 40)
    assert isinstance(await hold(ledger, a_request(max_tokens=41, **useless)), Deny)
    assert ledger.wallet().held == 0
    assert not isinstance(await hold(ledger, a_request(max_tokens=40, **useless)), Deny)


@pytest.mark.parametrize("useless", [FORCED, NAMED, SCHEMA])
async def test_a_call_without_a_limit_needs_1024_tokens(useless):
    assert isinstance(await hold(books(PROMPT + 1023), a_request(**useless)), Deny)
    reservation = await hold(books(PROMPT + 1024), a_request(**useless))
    assert reservation.max_tokens == 1024


async def test_a_hold_that_was_placed_before_the_refusal_is_voided():
    """1,024 tokens fit, so the hold stands; but the call that was asked for needs 3,000."""
    ledger = books(balance=PROMPT + 2000)
    refused = await hold(ledger, a_request(max_tokens=3000, **FORCED))
    assert isinstance(refused, Deny)
    assert [what for what, _, _ in ledger.log] == ["place", "void"]
    assert ledger.wallet() == replace(ledger.wallet(), balance=PROMPT + 2000, held=0)


@pytest.mark.parametrize(
    "harmless",
    [
        {"tools": (Tool("f"),), "tool_choice": ToolChoice("auto")},
        {"response_format": ResponseFormat("json_object")},
        {"response_format": ResponseFormat("text")},
    ],
)
async def test_other_answers_are_shortened(harmless):
    reservation = await hold(books(PROMPT + 40), a_request(max_tokens=41, **harmless))
    assert reservation.max_tokens == 40


async def test_a_wallet_that_shrinks_between_attempts_shortens_the_answer_further():
    ledger = books(balance=PROMPT + 400)
    spending = iter([100, 50])

    def others_spend(_hold) -> None:
        ledger.credit(1, "TOKEN", -next(spending, 0))

    ledger.before_place = others_spend
    reservation = await hold(ledger, a_request(max_tokens=500))
    assert reservation.max_tokens == 250
    assert ledger.wallet().free == 0


async def test_a_wallet_that_keeps_shrinking_is_refused_in_the_end():
    ledger = books(balance=PROMPT + 400)
    attempts = []

    def others_spend(placed) -> None:
        attempts.append(placed.amount)
        ledger.credit(1, "TOKEN", -10)

    ledger.before_place = others_spend
    refused = await hold(ledger, a_request(max_tokens=500))
    assert isinstance(refused, Deny)
    assert len(attempts) == MAX_PLACE_ATTEMPTS
    assert ledger.wallet().held == 0


async def test_a_store_that_is_down_is_a_fault():
    ledger = books()
    ledger.failing["place"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await hold(ledger)


async def test_a_hold_whose_placing_was_not_confirmed_is_ended_when_the_store_is_back():
    ledger = books()
    house = Books(ledger)
    ledger.losing["place"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await hold(ledger, through=house)
    assert ledger.wallet().held > 0
    ledger.failing["void"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await house.end_strays()
    await house.end_strays()
    assert ledger.wallet().held == 0
    await house.end_strays()
    assert ledger.writes("void") == [ledger.log[0][2]]


async def test_a_refusal_stays_one_where_another_server_has_ended_its_hold():
    """It took this one for dead, because the connection to the database was lost."""
    ledger = books(balance=PROMPT + 2000)

    class Settled(Counter):
        async def __call__(self) -> int | None:
            await ledger.void("rcpt_1")
            return None

    refused = await hold(ledger, a_request(max_tokens=3000, **FORCED), count=Settled())
    assert isinstance(refused, Deny)


async def test_a_hold_that_was_never_placed_has_nothing_to_end():
    ledger = books()
    house = Books(ledger)
    ledger.failing["place"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await hold(ledger, through=house)
    await house.end_strays()
    assert ledger.log == []


async def test_a_refused_hold_that_could_not_be_voided_is_ended_later():
    ledger = books(balance=PROMPT + 2000)
    house = Books(ledger)
    ledger.failing["void"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await hold(ledger, a_request(max_tokens=3000, **FORCED), through=house)
    assert ledger.wallet().held > 0
    await house.end_strays()
    assert ledger.wallet().held == 0


@pytest.mark.parametrize("error", [asyncio.CancelledError(), RuntimeError("a defect")])
async def test_a_hold_that_nobody_waits_for_any_more_is_ended_later(error):
    """The caller was cancelled, or broke, while the prompt was counted."""
    ledger = books(balance=PROMPT + 2000)
    house = Books(ledger)
    with pytest.raises(type(error)):
        await hold(ledger, a_request(max_tokens=3000), count=Counter(error), through=house)
    assert ledger.wallet().held > 0
    await house.end_strays()
    assert ledger.wallet().held == 0


async def test_the_hold_ends_by_a_charge_for_the_exact_usage():
    ledger = books()
    reservation = await hold(ledger, a_request(max_tokens=50))
    receipt = await reservation.post(
        Count(Usage(20, 5), CountRule.REPORTED),
        "completed",
        target="acme:acme-1",
        ended_ms=2000,
        finish_reason="stop",
        reasoning_effort="low",
    )
    assert (receipt.amount, receipt.balance_after) == (25, 1_000_000 - 25)
    assert (receipt.target, receipt.ended_ms, receipt.reasoning_effort) == (
        "acme:acme-1",
        2000,
        "low",
    )
    assert ledger.wallet().held == 0
