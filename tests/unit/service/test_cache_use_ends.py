"""Equal requests wait for one answer: it fails, is cut, or loses its client."""

from __future__ import annotations

import asyncio

from tests.support.cached_answers import THERE, client, repeating, waiting
from tests.support.gates import Gate, until_idle
from tests.support.limited_answers import assert_nothing_reserved
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import Script, answer, counted, text
from tests.support.streams_house import HI, StreamsHouse, rest
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import UpstreamInterrupted
from bandari.domain.ledger import Ending
from bandari.domain.recordings import CacheUse
from bandari.service.recordings import LOOK_AGAIN_S

LOOPS = {"virtual": VirtualLoop}

# -- the one that they wait for comes to nothing ---------------------------------------------------


async def test_where_it_fails_one_of_them_is_the_next():
    gate = Gate()
    failing = Script(text("Hi"), counted(3, prompt=9), gate, UpstreamInterrupted())
    house = repeating(failing, Script(*answer("Hi")))
    leader = await client(house)
    followers = [await client(house) for _ in range(3)]
    gate.open()
    assert b"problem:upstream_interrupted" in await leader.read()
    assert [await follower.read() for follower in followers] == [HI] * 3
    assert [follower.recording.about.was_cached for follower in followers].count(False) == 1
    assert house.calls == 2


async def test_where_all_fail_each_has_had_its_try():
    house = repeating(Script(UpstreamInterrupted()))
    gate = Gate()
    house.upstreams["acme"]._scripts = [Script(gate, UpstreamInterrupted())]
    clients = [await client(house) for _ in range(4)]
    gate.open()
    for each in clients:
        await each.read()
        assert each.recording.problem.code == "upstream_interrupted"
    assert house.calls == 4
    assert (house.books.wallet().held, house.books.wallet().balance) == (0, 1_000_000)


async def test_one_that_is_stopped_is_nothing_for_others():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    await house.front.delete(a_principal(), leader.recording.id)
    assert await follower.read() == HI
    assert house.calls == 2


async def test_a_shortened_answer_neither_waits_nor_is_kept():
    house = StreamsHouse(balance=1_000)
    await house.whole(cache=CacheUse.USE)
    assert (house.cache.count, house.recordings.count) == (0, 0)
    gate = Gate()
    rich = waiting(gate)
    await client(rich)
    rich.books.credit(1, "TOKEN", 1_000 - rich.books.wallet().free)
    shortened = await client(rich)
    assert shortened.recording.about.max_tokens is not None
    assert await shortened.read() == HI
    assert rich.calls == 2
    gate.open()
    await until_idle()


async def test_an_answer_that_was_cut_is_not_kept():
    house = StreamsHouse(*[(text("a"), counted(number)) for number in range(1, 100)])
    await house.whole(cache=CacheUse.USE, request=a_request(max_tokens=20))
    assert house.cache.count == 0


async def test_one_that_could_not_be_charged_is_not_kept():
    house = StreamsHouse()
    house.books.failing["post"] = [ZeroDivisionError()]
    await house.whole(cache=CacheUse.USE)
    assert house.cache.count == 0


# -- clients leave ---------------------------------------------------------------------------------


async def test_one_that_others_wait_for_goes_on_without_its_client():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    leader.leave()
    await until_idle()
    gate.open()
    assert await follower.read() == THERE
    await until_idle()
    assert (leader.receipt.ending, leader.receipt.amount) == (Ending.COMPLETED, 12)
    assert house.calls == 1


async def test_when_they_leave_too_it_is_stopped():
    gate, later = Gate(), Gate()
    house = repeating(
        Script(text("Hi"), counted(3, prompt=9), gate, text("there"), later, *answer("!"))
    )
    leader, follower = await client(house), await client(house)
    leader.leave()
    await until_idle()
    gate.open()
    await until_idle()
    follower.leave()
    await asyncio.sleep(LOOK_AGAIN_S)
    await until_idle()
    assert not later.is_open
    assert leader.receipt.ending is Ending.CLIENT_LEFT
    assert (house.books.wallet().held, house.cache.count) == (0, 0)
    assert (house.recordings.count, house.space.used) == (0, 0)


async def test_when_they_leave_just_before_its_end_it_ends_all_the_same():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    leader.leave()
    follower.leave()
    await until_idle()
    post = house.books.held_up("post")
    gate.open()
    await post.reached.wait()
    await until_idle()
    post.open()
    await until_idle()
    assert leader.recording.ended
    assert (house.books.wallet().held, house.recordings.count) == (0, 0)


async def test_a_client_that_comes_back_is_not_cut_when_they_leave():
    gate, later = Gate(), Gate()
    first = Script(text("Hi"), counted(3, prompt=9), gate, text("there"), later, *answer("!"))
    house = repeating(first)
    leader, follower = await client(house, window_s=30), await client(house)
    leader.leave()
    await asyncio.sleep(31)  # the window has passed, and the follower waits
    again = await house.front.find(a_principal(), leader.recording.id)
    reading = asyncio.create_task(rest(again))
    await until_idle()
    follower.leave()
    await until_idle()
    gate.open()
    await until_idle()
    later.open()
    assert b"end:12" in await reading


async def test_a_follower_that_leaves_costs_nothing():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    follower.leave()
    await until_idle()
    assert (follower.receipt, house.books.voided) == (None, ["rcpt_" + follower.recording.id[4:]])
    gate.open()
    assert await leader.read() == THERE
    assert_nothing_reserved(house)


async def test_the_client_of_another_does_not_stop_it():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    for _ in range(3):
        other = await client(house)
        other.leave()
        await until_idle()
    gate.open()
    assert await leader.read() == await follower.read() == THERE


async def test_cancelling_is_stopping_whoever_waits():
    gate = Gate()
    house = waiting(gate)
    leader, follower = await client(house), await client(house)
    await house.front.delete(a_principal(), leader.recording.id)
    await until_idle()
    assert leader.receipt.ending is Ending.CANCELLED
    assert await follower.read() == HI
