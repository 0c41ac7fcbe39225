"""An Idempotency-Key is taken once: one answer, one charge, however often it is asked for."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, counted, text
from tests.support.streams_house import HI, StreamsHouse, rest
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import (
    IdempotencyKeyReused,
    ModelNotFound,
    StoreUnavailable,
    StreamNotResumable,
    UpstreamInterrupted,
)
from bandari.domain.ledger import Ending, Hold
from bandari.domain.outcome import Deny
from bandari.service.streams import Answered, NoSuchFrame

LOOPS = {"virtual": VirtualLoop}


def running(gate: Gate, **options) -> StreamsHouse:
    return StreamsHouse(text("Hi"), counted(3, prompt=9), gate, *answer("there"), **options)


# -- the same again --------------------------------------------------------------------------------


async def test_the_same_again_is_given_what_there_is():
    house = StreamsHouse()
    first = await house.whole(idempotency_key="k")
    again = await house.answered(idempotency_key="k")
    assert again.recording is first.recording
    assert (first.is_replay, again.is_replay) == (False, True)
    assert await rest(again) == HI
    assert (house.calls, house.books.writes("post")) == (1, [12])


async def test_the_same_again_goes_on_where_it_says():
    house = StreamsHouse()
    await house.whole(idempotency_key="k")
    assert await rest(await house.answered(idempotency_key="k", after=1)) == b"end:12\n\n"
    with pytest.raises(NoSuchFrame) as caught:
        await house.ask(idempotency_key="k", after=3)
    assert caught.value.count == 3


async def test_who_says_where_it_was_with_a_key_that_is_new_has_nothing_made():
    house = StreamsHouse()
    with pytest.raises(StreamNotResumable):
        await house.ask(idempotency_key="k", after=0)
    assert house.begun == []
    assert not (await house.whole(idempotency_key="k")).is_replay


async def test_the_same_again_while_it_runs_reads_along():
    gate = Gate()
    house = running(gate)
    first = await house.answered(idempotency_key="k")
    await gate.reached.wait()
    again = await house.answered(idempotency_key="k")
    assert again.recording is first.recording
    reading = [asyncio.create_task(rest(each)) for each in (first, again)]
    await until_idle()
    gate.open()
    one, other = await asyncio.gather(*reading)
    assert one == other
    assert house.calls == 1


async def test_twenty_at_once_are_one():
    house = StreamsHouse()
    asked = [house.whole(idempotency_key="k", before=until_idle) for _ in range(20)]
    found = await asyncio.gather(*asked)
    assert len({each.recording.id for each in found}) == 1
    assert [each.is_replay for each in found].count(False) == 1
    assert (len(house.begun), house.calls, house.books.writes("post")) == (1, 1, [12])


async def test_it_is_the_accounts_and_not_the_api_keys():
    house = StreamsHouse()
    house.books.credit(2, "TOKEN", 1_000)
    first = await house.whole(idempotency_key="k")
    assert (await house.whole(idempotency_key="k", principal=a_principal(key_id=4))).is_replay
    other = await house.whole(idempotency_key="k", principal=a_principal(account_id=2))
    assert other.recording.id != first.recording.id
    assert not (await house.whole(idempotency_key="K")).is_replay


async def test_one_key_does_not_wait_for_another():
    house, gate = StreamsHouse(), Gate()
    held_up = asyncio.create_task(house.ask(idempotency_key="k", before=gate.passing))
    await gate.reached.wait()
    await house.whole(idempotency_key="l")
    house.books.credit(2, "TOKEN", 1_000)
    await house.whole(idempotency_key="k", principal=a_principal(account_id=2))
    assert not held_up.done()
    gate.open()
    await held_up


# -- another request -------------------------------------------------------------------------------

OTHERS = (
    {"body": "another"},
    {"surface": "messages"},
    {"principal": a_principal(end_user="amina")},
)


@pytest.mark.parametrize("other", OTHERS)
async def test_another_request_with_a_key_that_is_taken_is_refused(other):
    gate = Gate()
    house = running(gate)
    await house.answered(idempotency_key="k")
    await gate.reached.wait()
    for _ in ("while it runs", "when it has ended"):
        with pytest.raises(IdempotencyKeyReused) as caught:
            await house.ask(idempotency_key="k", **other)
        assert (caught.value.param, caught.value.status) == ("Idempotency-Key", 409)
        gate.open()
        await until_idle()
    with pytest.raises(IdempotencyKeyReused) as caught:  # of the store
        await house.ask(idempotency_key="k", at=house.another_server(), **other)
    assert caught.value.param == "Idempotency-Key"
    assert len(house.begun) == 1


async def test_for_the_same_end_user_it_is_the_same():
    house, who = StreamsHouse(), a_principal(end_user="amina")
    await house.whole(idempotency_key="k", principal=who)
    assert (await house.whole(idempotency_key="k", principal=who)).is_replay
    elsewhere = house.another_server()
    assert (await house.whole(idempotency_key="k", principal=who, at=elsewhere)).is_replay


# -- the first comes to nothing --------------------------------------------------------------------


async def in_line(house: StreamsHouse, gate: Gate, count: int, **options):
    """So many that ask the same, one behind the other; the first of them is held up."""
    first = asyncio.create_task(house.ask(idempotency_key="k", before=gate.passing, **options))
    await gate.reached.wait()
    others = [asyncio.create_task(house.ask(idempotency_key="k")) for _ in range(count)]
    await until_idle()
    assert len(house.begun) == 1
    return first, others


async def test_where_the_first_is_refused_the_next_goes_on():
    house, gate = StreamsHouse(balance=5), Gate()

    def top_up_for_the_third(_hold: Hold) -> None:
        if len(house.begun) == 3:
            house.books.credit(1, "TOKEN", 1_000)

    first, others = await in_line(house, gate, 3)
    house.books.before_place = top_up_for_the_third
    gate.open()
    assert isinstance(await first, Deny)
    found = await asyncio.gather(*others)
    assert sum(isinstance(each, Deny) for each in found) == 1
    assert sorted(each.is_replay for each in found if isinstance(each, Answered)) == [False, True]
    assert (len(house.begun), house.calls) == (3, 1)


async def test_where_the_first_raises_the_next_goes_on():
    house, gate = StreamsHouse(), Gate()
    first, others = await in_line(house, gate, 3, request=a_request(model="none"))
    gate.open()
    with pytest.raises(ModelNotFound):
        await first
    found = await asyncio.gather(*others)
    assert sorted(each.is_replay for each in found) == [False, True, True]
    assert (len(house.begun), house.calls) == (2, 1)


async def test_where_the_client_of_the_first_is_gone_the_next_goes_on():
    house, gate = StreamsHouse(), Gate()
    first, others = await in_line(house, gate, 3)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    found = await asyncio.gather(*others)
    assert sorted(each.is_replay for each in found) == [False, True, True]


async def test_who_leaves_the_line_holds_nobody_up():
    house, gate = StreamsHouse(), Gate()
    first, others = await in_line(house, gate, 3)
    others[0].cancel()
    await until_idle()
    assert others[0].cancelled()
    gate.open()
    await first
    assert [each.is_replay for each in await asyncio.gather(*others[1:])] == [True, True]
    assert house.calls == 1


@pytest.mark.parametrize("fault", [StoreUnavailable(), ZeroDivisionError()])
async def test_a_store_that_cannot_be_read_leaves_the_key_free(fault):
    house = StreamsHouse()
    house.books.recordings.failing["find_keyed"] = [fault]
    with pytest.raises(type(fault)):
        await house.ask(idempotency_key="k")
    assert house.begun == []
    assert not (await house.whole(idempotency_key="k")).is_replay


async def test_one_that_failed_free_of_charge_leaves_the_key_free():
    script = Script(UpstreamInterrupted()), Script(*answer("Hi"))
    house = StreamsHouse(upstreams=ScriptedUpstream(*script))
    failed = await house.whole(idempotency_key="k")
    assert failed.recording.problem is not None
    assert house.books.recordings.kept == {}
    again = await house.answered(idempotency_key="k")
    assert (again.is_replay, await rest(again)) == (False, HI)


async def test_one_that_is_found_to_be_free_late_leaves_the_key_free_then():
    script = Script(UpstreamInterrupted()), Script(*answer("Hi"))
    house = StreamsHouse(upstreams=ScriptedUpstream(*script))
    house.books.failing["void"] = [StoreUnavailable()]
    failed = await house.whole(idempotency_key="k")
    await until_idle()
    again = await house.answered(idempotency_key="k")  # it may yet be charged
    assert again.recording is failed.recording
    await house.inference.settle_late()
    again = await house.answered(idempotency_key="k")
    assert (again.is_replay, await rest(again)) == (False, HI)


async def test_an_unstreamed_one_that_was_lost_is_free_and_leaves_the_key_free():
    script = Script(text("a"), UpstreamInterrupted()), Script(*answer("Hi"))
    house = StreamsHouse(upstreams=ScriptedUpstream(*script))
    request = a_request(stream=False)
    failed = await house.whole(idempotency_key="k", request=request)
    assert failed.recording.problem is not None
    again = await house.answered(idempotency_key="k", request=request)
    assert (again.is_replay, await rest(again)) == (False, b"end:Hi:12\n")


async def test_one_that_failed_and_was_charged_is_told_again_as_it_was():
    house = StreamsHouse(text("a"), counted(1, prompt=9), UpstreamInterrupted())
    failed = await house.whole(idempotency_key="k")
    told = b"text:a\n\nproblem:upstream_interrupted\n\n"
    assert failed.recording.problem.code == "upstream_interrupted"
    for at in (house.front, house.another_server()):
        again = await house.answered(idempotency_key="k", at=at)
        assert (again.is_replay, await rest(again)) == (True, told)
        assert again.recording.problem == failed.recording.problem
        assert not again.recording.failed_early
    assert (house.calls, house.books.writes("post")) == (1, [10])


async def test_one_that_was_stopped_and_charged_is_told_again_as_it_was():
    gate = Gate()
    house = running(gate)
    request = a_request(stream=False)
    found = await house.answered(idempotency_key="k", window_s=0, request=request)
    reader = found.recording.reader()
    await gate.reached.wait()
    reader.close()
    await until_idle()
    (receipt,) = house.books.receipts.values()
    assert receipt.ending is Ending.CLIENT_LEFT
    again = await house.answered(idempotency_key="k", request=request)
    assert (again.is_replay, await rest(again)) == (True, b"")
    assert again.recording.problem.code == "interrupted"
