"""One answer that is kept: what is written, when, and what becomes of it when that fails."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.keeping_house import EPOCH, RETENTION_MS, KeepingHouse, id_of
from tests.support.samples import a_request
from tests.support.scripted_upstream import answer, counted, text
from tests.support.small_house import ended

from bandari.domain.faults import (
    InvalidRequest,
    OwnFault,
    RequestTooLarge,
    ResponseNotFound,
    StoreUnavailable,
    UpstreamInterrupted,
    UpstreamTimeout,
)
from bandari.domain.ledger import Ending
from bandari.domain.responses import MAX_PART_BYTES, ResponseStatus, StoredResponse
from bandari.service import keeping as keeping_module

HI = answer("Hi")


def only(house: KeepingHouse) -> StoredResponse:
    (response,) = house.store.kept.values()
    return response


@pytest.fixture(autouse=True)
async def _nothing_left_behind():
    before = asyncio.all_tasks()
    yield
    await until_idle()
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}


# -- an answer that a client waits for -------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_it_is_kept_when_it_has_ended(stream):
    house = KeepingHouse(*HI)
    done = await house.kept_answer(
        stream=stream, previous_id="resp_before", end_user="otieno", input_items=b'["Habari"]'
    )
    assert done.lines[-1] == ("end:12" if stream else "end:Hi:12")
    now_ms = house.clock.now_ms()
    assert only(house) == StoredResponse(
        id=id_of(done.generation),
        account_id=1,
        status=ResponseStatus.COMPLETED,
        created_ms=now_ms,
        expires_ms=now_ms + RETENTION_MS,
        previous_id="resp_before",
        model="bandari-1",
        is_background=False,
        is_streaming=stream,
        end_user="otieno",
        receipt_id=done.generation.receipt_id,
        epoch=EPOCH,
        input_items=b'["Habari"]',
        output_items=b'["Hi"]',
        body=b"completed: Hi",
    )
    assert await house.stored.get(1, id_of(done.generation)) == only(house)


async def test_one_that_was_cut_is_incomplete():
    house = KeepingHouse(*[(text("a"), counted(number)) for number in range(1, 100)])
    await house.kept_answer(request=a_request(max_tokens=20))
    assert only(house).status is ResponseStatus.INCOMPLETE


async def test_first_the_charge_then_what_is_kept_then_the_last_frames():
    house = KeepingHouse(*HI)
    post, save = house.books.held_up("post"), house.store.held_up("save")
    generation = await house.keep()
    await post.reached.wait()
    await until_idle()
    assert not save.reached.is_set()
    post.open()
    await save.reached.wait()
    await until_idle()
    assert generation.receipt_id in house.books.receipts
    assert generation.recording.bytes_from(0) == b"text:Hi\nfinish:0:stop\n"
    assert not generation.recording.ended
    save.open()
    assert (await ended(generation, house.books)).lines[-1] == "end:12"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_was_not_charged_is_not_kept(stream):
    house = KeepingHouse(*HI)
    house.books.failing["post"] = [StoreUnavailable()]
    done = await house.kept_answer(stream=stream)
    assert done.problem.code == "store_unavailable"
    await house.stored.write_late()
    assert not house.store.kept


@pytest.mark.parametrize("how", ["failing", "losing"])
async def test_a_paid_answer_is_given_and_kept_later_where_the_store_cannot_be_written(how, caplog):
    house = KeepingHouse(*HI)
    getattr(house.store, how)["save"] = [StoreUnavailable(), StoreUnavailable()]
    done = await house.kept_answer()
    assert done.lines[-1] == "end:12"
    assert (done.problem, done.receipt.amount) == (None, 12)
    assert "could not be written yet" in caplog.text

    response_id = id_of(done.generation)
    known = await house.stored.get(1, response_id)
    assert known.body == b"completed: Hi"
    with pytest.raises(ResponseNotFound):
        await house.stored.get(2, response_id)
    with pytest.raises(InvalidRequest):
        await house.stored.cancel(1, response_id)
    with pytest.raises(StoreUnavailable):
        await house.stored.write_late()
    await house.stored.write_late()
    assert only(house) == known
    assert house.store.log == [("save", response_id)]
    await house.stored.write_late()
    assert house.books.writes("post") == [12]


@pytest.mark.parametrize("fault", [OwnFault(), RuntimeError("a defect")])
async def test_a_paid_answer_is_given_even_if_it_can_never_be_kept(fault, caplog):
    house = KeepingHouse(*HI)
    house.store.failing["save"] = [fault]
    done = await house.kept_answer()
    assert done.lines[-1] == "end:12"
    assert done.receipt.amount == 12
    assert "an answer could not be kept" in caplog.text
    await house.stored.write_late()
    with pytest.raises(ResponseNotFound):
        await house.stored.get(1, id_of(done.generation))


async def test_a_defect_in_the_snapshot_costs_the_keeping_and_not_the_answer():
    house = KeepingHouse(*HI)
    generation = await house.keep()
    house.encoder.failing = "snapshot"
    done = await ended(generation, house.books)
    assert (done.lines[-1], done.receipt.amount) == ("end:12", 12)
    assert not house.store.kept


async def test_a_stream_that_fails_in_the_middle_is_kept_as_failed():
    house = KeepingHouse(text("Hi"), counted(4, prompt=9), UpstreamInterrupted())
    done = await house.kept_answer()
    kept = only(house)
    assert (kept.status, kept.body) == (ResponseStatus.FAILED, b"failed: Hi")
    assert kept.receipt_id == done.receipt.id


async def test_a_stream_of_ours_that_fails_is_not_kept_as_unfinished():
    """Its encoder could not even tell the problem."""
    house = KeepingHouse(text("Hi"), UpstreamInterrupted())
    house.encoder_options = {"failing": "problem"}
    await house.kept_answer()
    assert only(house).status is ResponseStatus.FAILED


async def test_what_failed_and_is_free_is_not_kept():
    for steps, stream in (
        ([UpstreamTimeout()], True),
        ([text("Hi"), UpstreamInterrupted()], False),
        ([counted(0), UpstreamInterrupted()], True),
    ):
        house = KeepingHouse(*steps)
        done = await house.kept_answer(stream=stream)
        assert done.was_voided
        assert not house.store.kept


async def test_what_its_client_left_is_not_kept():
    waiting = Gate()
    house = KeepingHouse(text("Hi"), waiting)
    generation = await house.keep()
    await waiting.reached.wait()
    generation.stop(Ending.CLIENT_LEFT)
    assert (await ended(generation, house.books)).receipt is not None
    assert not house.store.kept


async def test_a_stream_that_the_server_cut_is_kept_as_failed():
    waiting = Gate()
    house = KeepingHouse(text("Hi"), counted(4), waiting)
    generation = await house.keep()
    await waiting.reached.wait()
    await house.inference.drain(0)
    await ended(generation, house.books)
    assert only(house).status is ResponseStatus.FAILED


async def test_one_whose_hold_stays_open_is_not_kept():
    waiting = Gate()
    house = KeepingHouse(text("Hi"), counted(4), waiting, UpstreamInterrupted())
    house.books.failing["post"] = [StoreUnavailable()]
    generation = await house.keep()
    waiting.open()
    await ended(generation, house.books)
    await until_idle()
    await house.inference.settle_late()
    assert len(house.books.receipts) == 1
    assert not house.store.kept


# -- an answer in the background -------------------------------------------------------------------


async def test_it_is_kept_before_its_id_is_told_and_before_anybody_is_asked():
    gate = Gate()
    house = KeepingHouse(gate, *HI)
    save = house.store.held_up("save")
    beginning = asyncio.create_task(house.keep(is_background=True))
    await save.reached.wait()
    await until_idle()
    assert not beginning.done()
    assert len(house.books.holds) == 1
    assert not house.upstreams["acme"].calls
    save.open()
    generation = await beginning
    kept = only(house)
    assert (kept.id, kept.status) == (id_of(generation), ResponseStatus.QUEUED)
    assert (kept.body, kept.output_items) == (b"queued: ", b"[]")
    assert kept.receipt_id == generation.receipt_id
    gate.open()
    await ended(generation, house.books)


@pytest.mark.parametrize("stream", [True, False])
async def test_its_end_is_written(stream):
    house = KeepingHouse(*HI)
    await house.kept_answer(stream=stream, is_background=True)
    kept = only(house)
    assert (kept.status, kept.body) == (ResponseStatus.COMPLETED, b"completed: Hi")
    assert kept.output_items == b'["Hi"]'
    assert house.store.log == [("save", kept.id), ("finish", kept.id)]
    assert await house.stored.get(1, kept.id) == kept


async def test_what_fails_before_the_first_token_has_failed_and_has_no_receipt():
    house = KeepingHouse(UpstreamTimeout())
    done = await house.kept_answer(is_background=True)
    kept = only(house)
    assert done.was_voided
    assert (kept.status, kept.receipt_id, kept.body) == (ResponseStatus.FAILED, None, b"failed: ")


@pytest.mark.parametrize("how", ["failing", "losing"])
async def test_where_it_cannot_be_opened_nothing_is_generated_or_charged(how):
    house = KeepingHouse(*HI)
    getattr(house.store, how)["save"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await house.keep(is_background=True)
    assert house.inference.open_count == 0
    await house.inference.settle_late()
    assert len(house.books.voided) == 1
    assert house.books.wallet().free == 1_000_000
    assert not house.upstreams["acme"].calls
    await house.stored.write_late()
    assert [kept.status for kept in house.store.kept.values()] == (
        [ResponseStatus.FAILED] if how == "losing" else []
    )


async def test_a_client_that_leaves_while_it_is_opened_leaves_nothing_running():
    house = KeepingHouse(*HI)
    save = house.store.held_up("save")
    beginning = asyncio.create_task(house.keep(is_background=True))
    await save.reached.wait()
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await house.inference.settle_late()
    assert len(house.books.voided) == 1
    await house.stored.write_late()
    assert not house.upstreams["acme"].calls


async def test_draining_waits_for_one_that_is_being_opened_and_ends_it():
    house = KeepingHouse(*HI)
    save = house.store.held_up("save")
    beginning = asyncio.create_task(house.keep(is_background=True))
    await save.reached.wait()
    draining = asyncio.create_task(house.inference.drain(60))
    await until_idle()
    assert not draining.done()
    save.open()
    await draining
    await beginning
    assert only(house).status is ResponseStatus.COMPLETED


@pytest.mark.parametrize(("stream", "charged"), [(True, 13), (False, None)])
async def test_one_that_the_server_cuts_has_failed(stream, charged):
    """Unstreamed, it is free: nobody got anything of it."""
    waiting = Gate()
    house = KeepingHouse(text("Hi"), counted(4, prompt=9), waiting)
    generation = await house.keep(stream=stream, is_background=True)
    await waiting.reached.wait()
    await house.inference.drain(0)
    done = await ended(generation, house.books)
    kept = only(house)
    assert kept.status is ResponseStatus.FAILED
    if charged is None:
        assert (done.receipt, kept.receipt_id) == (None, None)
    else:
        assert (done.receipt.ending, done.receipt.amount) == (Ending.SERVER_STOPPED, charged)
        assert kept.receipt_id == done.receipt.id


async def test_where_the_charge_fails_it_has_failed_and_the_charge_is_made_late():
    house = KeepingHouse(*HI)
    house.books.failing["post"] = [StoreUnavailable()]
    done = await house.kept_answer(is_background=True)
    assert done.problem.code == "store_unavailable"
    assert (only(house).status, only(house).body) == (ResponseStatus.FAILED, b"failed: Hi")
    await until_idle()
    await house.inference.settle_late()
    assert house.books.receipts[only(house).receipt_id].ending is Ending.SERVER_STOPPED
    assert only(house).status is ResponseStatus.FAILED


@pytest.mark.parametrize("how", ["failing", "losing"])
async def test_an_end_that_cannot_be_written_is_written_late(how):
    house = KeepingHouse(*HI)
    getattr(house.store, how)["finish"] = [StoreUnavailable()]
    done = await house.kept_answer(is_background=True)
    assert done.lines[-1] == "end:12"
    response_id = id_of(done.generation)
    told = await house.stored.get(1, response_id)
    assert (told.status, told.body) == (ResponseStatus.COMPLETED, b"completed: Hi")
    await house.stored.write_late()
    assert only(house) == told


async def test_an_end_that_can_never_be_written_is_a_failure_for_those_who_ask():
    house = KeepingHouse(*HI)
    house.store.failing["finish"] = [OwnFault()]
    done = await house.kept_answer(is_background=True)
    assert done.lines[-1] == "end:12"
    assert (await house.stored.get(1, id_of(done.generation))).status is ResponseStatus.FAILED
    await house.stored.write_late()
    assert (only(house).status, only(house).body) == (ResponseStatus.FAILED, b"queued: ")
    assert only(house).receipt_id == done.receipt.id


async def test_a_defect_in_the_last_snapshot_is_a_failure_too():
    house = KeepingHouse(*HI)
    generation = await house.keep(is_background=True)
    house.encoder.failing = "snapshot"
    await ended(generation, house.books)
    await house.stored.write_late()
    assert (only(house).status, only(house).body) == (ResponseStatus.FAILED, b"queued: ")


async def test_a_defect_in_the_first_snapshot_costs_nothing():
    house = KeepingHouse(*HI)
    house.encoder_options = {"failing": "snapshot"}
    with pytest.raises(RuntimeError):
        await house.keep(is_background=True)
    await house.inference.settle_late()
    assert len(house.books.voided) == 1
    assert not house.store.kept


# -- what is too large -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_background", [True, False])
async def test_a_response_too_large_to_be_kept_is_refused_before_it_costs(is_background):
    house = KeepingHouse(*HI)
    house.encoder_options = {"padding": MAX_PART_BYTES}
    with pytest.raises(RequestTooLarge, match="set 'store' to false"):
        await house.keep(is_background=is_background)
    await house.inference.settle_late()
    assert len(house.books.voided) == 1


async def test_an_answer_too_large_to_be_kept_is_given_and_has_failed_for_those_who_ask():
    for is_background in (True, False):
        house = KeepingHouse(*HI)
        generation = await house.keep(is_background=is_background)
        house.encoder.padding = MAX_PART_BYTES
        done = await ended(generation, house.books)
        assert done.lines[-1] == "end:12"
        await house.stored.write_late()
        assert [kept.status for kept in house.store.kept.values()] == (
            [ResponseStatus.FAILED] if is_background else []
        )


# -- while it runs ---------------------------------------------------------------------------------


async def test_it_is_told_as_it_is_at_the_moment():
    gates = [Gate(), Gate()]
    house = KeepingHouse(gates[0], text("Hi"), gates[1], *answer(" there"))
    generation = await house.keep(is_background=True)
    response_id = id_of(generation)
    await gates[0].reached.wait()
    told = await house.stored.get(1, response_id)
    assert told == only(house)
    gates[0].open()
    await gates[1].reached.wait()
    told = await house.stored.get(1, response_id)
    assert (told.status, told.body) == (ResponseStatus.IN_PROGRESS, b"in_progress: Hi")
    assert told.output_items == b'["Hi"]'
    assert only(house).status is ResponseStatus.QUEUED
    with pytest.raises(ResponseNotFound):
        await house.stored.get(2, response_id)
    gates[1].open()
    await ended(generation, house.books)


async def test_its_end_is_not_told_before_it_is_paid():
    house = KeepingHouse(*HI)
    post = house.books.held_up("post")
    generation = await house.keep(is_background=True)
    await post.reached.wait()
    asking = asyncio.create_task(house.stored.get(1, id_of(generation)))
    await until_idle()
    assert not asking.done()
    post.open()
    assert (await asking).status is ResponseStatus.COMPLETED
    assert generation.receipt_id in house.books.receipts
    await ended(generation, house.books)


# -- what is late ----------------------------------------------------------------------------------


async def test_only_so_many_may_be_late(monkeypatch, caplog):
    monkeypatch.setattr(keeping_module, "MAX_LATE", 1)
    house = KeepingHouse(*HI)
    house.store.failing["save"] = [StoreUnavailable(), StoreUnavailable()]
    done = [await house.kept_answer() for _ in range(2)]
    assert "too many responses are late" in caplog.text
    await house.stored.write_late()
    assert list(house.store.kept) == [id_of(done[0].generation)]
    with pytest.raises(ResponseNotFound):
        await house.stored.get(1, id_of(done[1].generation))


async def test_a_late_one_that_cannot_be_written_at_all_does_not_hold_up_the_others(caplog):
    house = KeepingHouse(*HI)
    house.store.failing["save"] = [StoreUnavailable(), StoreUnavailable(), OwnFault()]
    done = [await house.kept_answer() for _ in range(2)]
    await house.stored.write_late()
    assert "a response is lost" in caplog.text
    assert list(house.store.kept) == [id_of(done[1].generation)]
