"""Equal requests at the same time: one is generated, and the others wait for it."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.cached_answers import THERE, client, repeating, waiting
from tests.support.gates import Gate, until_idle
from tests.support.samples import a_model, a_principal, a_request
from tests.support.scripted_upstream import Script, answer, text
from tests.support.streams_house import HI, StreamsHouse, rest
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import NotCached
from bandari.domain.keys import KeyPolicy
from bandari.domain.ledger import Ending
from bandari.domain.recordings import CacheUse
from bandari.domain.usage import CountRule, Usage
from bandari.service.cache_use import CachePlace, CacheUser

LOOPS = {"virtual": VirtualLoop}

USE, REFRESH, ONLY, OFF = CacheUse.USE, CacheUse.REFRESH, CacheUse.ONLY, CacheUse.OFF


# -- joining ---------------------------------------------------------------------------------------


async def test_those_that_follow_wait_and_are_given_the_same():
    gate = Gate()
    house = waiting(gate)
    leader = await client(house)
    followers = [await client(house) for _ in range(5)]
    assert all(follower.recording.frame_count == 0 for follower in followers)
    gate.open()
    assert await leader.read() == THERE
    for follower in followers:
        assert await follower.read() == THERE
        assert (follower.recording.about.was_cached, follower.recording.about.age_s) == (True, 0)
    assert leader.recording.about.was_cached is False
    assert house.calls == 1


async def test_a_follower_pays_the_repeated_price_and_holds_nothing_any_more():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    gate.open()
    await follower.read()
    await until_idle()
    assert (leader.receipt.amount, leader.receipt.repeated_tokens) == (12, 0)
    assert (follower.receipt.amount, follower.receipt.repeated_tokens) == (6, 12)
    assert (follower.receipt.usage, follower.receipt.rule) == (Usage(), CountRule.REPORTED)
    assert (follower.receipt.target, follower.receipt.ending) == ("cache", Ending.COMPLETED)
    assert (house.books.wallet().balance, house.books.wallet().held) == (1_000_000 - 18, 0)
    assert house.books.voided == []


async def test_a_follower_is_counted_as_nothing_that_was_generated():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    gate.open()
    await leader.read()
    await follower.read()
    await until_idle()
    usages = [usage for *_, usage in house.metrics.of("generation_ended")]
    assert sorted(usage.total_tokens for usage in usages) == [0, 12]


async def test_a_follower_tells_no_running_count():
    gate, post = Gate(), None
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    post = house.books.held_up("post")
    gate.open()
    await post.reached.wait()
    house.books.no_longer_held_up("post")
    post = house.books.held_up("post")
    await until_idle()
    told: list[str] = []

    async def write(counts) -> None:
        told.extend(count.hold_id for count in counts)

    await house.inference.write_counts(write)
    assert follower.recording.about.receipt_id not in told
    post.open()
    await leader.read()
    await follower.read()


async def test_they_may_differ_in_how_they_are_told():
    gate = Gate()
    house = waiting(gate)
    await client(house)
    follower = await client(house, request=a_request(stream=False))
    gate.open()
    assert await follower.read() == b"end:Hithere:12\n"


async def test_one_with_a_window_or_a_key_follows_like_any_other():
    gate = Gate()
    house = waiting(gate)
    await client(house)
    follower = await client(house, idempotency_key="k")
    gate.open()
    assert await follower.read() == THERE
    again = await house.answered(idempotency_key="k", at=house.another_server())
    assert await rest(again) == THERE
    assert house.calls == 1


@pytest.mark.parametrize(
    "other",
    [
        {"request": a_request(max_tokens=7)},
        {"principal": a_principal(end_user="amina")},
        {"cache": OFF},
        {"cache": REFRESH},
        {"is_background": True},
    ],
)
async def test_others_do_not_wait(other):
    gate = Gate()
    house = waiting(gate)
    await client(house)
    found = await client(house, **other)
    assert await found.read() == HI
    assert house.calls == 2
    gate.open()
    await until_idle()


async def test_one_that_is_made_while_money_is_held_for_another_is_given_to_that():
    gate = Gate()
    house = waiting(gate)
    leader = await client(house)
    place = house.books.held_up("place")
    latecomer = asyncio.create_task(house.answered(cache=USE))
    await place.reached.wait()
    gate.open()
    await leader.read()
    await until_idle()
    place.open()
    found = await latecomer
    assert await rest(found) == THERE
    assert (found.recording.about.was_cached, house.calls) == (True, 1)


async def test_only_does_not_wait_for_what_is_not_there_yet():
    gate = Gate()
    house = waiting(gate)
    leader = await client(house)
    with pytest.raises(NotCached):
        await house.ask(cache=ONLY)
    gate.open()
    await leader.read()
    await client(house, ONLY)
    assert house.calls == 1


async def test_a_key_or_a_model_says_it_for_the_request():
    for options, principal in (
        ({"model": a_model(cache=USE)}, a_principal()),
        ({}, a_principal(policy=KeyPolicy(cache=USE))),
    ):
        house = StreamsHouse(**options)
        await house.whole(principal=principal)
        assert (await house.whole(principal=principal)).recording.about.was_cached
        assert (
            await house.whole(principal=principal, cache=OFF)
        ).recording.about.was_cached is None
        assert house.calls == 2


async def test_an_answer_is_kept_for_as_long_as_its_key_its_model_or_the_settings_say():
    for options, policy, ttl_s in (
        ({}, KeyPolicy(), 3_600),
        ({"model": a_model(cache_ttl_s=50)}, KeyPolicy(), 50),
        ({"model": a_model(cache_ttl_s=50)}, KeyPolicy(cache_ttl_s=20), 20),
    ):
        house, who = StreamsHouse(**options), a_principal(policy=policy)
        await house.whole(principal=who, cache=USE)
        house.clock.pass_ms(ttl_s * 1_000 - 1)
        assert await house.answered(principal=who, cache=ONLY)
        house.clock.pass_ms(1)
        with pytest.raises(NotCached):
            await house.ask(principal=who, cache=ONLY)


# -- made anew -------------------------------------------------------------------------------------


async def test_refresh_makes_it_anew_and_keeps_that():
    house = repeating(Script(*answer("old")), Script(*answer("new")))
    await house.whole(cache=USE)
    found = await house.answered(cache=REFRESH)
    assert b"new" in await rest(found)
    assert found.recording.about.was_cached is False
    await until_idle()
    assert b"new" in await rest(await house.answered(cache=ONLY))
    assert (house.calls, house.cache.count) == (2, 1)


async def test_of_two_that_are_made_the_younger_is_kept():
    gate = Gate()
    first = Script(text("old"), gate, *answer("est"))
    house = repeating(first, Script(*answer("new")))
    elder = await client(house)
    younger = await client(house, REFRESH)
    await younger.read()
    gate.open()
    assert b"old" in await elder.read()
    await until_idle()
    assert b"new" in await rest(await house.answered(cache=ONLY))


async def test_what_is_not_to_be_kept_is_not():
    house = StreamsHouse()
    await house.whole(cache=OFF)
    await house.whole()
    assert house.cache.count == 0


async def test_without_any_room_those_that_wait_are_given_it_all_the_same():
    gate = Gate()
    house = waiting(gate, max_cached_bytes=0)
    leader, follower = await client(house), await client(house)
    gate.open()
    assert await leader.read() == await follower.read() == THERE
    assert (house.calls, house.cache.count) == (1, 0)


# -- by itself -------------------------------------------------------------------------------------


def user(house: StreamsHouse, *, joins: bool = True, name: str = "str_1") -> CacheUser:
    place = CachePlace(key=b"k" * 32, account_id=1, end_user=None, ttl_ms=1_000, joins=joins)
    return CacheUser(house.cache, place, name)


async def test_before_it_has_asked_there_is_nothing_to_tell():
    one = user(StreamsHouse())
    assert not one.is_awaited
    one.observe((text("a"),))
    one.land(Usage(1, 1), "acme:acme-1", ())
    one.fail()


async def test_who_waits_is_told_apart_from_who_makes():
    house = StreamsHouse()
    one, other = user(house), user(house, name="str_2")
    assert await one.answer() is None
    waiting = asyncio.create_task(other.answer())
    await until_idle()
    assert (one.is_awaited, other.is_awaited) == (True, False)
    one.observe((text("a"),))
    one.land(Usage(1, 1), "acme:acme-1", ("seed",))
    found = await waiting
    assert (found.recording_id, found.ignored) == ("str_1", ("seed",))
    assert not one.is_awaited


async def test_what_is_there_is_not_waited_for_while_it_is_made_anew():
    house = StreamsHouse()
    one, anew = user(house), user(house, joins=False, name="str_2")
    assert await one.answer() is None
    one.observe((text("a"),))
    one.land(Usage(1, 1), "acme:acme-1", ())
    assert await anew.answer() is None
    found = await user(house, name="str_3").answer()
    assert found.recording_id == "str_1"
    anew.fail()
