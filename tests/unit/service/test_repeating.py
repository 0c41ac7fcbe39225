"""An answer that is repeated from the cache: what it costs, and what it leaves behind."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.cached_answers import CARD, again, cached, repeating
from tests.support.limited_answers import asking, assert_nothing_reserved, counters, used
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer
from tests.support.streams_house import HI, EventEncoder, StreamsHouse, rest

from bandari.domain.accounts import EndUserTerms
from bandari.domain.allowance import Quota
from bandari.domain.catalogue import Group
from bandari.domain.faults import Overloaded, StoreUnavailable
from bandari.domain.ledger import Ending
from bandari.domain.limits import Allotment
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import PriceRatio
from bandari.domain.recordings import CacheUse
from bandari.domain.usage import CountRule, Usage
from bandari.service.answer_terms import AnswerTerms
from bandari.service.recording import RecordingFull
from bandari.service.repeating import Repeated

SPENT = "key.spend_per_day.TOKEN"


# -- what it is ------------------------------------------------------------------------------------


async def test_it_is_the_same_answer_without_another_call():
    house = await cached()
    found = await again(house)
    assert await rest(found) == HI.replace(b"12", b"13")
    assert (house.calls, found.is_replay) == (1, False)
    house.clock.pass_ms(7_999)
    about = (await again(house)).recording.about
    assert (about.was_cached, about.age_s) == (True, 7)


async def test_it_is_of_its_own():
    house = await cached()
    first, second = await again(house), await again(house)
    assert first.recording.id != second.recording.id
    assert first.recording.about.receipt_id != second.recording.about.receipt_id


async def test_it_is_spelled_as_it_is_asked_for_now():
    house = await cached()
    whole = await again(house, request=a_request(stream=False))
    assert await rest(whole) == b"end:Hi:13\n"
    assert not whole.recording.about.is_streaming


async def test_it_says_what_was_not_given_to_its_provider():
    upstream = ScriptedUpstream(Script(*answer("Hi")), ignored=("seed",))
    house = StreamsHouse(upstreams=upstream)
    await house.whole(cache=CacheUse.USE)
    assert (await again(house)).recording.about.ignored == ("seed",)


async def test_to_who_keeps_it_it_has_ended_and_was_paid_for():
    house = await cached()
    begun = await house.inference.begin(
        a_principal(),
        a_request(),
        lambda _: EventEncoder(),
        terms=AnswerTerms(cache=CacheUse.USE),
    )
    assert isinstance(begun, Repeated)
    assert (begun.is_free, begun.is_settled, begun.recording.ended) == (False, True, True)
    assert begun.receipt_id == begun.recording.about.receipt_id
    assert begun.receipt_id in house.books.receipts
    begun.stop(Ending.CANCELLED)
    assert begun.recording.problem is None
    assert house.inference.open_count == 0
    assert not house.metrics.of("generation_started")


# -- what it costs ---------------------------------------------------------------------------------


async def test_it_is_charged_outright_for_all_its_tokens():
    house = await cached()
    free = house.books.wallet().free
    found = await again(house)
    assert [what for what, _, _ in house.books.log] == ["charge"]  # no hold before it, and no post
    receipt = house.books.receipts[found.recording.about.receipt_id]
    assert (receipt.amount, receipt.repeated_tokens) == (7, 13)  # 6.5, rounded as ever
    assert (receipt.usage, receipt.rule) == (Usage(), CountRule.REPORTED)
    assert (receipt.target, receipt.ending) == ("cache", Ending.COMPLETED)
    assert (house.books.wallet().free, house.books.wallet().held) == (free - 7, 0)


@pytest.mark.parametrize(
    ("price", "ratio", "amount"),
    [
        (0, PriceRatio(), 0),
        (1_000_000, PriceRatio(), 13),
        (1_000_000, PriceRatio(1, 2), 7),
        (1_000_000, PriceRatio(0, 1), 0),
        (500_000, PriceRatio(3, 1), 20),
        (38_461, PriceRatio(), 0),
        (38_462, PriceRatio(), 1),
    ],
)
async def test_it_costs_what_the_card_says_and_the_group_pays(price, ratio, amount):
    house = await cached(card=replace(CARD, cache_hit_per_million=price, per_request=1_000))
    found = await again(
        house, principal=a_principal(group_terms=Group(name="default", price_ratio=ratio))
    )
    receipt = house.books.receipts[found.recording.about.receipt_id]
    assert (receipt.amount, receipt.price_ratio) == (amount, ratio)


async def test_the_end_user_pays_who_has_a_wallet():
    who = a_principal(end_user="amina", end_user_terms=EndUserTerms(assets=("TOKEN",)))
    house = repeating(Script(*answer("Hi", prompt=10, output=3)))
    house.books.credit(1, "TOKEN", 20_000, "amina")
    await house.whole(cache=CacheUse.USE, principal=who)
    before = house.books.wallet(end_user="amina").balance
    found = await again(house, principal=who)
    assert house.books.wallet(end_user="amina").balance == before - 7
    assert house.books.receipts[found.recording.about.receipt_id].end_user == "amina"


async def test_an_unstreamed_answer_is_repeated_for_what_it_was():
    house = repeating(Script(*answer("Hi", prompt=10, output=3)))
    await house.whole(cache=CacheUse.USE, request=a_request(stream=False))
    found = await again(house)
    assert house.books.receipts[found.recording.about.receipt_id].repeated_tokens == 13


# -- what it is refused for ------------------------------------------------------------------------


async def refused(house: StreamsHouse, **said) -> Deny:
    kept = house.space.used
    found = await house.ask(cache=CacheUse.USE, **{"window_s": 60} | said)
    assert isinstance(found, Deny)
    assert (house.books.log, house.space.used, house.recordings.count) == ([], kept, 0)
    assert (house.calls, house.inference.open_count) == (1, 0)
    assert house.books.recordings.kept == {}
    return found


async def test_a_balance_that_does_not_cover_it_is_a_refusal():
    house = await cached()
    house.books.credit(1, "TOKEN", 6 - house.books.wallet().free)
    denial = await refused(house, idempotency_key="k")
    assert denial.reason is Reason.INSUFFICIENT_BALANCE
    assert "6 TOKEN are free, and it costs 7" in denial.detail
    house.books.credit(1, "TOKEN", 1)
    found = await house.answered(cache=CacheUse.USE, idempotency_key="k")  # the key is free
    assert not found.is_replay


async def test_who_has_no_wallet_is_refused():
    house = await cached()
    denial = await refused(house, principal=a_principal(assets=("KES",)))
    assert denial.reason is Reason.INSUFFICIENT_BALANCE


async def test_limits_of_spending_hold_for_it():
    house = await cached()
    who = asking(spend_per_day={"TOKEN": 13})
    await again(house, principal=who)
    assert used(house, SPENT) == 7
    house.books.log.clear()
    denial = await refused(house, principal=who)
    assert denial.reason is Reason.SPEND_LIMIT
    assert used(house, SPENT) == 7
    assert_nothing_reserved(house)


async def test_limits_of_tokens_do_not_because_none_are_made():
    house = await cached()
    who = asking(Quota(lifetime=5, per_day=5), tokens_per_minute=5, tokens_per_day=5)
    await again(house, principal=who)
    for counter in counters(house):  # all of them are used up
        now = house.clock.now_ms() if isinstance(counter, Allotment) else 0
        counter.book(5, now or house.clock.monotonic_ns())
    standing = _standing(house)
    for _ in range(3):
        await again(house, principal=who)
    assert _standing(house) == standing
    assert {used_by_now for _, used_by_now in standing} == {5}
    assert_nothing_reserved(house)


def _standing(house: StreamsHouse) -> list[tuple[str, int]]:
    """How much of every limit of tokens is used."""
    now_ns, now_ms = house.clock.monotonic_ns(), house.clock.now_ms()
    states = [
        counter.state(now_ms if isinstance(counter, Allotment) else now_ns)
        for counter in counters(house)
    ]
    return [(state.name, state.used) for state in states]


async def test_its_limits_know_while_its_charge_may_be_in_the_books_already():
    house = await cached()
    charge = house.books.held_up("charge")
    asked = asyncio.create_task(again(house, principal=asking(spend_per_day={"TOKEN": 13})))
    await charge.reached.wait()
    assert len(house.limiter._posting) == 1
    charge.open()
    await asked
    assert_nothing_reserved(house)


async def test_one_that_is_refused_or_fails_reserves_nothing():
    house = await cached()
    who = asking(spend_per_day={"TOKEN": 13}, concurrent_requests=1)
    house.books.failing["charge"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await again(house, principal=who)
    house.books.credit(1, "TOKEN", 6 - house.books.wallet().free)
    assert isinstance(await house.ask(cache=CacheUse.USE, principal=who), Deny)
    assert used(house, SPENT) == 0
    assert_nothing_reserved(house)
    house.books.credit(1, "TOKEN", 1)
    await again(house, principal=who)
    assert used(house, SPENT) == 7


@pytest.mark.parametrize("fault", [StoreUnavailable(), ZeroDivisionError()])
async def test_a_charge_that_fails_gives_its_room_back(fault):
    house = await cached()
    house.books.failing["charge"] = [fault]
    with pytest.raises(type(fault)):
        await again(house, window_s=60)
    assert (house.space.used, house.recordings.count, house.inference.open_count) == (0, 0, 0)
    await again(house)


async def test_one_that_there_is_no_room_for_is_not_charged():
    house = await cached(max_recorded_bytes=20)
    house.space.take(17)
    with pytest.raises(RecordingFull):
        await again(house)
    assert (house.books.log, house.space.used) == ([], 17)


async def test_where_recordings_take_all_the_room_nothing_is_repeated():
    house = await cached()
    house.space.take(house.space.most + 1)
    with pytest.raises(Overloaded):
        await again(house)
    assert house.books.log == []
