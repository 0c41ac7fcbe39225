"""Answers under limits: what they reserve, how they end, and that nothing stays reserved."""

from __future__ import annotations

from functools import partial

import pytest
from tests.support.gates import Gate, until
from tests.support.limited_answers import (
    ALL,
    PROMPT,
    asking,
    assert_nothing_reserved,
    begun,
    count,
    counters,
    used,
)
from tests.support.plain_encoder import PlainEncoder
from tests.support.samples import FREE_OUTPUT, TOKENS, a_model, a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, finish, text
from tests.support.small_house import SmallHouse, ended
from tests.support.spent_before import SpentBefore

from bandari.domain.allowance import Quota
from bandari.domain.catalogue import Defaults, Group
from bandari.domain.chat import ResponseFormat
from bandari.domain.faults import OwnFault, StoreUnavailable, UpstreamInterrupted
from bandari.domain.ledger import Ending
from bandari.domain.limits import Allotment
from bandari.domain.outcome import Deny, Reason
from bandari.service.books import HoldRequest
from bandari.service.generation import Generation

# How long an answer may become.


async def test_the_clients_limit_is_reserved_whole_and_what_follows_rolls():
    house = SmallHouse(ScriptedUpstream(Script(Gate())))
    request = a_request(max_tokens=3000)
    for asked, reserved in ((request, 3100), (a_request(), 1124), (a_request(n=2), 2148)):
        generation = await begun(house, asking(**ALL), asked)
        assert generation.recording.about.standing().tokens.remaining == 10**6 - reserved
        generation.stop(Ending.CANCELLED)
        await ended(generation, house.books)
    assert_nothing_reserved(house)


async def test_a_models_default_is_reserved_as_if_the_client_had_said_it():
    house = SmallHouse(model=a_model(defaults=Defaults(max_tokens=7)))
    generation = await begun(house, asking(**ALL))
    assert generation.recording.about.standing().tokens.remaining == 10**6 - 107
    await ended(generation, house.books)


async def test_a_quota_shortens_an_answer_and_says_so():
    house = SmallHouse()
    generation = await begun(house, asking(Quota(lifetime=400)), a_request(max_tokens=1000))
    assert generation.recording.about.max_tokens == 300
    assert generation.request.sampling.max_tokens == 300
    await ended(generation, house.books)
    assert used(house, "key.quota.lifetime") == 12


async def test_the_smaller_of_wallet_and_quota_shortens_it():
    house = SmallHouse(balance=250)
    generation = await begun(house, asking(Quota(lifetime=400)), a_request(max_tokens=1000))
    assert generation.recording.about.max_tokens == 150
    assert generation.recording.about.standing().tokens is None
    assert next(counters(house)).outstanding == 250
    await ended(generation, house.books)


async def test_what_must_be_whole_is_refused_where_the_quota_does_not_cover_it():
    house = SmallHouse()
    request = a_request(max_tokens=1000, response_format=ResponseFormat(kind="json_schema"))
    deny = await begun(house, asking(Quota(lifetime=400)), request)
    assert isinstance(deny, Deny)
    assert (deny.reason, deny.limit) == (Reason.KEY_QUOTA, "key.quota.lifetime")
    assert not house.books.log
    assert_nothing_reserved(house)


async def test_a_balance_a_quota_and_a_spend_limit_are_told_apart():
    house = SmallHouse(balance=50)
    for principal, reason in (
        (asking(), Reason.INSUFFICIENT_BALANCE),
        (asking(Quota(per_day=50)), Reason.KEY_QUOTA),
        (asking(spend_per_day={"TOKEN": 50}), Reason.SPEND_LIMIT),
        (asking(tokens_per_minute=50), Reason.RATE_LIMIT),
    ):
        deny = await begun(house, principal)
        assert isinstance(deny, Deny)
        assert deny.reason is reason


async def test_an_answer_ends_where_its_quota_does():
    """Another answer has reserved the rest meanwhile: what rolls finds nothing left."""
    gate = Gate()
    steps = [(count(PROMPT, many), text("word ")) for many in range(1, 3000)]
    house = SmallHouse(ScriptedUpstream(Script(gate, *steps, finish()), Script(Gate())))
    first = await begun(house, asking(Quota(lifetime=2300)))
    second = await begun(house, asking(Quota(lifetime=2300)))
    gate.open()
    done = await ended(first, house.books)
    assert done.receipt.ending is Ending.LIMIT_REACHED
    assert done.receipt.usage.total_tokens == 2300 - 1124
    assert done.lines[-1] == "end:length:1176"
    assert done.problem is None
    second.stop(Ending.CANCELLED)
    await ended(second, house.books)
    assert_nothing_reserved(house)
    assert used(house, "key.quota.lifetime") == 1176


