"""Stored responses: continued, fetched, cancelled, deleted, and swept away."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.gates import Gate, until_idle
from tests.support.keeping_house import EPOCH, RETENTION_MS, KeepingHouse, id_of
from tests.support.scripted_upstream import answer, counted, text
from tests.support.small_house import ended

from bandari.domain.faults import (
    CallerFault,
    InvalidRequest,
    InvalidValue,
    RequestTooLarge,
    ResponseNotFound,
    RunningElsewhere,
    StoreUnavailable,
)
from bandari.domain.ledger import Ending
from bandari.domain.responses import (
    MAX_CHAIN_LINKS,
    MAX_PART_BYTES,
    ResponseStatus,
    StoredResponse,
)
from bandari.service import responses as responses_module

ODD_IDS = ["", "resp_\0", "resp_é", "resp 1", "r" * 65, "\ud800"]


def house_with(*responses: StoredResponse) -> KeepingHouse:
    house = KeepingHouse()
    house.store.kept = {response.id: response for response in responses}
    return house


def response(name: str, **changes: object) -> StoredResponse:
    values = {
        "id": f"resp_{name}",
        "account_id": 1,
        "status": ResponseStatus.COMPLETED,
        "created_ms": 0,
        "expires_ms": 2**50,
        "previous_id": None,
        "model": "bandari-1",
        "is_background": False,
        "is_streaming": False,
        "end_user": None,
        "receipt_id": None,
        "epoch": EPOCH,
        "input_items": f'["in {name}"]'.encode(),
        "output_items": f'["out {name}"]'.encode(),
        "body": b"{}",
    }
    return StoredResponse(**{**values, **changes})


async def refused(coroutine) -> CallerFault:
    with pytest.raises(CallerFault) as caught:
        await coroutine
    return caught.value


# -- continuing ------------------------------------------------------------------------------------


async def test_a_history_is_what_went_in_and_came_out_oldest_first():
    house = house_with(
        response("a"),
        response("b", previous_id="resp_a", status=ResponseStatus.INCOMPLETE),
        response("c", previous_id="resp_b"),
    )
    assert await house.stored.history(1, "resp_b") == [
        b'["in a"]',
        b'["out a"]',
        b'["in b"]',
        b'["out b"]',
    ]


async def test_a_kept_answer_can_be_continued():
    house = KeepingHouse(*answer("Hi"))
    done = await house.kept_answer(input_items=b'["Habari"]')
    history = await house.stored.history(1, id_of(done.generation))
    assert history == [b'["Habari"]', b'["Hi"]']


@pytest.mark.parametrize("response_id", ["resp_none", "resp_theirs", "resp_old"])
async def test_what_is_not_there_cannot_be_continued(response_id):
    house = house_with(response("theirs", account_id=2), response("old", expires_ms=1))
    fault = await refused(house.stored.history(1, response_id))
    assert type(fault) is ResponseNotFound
    assert (fault.status, fault.code) == (404, "response_not_found")
    assert fault.message == f"There is no response '{response_id}'."
    assert fault.param == "previous_response_id"


@pytest.mark.parametrize("response_id", ODD_IDS)
async def test_what_is_no_id_is_not_even_looked_for(response_id):
    house = KeepingHouse()
    house.store.failing["chain"] = house.store.failing["find"] = [AssertionError("asked")] * 9
    fault = await refused(house.stored.history(1, response_id))
    assert (type(fault), fault.param) == (ResponseNotFound, "previous_response_id")
    assert fault.message == "There is no such response."
    for use in (house.stored.get, house.stored.cancel, house.stored.delete):
        fault = await refused(use(1, response_id))
        assert (type(fault), fault.param) == (ResponseNotFound, None)


async def test_a_missing_ancestor_is_named():
    house = house_with(response("b", previous_id="resp_a"), response("c", previous_id="resp_b"))
    fault = await refused(house.stored.history(1, "resp_c"))
    assert type(fault) is ResponseNotFound
    assert fault.message == "There is no response 'resp_a' any more, which 'resp_c' continues."
    assert fault.param == "previous_response_id"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (ResponseStatus.QUEUED, "is not finished yet (queued)"),
        (ResponseStatus.IN_PROGRESS, "is not finished yet (in_progress)"),
        (ResponseStatus.FAILED, "is failed and cannot be continued"),
        (ResponseStatus.CANCELLED, "is cancelled and cannot be continued"),
    ],
)
async def test_only_an_answer_can_be_continued(status, said):
    house = house_with(response("a", status=status))
    fault = await refused(house.stored.history(1, "resp_a"))
    assert type(fault) is InvalidValue
    assert (fault.status, fault.param) == (400, "previous_response_id")
    assert said in fault.message
    assert "'resp_a'" in fault.message


async def test_a_chain_that_is_too_long_cannot_be_continued():
    house = house_with(
        *(
            response(f"{number}", previous_id=f"resp_{number - 1}" if number else None)
            for number in range(MAX_CHAIN_LINKS + 1)
        )
    )
    assert len(await house.stored.history(1, f"resp_{MAX_CHAIN_LINKS - 1}")) == 2 * MAX_CHAIN_LINKS
    fault = await refused(house.stored.history(1, f"resp_{MAX_CHAIN_LINKS}"))
    assert (type(fault), fault.param) == (InvalidValue, "previous_response_id")
    assert "continues too much" in fault.message


async def test_input_too_large_to_be_kept_is_refused():
    house = KeepingHouse(*answer("Hi"))
    with pytest.raises(RequestTooLarge, match="set 'store' to false") as caught:
        await house.keep(input_items=b"x" * (MAX_PART_BYTES + 1))
    assert (caught.value.status, caught.value.param) == (413, "input")
    assert not house.books.log
    await house.kept_answer(input_items=b"x" * MAX_PART_BYTES)


# -- fetching --------------------------------------------------------------------------------------


async def test_one_that_is_kept_is_there_until_it_expires():
    house = KeepingHouse(*answer("Hi"))
    done = await house.kept_answer()
    house.clock.pass_ms(RETENTION_MS - 1)
    assert (await house.stored.get(1, id_of(done.generation))).body == b"completed: Hi"
    house.clock.pass_ms(1)
    fault = await refused(house.stored.get(1, id_of(done.generation)))
    assert fault.message == f"There is no response '{id_of(done.generation)}'."


async def test_another_server_sees_what_was_written():
    gate = Gate()
    house = KeepingHouse(gate, *answer("Hi"))
    generation = await house.keep(is_background=True)
    other = house.another_server(2)
    assert (await other.get(1, id_of(generation))).status is ResponseStatus.QUEUED
    gate.open()
    await ended(generation, house.books)
    assert (await other.get(1, id_of(generation))).status is ResponseStatus.COMPLETED


# -- cancelling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_cancelled_is_charged_until_then_and_says_so(stream):
    waiting = Gate()
    house = KeepingHouse(text("Hi"), counted(4, prompt=9), waiting, *answer("there"))
    generation = await house.keep(stream=stream, is_background=True)
    await waiting.reached.wait()
    cancelled = await house.stored.cancel(1, id_of(generation))
    assert (cancelled.status, cancelled.body) == (ResponseStatus.CANCELLED, b"cancelled: Hi")
    assert cancelled == house.store.kept[id_of(generation)]
    done = await ended(generation, house.books)
    assert (done.receipt.ending, done.receipt.amount) == (Ending.CANCELLED, 13)
    assert done.problem.code == "cancelled"
    assert cancelled.receipt_id == done.receipt.id
    assert house.upstreams["acme"].calls[0].left.is_set()
    assert await house.stored.cancel(1, id_of(generation)) == cancelled


async def test_what_is_cancelled_before_the_first_token_is_free():
    waiting = Gate()
    house = KeepingHouse(waiting, *answer("Hi"))
    generation = await house.keep(is_background=True)
    cancelled = await house.stored.cancel(1, id_of(generation))
    assert (cancelled.status, cancelled.receipt_id) == (ResponseStatus.CANCELLED, None)
    assert (await ended(generation, house.books)).was_voided


async def test_cancelling_returns_when_the_end_is_written():
    waiting = Gate()
    house = KeepingHouse(text("Hi"), counted(4), waiting)
    generation = await house.keep(is_background=True)
    await waiting.reached.wait()
    finish = house.store.held_up("finish")
    cancelling = asyncio.create_task(house.stored.cancel(1, id_of(generation)))
    await finish.reached.wait()
    await until_idle()
    assert not cancelling.done()
    finish.open()
    assert (await cancelling).status is ResponseStatus.CANCELLED
    await ended(generation, house.books)


async def test_an_answer_that_is_being_charged_cannot_be_cancelled_any_more():
    house = KeepingHouse(*answer("Hi"))
    post = house.books.held_up("post")
    generation = await house.keep(is_background=True)
    await post.reached.wait()
    cancelling = asyncio.create_task(house.stored.cancel(1, id_of(generation)))
    await until_idle()
    post.open()
    assert (await cancelling).status is ResponseStatus.COMPLETED
    assert (await ended(generation, house.books)).receipt.ending is Ending.COMPLETED


@pytest.mark.parametrize("status", [ResponseStatus.COMPLETED, ResponseStatus.FAILED])
async def test_cancelling_what_has_ended_changes_nothing(status):
    kept = response("a", is_background=True, status=status)
    house = house_with(kept)
    assert await house.stored.cancel(1, "resp_a") == kept
    assert house.store.kept == {"resp_a": kept}


async def test_only_what_runs_in_the_background_and_here_can_be_cancelled():
    house = house_with(
        response("waited_for"),
        response("elsewhere", is_background=True, status=ResponseStatus.QUEUED, epoch=2),
    )
    fault = await refused(house.stored.cancel(1, "resp_waited_for"))
    assert (type(fault), fault.status) == (InvalidRequest, 400)
    assert "'background'" in fault.message
    fault = await refused(house.stored.cancel(1, "resp_elsewhere"))
    assert (type(fault), fault.status) == (RunningElsewhere, 409)
    assert type(await refused(house.stored.cancel(1, "resp_none"))) is ResponseNotFound


async def test_nobody_cancels_another_accounts():
    gate = Gate()
    house = KeepingHouse(gate, *answer("Hi"))
    generation = await house.keep(is_background=True)
    assert type(await refused(house.stored.cancel(2, id_of(generation)))) is ResponseNotFound
    assert type(await refused(house.stored.delete(2, id_of(generation)))) is ResponseNotFound
    gate.open()
    assert (await ended(generation, house.books)).problem is None


# -- deleting --------------------------------------------------------------------------------------


async def test_a_deleted_response_is_gone():
    house = house_with(response("a"), response("b"))
    await house.stored.delete(1, "resp_a")
    assert list(house.store.kept) == ["resp_b"]
    fault = await refused(house.stored.delete(1, "resp_a"))
    assert fault.message == "There is no response 'resp_a'."


async def test_deleting_one_that_runs_stops_it_and_charges_what_was_generated():
    waiting = Gate()
    house = KeepingHouse(text("Hi"), counted(4, prompt=9), waiting)
    generation = await house.keep(is_background=True)
    await waiting.reached.wait()
    await house.stored.delete(1, id_of(generation))
    done = await ended(generation, house.books)
    assert (done.receipt.ending, done.receipt.amount) == (Ending.CANCELLED, 13)
    assert not house.store.kept
    assert [what for what, _ in house.store.log] == ["save", "delete"]
    assert type(await refused(house.stored.get(1, id_of(generation)))) is ResponseNotFound


async def test_where_deleting_fails_it_goes_on():
    gate = Gate()
    house = KeepingHouse(gate, *answer("Hi"))
    generation = await house.keep(is_background=True)
    house.store.failing["delete"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await house.stored.delete(1, id_of(generation))
    gate.open()
    await ended(generation, house.books)
    assert (await house.stored.get(1, id_of(generation))).status is ResponseStatus.COMPLETED


async def test_one_that_is_late_is_not_written_after_it_was_deleted():
    house = KeepingHouse(*answer("Hi"))
    house.store.failing["save"] = [StoreUnavailable()]
    done = await house.kept_answer()
    delete = house.store.delete

    async def delete_while_the_late_are_written(*arguments):
        was_there = await delete(*arguments)
        await house.stored.write_late()
        return was_there

    house.store.delete = delete_while_the_late_are_written
    await house.stored.delete(1, id_of(done.generation))
    assert not house.store.kept
    assert type(await refused(house.stored.get(1, id_of(done.generation)))) is ResponseNotFound


async def test_an_end_that_fails_to_be_written_while_it_is_deleted_is_not_written_late():
    house = KeepingHouse(*answer("Hi"))
    finish = house.store.held_up("finish")
    generation = await house.keep(is_background=True)
    await finish.reached.wait()
    await house.stored.delete(1, id_of(generation))
    house.store.failing["finish"] = [StoreUnavailable()]
    finish.open()
    await ended(generation, house.books)
    assert type(await refused(house.stored.get(1, id_of(generation)))) is ResponseNotFound


async def test_who_waits_for_a_cancelled_one_learns_that_it_was_deleted():
    waiting = Gate()
    house = KeepingHouse(text("Hi"), counted(4), waiting)
    generation = await house.keep(is_background=True)
    await waiting.reached.wait()
    count = house.books.held_up("post")
    cancelling = asyncio.create_task(refused(house.stored.cancel(1, id_of(generation))))
    await count.reached.wait()
    await house.stored.delete(1, id_of(generation))
    count.open()
    assert type(await cancelling) is ResponseNotFound
    await ended(generation, house.books)


# -- sweeping --------------------------------------------------------------------------------------


async def test_all_that_has_expired_is_deleted_in_small_batches(monkeypatch):
    monkeypatch.setattr(responses_module, "DELETE_AT_ONCE", 2)
    house = KeepingHouse()
    now_ms = house.clock.now_ms()
    old = [response(f"{age}", expires_ms=now_ms - age) for age in range(5)]
    living = response("living", expires_ms=now_ms + 1)
    house.store.kept = {each.id: each for each in (*old, living)}
    asked = []
    delete_expired = house.store.delete_expired

    async def watched(now_ms, limit):
        asked.append(limit)
        return await delete_expired(now_ms, limit)

    house.store.delete_expired = watched
    assert await house.stored.delete_expired() == 5
    assert list(house.store.kept) == ["resp_living"]
    assert asked == [2, 2, 2]
    assert await house.stored.delete_expired() == 0


async def test_what_a_dead_server_left_has_failed(monkeypatch, caplog):
    monkeypatch.setattr(responses_module, "FAIL_AT_ONCE", 2)
    left = [response(f"{at}", status=ResponseStatus.QUEUED, epoch=5) for at in range(3)]
    mine = response("mine", status=ResponseStatus.QUEUED)
    house = house_with(*left, mine)
    assert await house.stored.fail_dead() == 0
    assert not caplog.records
    house.store.dead_epochs.add(5)
    assert await house.stored.fail_dead() == 3
    assert house.store.kept == {
        each.id: replace(each, status=ResponseStatus.FAILED) for each in left
    } | {mine.id: mine}
    assert "failed the responses of a server that died" in caplog.text
