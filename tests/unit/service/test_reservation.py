"""How an open hold rolls on with its answer."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.books_in_memory import BooksInMemory
from tests.support.gates import until_idle
from tests.support.samples import (
    FREE_OUTPUT,
    PER_REQUEST,
    SHILLINGS,
    TOKENS,
    a_model,
    a_principal,
    a_request,
)

from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Count, Ending
from bandari.domain.usage import CountRule, Usage
from bandari.service.books import Books, HoldRequest
from bandari.service.reservation import ROLL_TOKENS

PROMPT = 100


async def reserved(ledger, card=TOKENS, **request):
    async def cannot_count() -> None:
        return None

    wanted = HoldRequest(
        hold_id="rcpt_1",
        epoch=1,
        now_ms=0,
        principal=a_principal(assets=(card.asset,)),
        model=a_model(
            rate_cards=(card,),
            context_window=1_000_000,
            max_output_tokens=request.pop("most", 100_000),
        ),
        request=a_request(**request),
    )
    reservation = await Books(ledger).hold(wanted, cannot_count)
    ledger.log.clear()
    return reservation


def books(balance: int = 1_000_000, asset: str = "TOKEN") -> BooksInMemory:
    ledger = BooksInMemory(TOKENS, FREE_OUTPUT, PER_REQUEST, SHILLINGS)
    ledger.credit(1, asset, balance)
    return ledger


async def post(reservation, input_tokens: int, output_tokens: int):
    return await reservation.post(
        Count(Usage(input_tokens, output_tokens), CountRule.COUNTED),
        Ending.COMPLETED,
        target="acme:acme-1",
        ended_ms=1,
        finish_reason=None,
        reasoning_effort=None,
    )


async def test_nothing_is_asked_for_while_more_than_half_a_roll_is_left():
    ledger = books()
    reservation = await reserved(ledger)
    assert await reservation.covers(1)
    assert await reservation.covers(ROLL_TOKENS // 2 - 1)
    await until_idle()
    assert not ledger.log


async def test_the_hold_is_extended_in_the_background_before_its_room_is_used_up():
    ledger = books()
    reservation = await reserved(ledger)
    gate = ledger.held_up("extend")
    assert await reservation.covers(512)  # asks, and does not wait
    await gate.reached.wait()
    assert await reservation.covers(700)
    assert await reservation.covers(1023)
    gate.open()
    await until_idle()
    assert ledger.writes("extend") == [ROLL_TOKENS]
    assert await reservation.covers(1024)
    assert reservation.covered_output == 2 * ROLL_TOKENS


async def test_an_extension_that_came_in_time_is_taken_without_a_wait():
    ledger = books()
    reservation = await reserved(ledger)
    assert await reservation.covers(512)
    await until_idle()
    assert await reservation.covers(513)
    assert reservation.covered_output == 2 * ROLL_TOKENS
    assert await reservation.covers(514)
    await until_idle()
    assert ledger.writes("extend") == [ROLL_TOKENS]


async def test_the_answer_waits_when_its_room_is_used_up_first():
    ledger = books()
    reservation = await reserved(ledger)
    gate = ledger.held_up("extend")
    asked = asyncio.create_task(reservation.covers(1024))
    await gate.reached.wait()
    assert not asked.done()
    gate.open()
    assert await asked


async def test_a_long_answer_rolls_on_and_on():
    ledger = books()
    reservation = await reserved(ledger, n=2)
    for output in range(0, 20_000, 300):
        assert await reservation.covers(output)
        await until_idle()
    assert set(ledger.writes("extend")) == {2 * ROLL_TOKENS}
    assert 0 <= reservation.covered_output - output <= 4 * ROLL_TOKENS
    await post(reservation, PROMPT, output)
    assert (ledger.wallet().balance, ledger.wallet().held) == (1_000_000 - PROMPT - output, 0)


async def test_a_hold_never_reaches_beyond_the_clients_limit():
    ledger = books()
    reservation = await reserved(ledger, max_tokens=1100, n=2)
    assert await reservation.covers(1500)
    await until_idle()
    assert await reservation.covers(1501)
    assert ledger.writes("extend") == [2 * (1100 - ROLL_TOKENS)]
    assert await reservation.covers(2199)
    await until_idle()
    assert len(ledger.log) == 1


async def test_a_limit_that_the_first_hold_covers_is_never_extended():
    ledger = books()
    reservation = await reserved(ledger, max_tokens=10)
    for output in range(12):
        assert await reservation.covers(output)
    await until_idle()
    assert not ledger.log


async def test_reaching_the_limit_while_the_last_extension_is_under_way_is_no_denial():
    ledger = books()
    reservation = await reserved(ledger, max_tokens=1_500)
    gate = ledger.held_up("extend")
    assert await reservation.covers(600)
    await gate.reached.wait()
    waiting = asyncio.create_task(reservation.covers(1_500))
    await until_idle()
    gate.open()
    assert await waiting
    assert ledger.writes("extend") == [1_500 - ROLL_TOKENS]


async def test_an_answer_that_outran_its_extension_asks_for_more():
    """A piece of three thousand tokens, while what was asked for was enough for 1,024."""
    ledger = books()
    reservation = await reserved(ledger)
    gate = ledger.held_up("extend")
    assert await reservation.covers(600)
    await gate.reached.wait()
    waiting = asyncio.create_task(reservation.covers(3_600))
    await until_idle()
    gate.open()
    assert await waiting
    assert reservation.covered_output == 3_600 + ROLL_TOKENS


async def test_free_output_is_never_extended():
    ledger = books(balance=PROMPT)
    reservation = await reserved(ledger, FREE_OUTPUT)
    assert await reservation.covers(1_000_000)
    await until_idle()
    assert not ledger.log


async def test_a_grant_of_less_is_used_to_the_last_token():
    """Somebody else spent from the wallet since the hold was placed."""
    ledger = books()
    reservation = await reserved(ledger)
    ledger.credit(1, "TOKEN", 30 - ledger.wallet().free)
    for output in range(ROLL_TOKENS + 30):
        assert await reservation.covers(output), output
        await until_idle()
    assert not await reservation.covers(ROLL_TOKENS + 30)
    receipt = await post(reservation, PROMPT, ROLL_TOKENS + 30)
    assert (receipt.balance_after, receipt.overrun) == (0, 0)


async def test_a_denied_answer_stops_exactly_at_the_last_covered_token():
    ledger = books()
    reservation = await reserved(ledger)
    ledger.credit(1, "TOKEN", -ledger.wallet().free)
    asked = []
    extend = ledger.extend

    async def counted_extend(*arguments):
        asked.append(arguments)
        return await extend(*arguments)

    ledger.extend = counted_extend
    for output in range(ROLL_TOKENS):
        assert await reservation.covers(output), output
        await until_idle()
    assert len(asked) == 1  # not at every token
    assert not await reservation.covers(ROLL_TOKENS)
    assert len(asked) == 2


async def test_a_top_up_after_a_denial_comes_in_time():
    ledger = books()
    reservation = await reserved(ledger)
    ledger.credit(1, "TOKEN", -ledger.wallet().free)
    assert await reservation.covers(600)
    await until_idle()
    assert await reservation.covers(601)
    ledger.credit(1, "TOKEN", 5000)
    assert await reservation.covers(ROLL_TOKENS)
    assert reservation.covered_output == 2 * ROLL_TOKENS


async def test_a_price_of_less_than_a_unit_is_charged_to_the_last_unit():
    """0.4 shillings' smallest units a token: each unit covers two tokens and a half."""
    ledger = books(1000, "KES")
    reservation = await reserved(ledger, SHILLINGS)
    ledger.credit(1, "KES", 2 - ledger.wallet(1, "KES").free)
    output = 0
    while await reservation.covers(output):
        await until_idle()
        output += 1
    receipt = await post(reservation, PROMPT, output)
    assert receipt.overrun == 0
    assert receipt.balance_after == 0