async def test_a_slow_answer_may_go_on_longer_than_a_window_holds():
    """3,000 tokens, 100 every three seconds, under a window of 2,000 a minute."""
    house = SmallHouse()
    steps = [(count(PROMPT, many), text("word ")) for many in range(100, 3100, 100)]
    slowly = (step for each in steps for step in (partial(house.clock.pass_ms, 3000), each))
    house.inference.use({"acme": ScriptedUpstream(Script(*slowly, finish()))})
    generation = await begun(house, asking(tokens_per_minute=2000))
    done = await ended(generation, house.books)
    assert done.receipt.ending is Ending.COMPLETED
    assert done.receipt.usage.total_tokens == 3100
    assert_nothing_reserved(house)


async def test_a_fast_answer_ends_where_its_window_is_full():
    steps = [(count(PROMPT, many), text("word ")) for many in range(100, 3100, 100)]
    house = SmallHouse(ScriptedUpstream(Script(*steps, finish())))
    generation = await begun(house, asking(tokens_per_minute=2000))
    done = await ended(generation, house.books)
    assert done.receipt.ending is Ending.LIMIT_REACHED
    assert done.receipt.usage.total_tokens == 2000
    assert_nothing_reserved(house)


async def reserved(house: SmallHouse, principal, card=TOKENS):
    async def cannot_count() -> None:
        return None

    wanted = HoldRequest(
        hold_id="rcpt_1",
        epoch=1,
        now_ms=0,
        principal=principal,
        model=a_model(rate_cards=(card,), context_window=10**6, max_output_tokens=10**5),
        request=a_request(),
    )
    return await house.service_books.hold(wanted, cannot_count, house.limiter)


async def test_a_wallet_that_ends_is_told_apart_from_a_limit_that_ended_before():
    house = SmallHouse()
    reservation = await reserved(house, asking(tokens_per_minute=1124))
    house.books.credit(1, "TOKEN", -house.books.wallet().free)
    assert not await reservation.covers(1024)
    assert reservation.is_limited
    house.clock.pass_ms(60_000)
    assert not await reservation.covers(1024)
    assert not reservation.is_limited


@pytest.mark.parametrize("rest_ms", [30_000, 60_000])
async def test_an_empty_wallet_ends_nothing_that_its_hold_covers(rest_ms):
    """The window let the hold reach less far at first; now it has room again."""
    house = SmallHouse()
    reservation = await reserved(house, asking(tokens_per_minute=700))
    house.books.credit(1, "TOKEN", -house.books.wallet().free)
    assert not await reservation.covers(600)
    house.clock.pass_ms(rest_ms)
    assert await reservation.covers(600)
    assert not house.books.writes("extend")


async def test_output_that_is_free_rolls_by_its_limits_alone():
    house = SmallHouse()
    reservation = await reserved(house, asking(tokens_per_minute=3000), FREE_OUTPUT)
    assert await reservation.covers(1024)
    assert reservation.covered_output == 2048
    assert not house.books.writes("extend")


async def test_a_prompt_is_booked_while_it_goes_on_only_where_it_is_known():
    house = SmallHouse()
    reservation = await reserved(house, asking(tokens_per_minute=10_000))
    await reservation.covers(1024)
    window = next(counters(house))
    assert window.remaining(house.clock.monotonic_ns()) == 10_000 - 2148
    assert window.outstanding == 2148 - 1024
    reservation.know_input(90)
    await reservation.covers(2058)
    assert window.outstanding == 90 + 3082 - 2148


async def test_what_is_being_charged_while_the_store_is_read_is_read_again():
    house = SmallHouse()
    reports = SpentBefore(books=house.books)
    house.limiter.__init__(clock=house.clock, reports=reports)
    first = await begun(house, a_principal())
    gate = house.books.held_up("post")
    await gate.reached.wait()
    limited = asking(Quota(lifetime=10_000))
    second = await begun(house, limited)
    gate.open()
    await ended(first, house.books), await ended(second, house.books)
    house.clock.pass_ms(1000)
    await ended(await begun(house, limited), house.books)
    assert len(reports.asked) == 2


async def test_an_answer_that_goes_beyond_its_reservation_has_to_drain():
    house = SmallHouse(ScriptedUpstream(Script(*answer("Hello", 900, 400))))
    generation = await begun(house, asking(tokens_per_minute=1000), a_request(max_tokens=10))
    await ended(generation, house.books)
    deny = await begun(house, asking(tokens_per_minute=1000), a_request(max_tokens=10))
    assert deny.retry_after_ms == (1300 + 110 - 1000) * 60


