"""What is deleted is nowhere any more, whoever made it and wherever it was."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.samples import a_principal
from tests.support.scripted_upstream import answer, counted, text
from tests.support.streams_house import HI, StreamsHouse
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import StoreUnavailable, StreamNotFound
from bandari.domain.ledger import Ending
from bandari.domain.recordings import CacheUse, RecordingState

LOOPS = {"virtual": VirtualLoop}


def running(gate: Gate, **options) -> StreamsHouse:
    return StreamsHouse(text("Hi"), counted(3, prompt=9), gate, *answer("there"), **options)


async def receipt_of(house: StreamsHouse):
    """The receipt of the one answer that there was, once it is there."""
    await until_idle()
    (receipt,) = house.books.receipts.values()
    return receipt


# -- deleting --------------------------------------------------------------------------------------


async def test_what_is_deleted_is_nowhere_any_more():
    house = StreamsHouse()
    found = await house.whole(idempotency_key="k", cache=CacheUse.USE)
    assert (house.cache.count, len(house.books.recordings.kept)) == (1, 1)
    await house.front.delete(a_principal(), found.recording.id)
    assert (house.recordings.count, house.cache.count, house.space.used) == (0, 0, 0)
    assert house.books.recordings.kept == {}
    for ask in (house.front.find, house.front.delete):
        with pytest.raises(StreamNotFound):
            await ask(a_principal(), found.recording.id)
    assert not (await house.whole(idempotency_key="k")).is_replay


async def test_one_that_runs_is_stopped_charged_and_does_not_come_back():
    gate = Gate()
    house = running(gate)
    found = await house.answered(idempotency_key="k", window_s=60, cache=CacheUse.USE)
    reader = found.recording.reader()
    await gate.reached.wait()
    await house.front.delete(a_principal(), found.recording.id)
    receipt = await receipt_of(house)
    assert (receipt.ending, receipt.amount) == (Ending.CANCELLED, 12)
    assert await reader.read() == b"text:Hi\n\nproblem:cancelled\n\n"  # who reads is told
    reader.close()
    assert (house.recordings.count, house.cache.count, house.space.used) == (0, 0, 0)
    assert house.books.recordings.kept == {}
    with pytest.raises(StreamNotFound):
        await house.front.find(a_principal(), found.recording.id)


async def test_one_that_ends_while_it_is_deleted_does_not_come_back():
    gate = Gate()
    house = running(gate)
    found = await house.answered(idempotency_key="k", cache=CacheUse.USE)
    reader = found.recording.reader()
    deletion = house.books.recordings.held_up("delete")
    deleting = asyncio.create_task(house.front.delete(a_principal(), found.recording.id))
    await deletion.reached.wait()
    gate.open()
    await until_idle()
    assert found.recording.ended
    deletion.open()
    await deleting
    reader.close()
    assert (house.recordings.count, house.cache.count, house.space.used) == (0, 0, 0)
    assert house.books.recordings.kept == {}


async def test_where_the_store_is_down_nothing_is_said_to_be_deleted():
    house = StreamsHouse()
    found = await house.whole(idempotency_key="k")
    house.books.recordings.failing["delete"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await house.front.delete(a_principal(), found.recording.id)
    await house.front.delete(a_principal(), found.recording.id)
    assert house.books.recordings.kept == {}


async def test_what_is_in_the_store_only_is_deleted_there():
    house = StreamsHouse()
    for state in RecordingState:
        kept = house.keep(HI, state=state)
        await house.front.delete(a_principal(), kept.id)
        assert house.books.recordings.kept == {}


async def test_dropping_tells_whether_there_was_anything():
    house = StreamsHouse()
    in_memory = await house.whole(window_s=60)
    in_store = house.keep(HI)
    for stream_id in (in_memory.recording.id, in_store.id):
        assert await house.front.drop(a_principal(), stream_id)
        assert not await house.front.drop(a_principal(), stream_id)


async def test_what_is_in_the_cache_only_is_deleted_there():
    house, amina = StreamsHouse(), a_principal(end_user="amina")
    own = await house.whole(cache=CacheUse.USE)
    hers = await house.whole(cache=CacheUse.USE, principal=amina)
    for who in (a_principal(end_user="baraka"), a_principal(account_id=2)):
        for found in (own, hers):
            with pytest.raises(StreamNotFound):
                await house.front.delete(who, found.recording.id)
    assert house.cache.count == 2
    await house.front.delete(amina, hers.recording.id)
    await house.front.delete(a_principal(), own.recording.id)
    assert house.cache.count == 0
    with pytest.raises(StreamNotFound):
        await house.front.delete(a_principal(), own.recording.id)


async def test_deleting_needs_no_room_and_nobody_elses_leave():
    house, amina = StreamsHouse(max_recorded_bytes=10), a_principal(end_user="amina")
    house.space.take(11)
    for state in RecordingState:
        kept = house.keep(HI, state=state, end_user="amina")
        await house.front.delete(amina, kept.id)
        assert house.books.recordings.kept == {}
    assert not await house.front.drop(amina, "str_gone")