async def test_what_the_prompts_bound_held_too_much_covers_output():
    ledger = books(balance=PROMPT + 40)
    reservation = await reserved(ledger)
    assert reservation.covered_output == 40
    reservation.know_input(10)
    assert reservation.covered_output == 130


@pytest.mark.parametrize("card", [TOKENS, FREE_OUTPUT])
async def test_a_prompt_that_exceeds_its_bound_is_made_up_for(card):
    """Hidden templates and images: a wallet that has the money pays, and the answer goes on."""
    ledger = books()
    reservation = await reserved(ledger, card)
    reservation.know_input(9000)
    assert await reservation.covers(1)
    receipt = await post(reservation, 9000, 1)
    assert receipt.overrun == 0


async def test_a_prompt_that_exceeds_its_bound_and_the_wallet_ends_the_answer():
    ledger = books(balance=5000)
    reservation = await reserved(ledger)
    reservation.know_input(9000)
    assert not await reservation.covers(1)
    receipt = await post(reservation, 9000, 1)
    assert (receipt.amount, receipt.overrun, receipt.balance_after) == (5000, 4001, 0)


@pytest.mark.parametrize("end", ["post", "void"])
async def test_an_extension_in_flight_when_the_answer_ends_is_awaited_first(end):
    ledger = books()
    reservation = await reserved(ledger)
    gate = ledger.held_up("extend")
    assert await reservation.covers(600)
    ending = asyncio.create_task(
        post(reservation, PROMPT, 600) if end == "post" else reservation.void()
    )
    await gate.reached.wait()
    await until_idle()
    assert not ending.done()
    gate.open()
    await ending
    assert [what for what, _, _ in ledger.log] == ["extend", end]
    assert ledger.wallet().held == 0


async def test_an_extension_that_fails_is_told_to_the_answer():
    ledger = books()
    reservation = await reserved(ledger)
    ledger.failing["extend"] = [StoreUnavailable(), StoreUnavailable()]
    assert await reservation.covers(600)
    await until_idle()
    with pytest.raises(StoreUnavailable):
        await reservation.covers(601)
    with pytest.raises(StoreUnavailable):
        await reservation.covers(1024)
    assert await reservation.covers(1024)  # the store is back


async def test_an_extension_that_fails_as_the_answer_ends_is_nobodys_concern():
    unseen = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, told: unseen.append(told))
    ledger = books()
    reservation = await reserved(ledger)
    ledger.failing["extend"] = [StoreUnavailable()]
    assert await reservation.covers(600)
    await post(reservation, PROMPT, 600)
    await until_idle()
    assert not unseen
    assert ledger.wallet().held == 0