async def test_priority_decides_who_enters_a_full_house():
    house = SmallHouse(ScriptedUpstream(Script(Gate())))
    house.inference._open_requests.rank([0, 1])
    house.inference._open_requests._max_open = 10
    low, high = (a_principal(group_terms=Group(name="g", priority=each)) for each in (0, 1))
    open_ones = [await begun(house, low) for _ in range(9)]
    with pytest.raises(OwnFault):
        await begun(house, low)
    open_ones.append(await begun(house, high))
    for each in open_ones:
        each.stop(Ending.CANCELLED)
        await ended(each, house.books)


# Given back, once, however it ends.


class BadKeeper:
    async def open(self, generation):
        raise StoreUnavailable

    async def keep(self, end): ...


async def test_nothing_stays_reserved_where_the_wallet_refuses():
    house = SmallHouse(balance=10)
    assert isinstance(await begun(house, asking(**ALL)), Deny)
    assert_nothing_reserved(house)


@pytest.mark.parametrize("what", ["place", "keeper", "encoder", "recording"])
async def test_nothing_stays_reserved_where_it_fails_before_it_begins(what, monkeypatch):
    house = SmallHouse()
    if what == "place":
        house.books.losing["place"] = [StoreUnavailable()]
    if what == "recording":
        monkeypatch.setattr("bandari.service.inference.Recording", None)
    keeper = BadKeeper() if what == "keeper" else None
    make = (lambda opening: 1 / 0) if what == "encoder" else (lambda opening: PlainEncoder())
    with pytest.raises((StoreUnavailable, ZeroDivisionError, TypeError)):
        await house.inference.begin(asking(**ALL), a_request(), make, keeper)
    assert_nothing_reserved(house)
    await house.inference.settle_late()
    assert not house.books.holds
    assert all(not each.used for each in counters(house) if isinstance(each, Allotment))


async def test_what_an_upstream_did_not_give_is_given_back():
    house = SmallHouse(ScriptedUpstream(Script(UpstreamInterrupted())))
    generation = await begun(house, asking(**ALL))
    assert (await ended(generation, house.books)).was_voided
    assert generation.recording.about.standing().tokens.remaining == 10**6
    assert used(house, "key.quota.lifetime") == 0
    assert_nothing_reserved(house)


@pytest.mark.parametrize("ending", [Ending.CLIENT_LEFT, Ending.SERVER_STOPPED, Ending.CANCELLED])
async def test_what_was_generated_until_it_was_stopped_is_used(ending):
    gate = Gate()
    house = SmallHouse(ScriptedUpstream(Script(count(80, 5), text("Hello"), gate)))
    generation = await begun(house, asking(**ALL))
    await gate.reached.wait()
    generation.stop(ending)
    done = await ended(generation, house.books)
    assert done.receipt.usage.total_tokens == 85
    assert used(house, "key.quota.lifetime") == used(house, "key.spend_per_day.TOKEN") == 85
    assert_nothing_reserved(house)


@pytest.mark.parametrize("lost", [True, False])
async def test_what_could_not_be_charged_stays_reserved_until_it_is_settled(lost):
    house = SmallHouse()
    post = house.books.post

    async def fail(charge):
        house.books.post = post
        if lost:
            await post(charge)
        raise StoreUnavailable

    house.books.post = fail
    generation = await begun(house, asking(**ALL))
    await ended(generation, house.books)
    await until(lambda: not house.inference._running)
    reserved = {
        each.name for each in counters(house) if isinstance(each, Allotment) and each.outstanding
    }
    assert reserved >= {"key.quota.lifetime", "key.spend_per_day.TOKEN"}
    house.books.failing["post"] = house.books.failing["void"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await house.inference.settle_late()
    house.books.failing.clear()
    await house.inference.settle_late()
    assert_nothing_reserved(house)
    charged = sum(each.usage.total_tokens for each in house.books.receipts.values())
    assert charged == 12
    assert used(house, "key.quota.lifetime") == charged


async def test_a_place_is_free_when_the_generation_has_ended_and_not_its_client():
    gate = Gate()
    house = SmallHouse(ScriptedUpstream(Script(text("Hello"), gate, *answer("!"))))
    principal = asking(concurrent_requests=1)
    generation = await begun(house, principal)
    await gate.reached.wait()
    assert (await begun(house, principal)).reason is Reason.CONCURRENCY_LIMIT
    gate.open()
    await until(lambda: not house.inference._running)
    assert isinstance(await begun(house, principal), Generation)
    await ended(generation, house.books)
