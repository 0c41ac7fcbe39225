"""Answers that are made, and found again by their ids."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import answer, counted, text
from tests.support.streams_house import HI, StreamsHouse, rest
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import ModelNotFound, StreamNotFound, StreamNotResumable
from bandari.domain.ledger import Ending
from bandari.domain.outcome import Deny
from bandari.domain.recordings import CacheUse
from bandari.service.streams import NoSuchFrame, StreamSettings

LOOPS = {"virtual": VirtualLoop}

MANGLED = (
    *("", "str_", "str_a b", "rcpt_a", "STR_a", "str_a\n", "xstr_a", "str_é", "str_a/../b"),
    "str_" + "a" * 65,
)


def running(gate: Gate, **options) -> StreamsHouse:
    return StreamsHouse(text("Hi"), counted(3, prompt=9), gate, *answer("there"), **options)


async def receipt_of(house: StreamsHouse):
    """The receipt of the one answer that there was, once it is there."""
    await until_idle()
    (receipt,) = house.books.receipts.values()
    return receipt


# -- new ones --------------------------------------------------------------------------------------


async def test_what_is_asked_for_is_made_and_read_from_its_beginning():
    house = StreamsHouse()
    found = await house.answered()
    assert (found.after, found.is_replay) == (-1, False)
    assert await rest(found) == HI
    assert house.books.writes("post") == [12]


async def test_every_request_that_says_nothing_else_has_its_own_answer():
    house = StreamsHouse()
    first, second = await house.whole(window_s=60), await house.whole(window_s=60)
    assert first.recording.id != second.recording.id
    assert (house.calls, second.is_replay) == (2, False)


async def test_a_refusal_is_a_value_and_leaves_nothing():
    house = StreamsHouse(balance=5)
    assert isinstance(await house.ask(window_s=60), Deny)
    assert house.recordings.count == house.space.used == 0


async def test_what_cannot_be_served_leaves_nothing():
    house = StreamsHouse()
    with pytest.raises(ModelNotFound):
        await house.ask(request=a_request(model="none"), window_s=60)
    assert house.recordings.count == 0


async def test_a_request_that_nobody_can_come_back_for_is_not_digested():
    def never() -> bytes:
        raise AssertionError("nobody needs it")

    house = StreamsHouse()
    await house.whole(digest=never)
    with pytest.raises(AssertionError):
        await house.ask(digest=never, window_s=1)


async def test_without_a_window_its_client_that_leaves_stops_it():
    gate = Gate()
    house = running(gate)
    found = await house.answered()
    reader = found.recording.reader()
    await gate.reached.wait()
    reader.close()
    receipt = await receipt_of(house)
    assert (receipt.ending, receipt.amount) == (Ending.CLIENT_LEFT, 12)
    await until_idle()
    assert house.recordings.count == house.space.used == 0


async def test_with_a_window_it_goes_on_and_is_read_again():
    gate = Gate()
    house = running(gate)
    found = await house.answered(window_s=30)
    reader = found.recording.reader()
    await gate.reached.wait()
    reader.close()
    await asyncio.sleep(29)
    gate.open()
    await until_idle()
    await asyncio.sleep(29)
    again = await house.front.find(a_principal(), found.recording.id)
    assert await rest(again) == b"text:Hi\n\ntext:there\n\nfinish:0:stop\n\nend:12\n\n"
    await asyncio.sleep(31)
    with pytest.raises(StreamNotFound):
        await house.front.find(a_principal(), found.recording.id)
    assert house.space.used == 0


async def test_a_window_that_runs_out_stops_it():
    gate = Gate()
    house = running(gate)
    found = await house.answered(window_s=30)
    found.recording.reader().close()
    await asyncio.sleep(30.1)
    receipt = await receipt_of(house)
    assert (receipt.ending, receipt.amount) == (Ending.CLIENT_LEFT, 12)


# -- by its id -------------------------------------------------------------------------------------


async def test_it_is_found_by_its_id_from_any_frame_on():
    house = StreamsHouse()
    recording_id = (await house.whole(window_s=60)).recording.id
    frames = [frame + b"\n\n" for frame in HI.split(b"\n\n")[:-1]]
    for after in range(-1, 3):
        found = await house.front.find(a_principal(), recording_id, after)
        assert (found.after, found.is_replay) == (after, True)
        assert await rest(found) == b"".join(frames[after + 1 :])
    assert house.calls == 1


@pytest.mark.parametrize("after", [3, 100, 2**53 - 1])
async def test_a_frame_that_is_not_there_is_an_error_that_says_how_many_there_are(after):
    house = StreamsHouse()
    recording_id = (await house.whole(window_s=60)).recording.id
    with pytest.raises(NoSuchFrame) as caught:
        await house.front.find(a_principal(), recording_id, after)
    assert caught.value.count == 3
    with pytest.raises(NoSuchFrame):
        await house.ask(stream_id=recording_id, after=after)


async def test_an_unstreamed_one_has_no_frame_to_go_on_behind():
    house, whole = StreamsHouse(), a_request(stream=False)
    found = await house.whole(idempotency_key="k", request=whole)
    elsewhere = house.another_server()
    ways = [
        *({"stream_id": found.recording.id}, {"idempotency_key": "k"}, {}),
        *(
            {"stream_id": found.recording.id, "at": elsewhere},
            {"idempotency_key": "k", "at": elsewhere},
        ),
    ]
    for way in ways:
        with pytest.raises(NoSuchFrame) as caught:
            await house.ask(after=0, request=whole, **way)
        assert caught.value.count == 0
    for at in (house.front, elsewhere):
        again = await at.find(a_principal(), found.recording.id)
        assert await rest(again) == b"end:Hi:12\n"


async def test_a_request_that_names_its_stream_is_given_it():
    house = StreamsHouse()
    recording_id = (await house.whole(window_s=60)).recording.id
    found = await house.answered(stream_id=recording_id, after=0)
    assert (found.recording.id, found.after, found.is_replay) == (recording_id, 0, True)
    found = await house.answered(stream_id=recording_id)
    assert await rest(found) == HI
    assert (house.calls, len(house.begun)) == (1, 1)


async def test_a_running_one_has_any_number_of_readers():
    gate = Gate()
    house = running(gate)
    found = await house.answered()
    reader = found.recording.reader()
    await gate.reached.wait()
    others = [await house.front.find(a_principal(), found.recording.id) for _ in range(5)]
    reading = [asyncio.create_task(rest(other)) for other in others]
    await until_idle()
    gate.open()
    whole = b"text:Hi\n\ntext:there\n\nfinish:0:stop\n\nend:12\n\n"
    assert await asyncio.gather(*reading) == [whole] * 5
    assert await reader.read() == whole
    reader.close()
    assert (house.calls, house.recordings.count) == (1, 0)


async def test_a_name_that_fits_none_generates_nothing():
    house = StreamsHouse()
    for stream_id in (*MANGLED, "str_unknown"):
        with pytest.raises(StreamNotResumable):
            await house.ask(stream_id=stream_id)
    assert house.begun == []


async def test_a_stream_of_another_api_cannot_be_gone_on_with():
    house = StreamsHouse()
    recording_id = (await house.whole(window_s=60)).recording.id
    with pytest.raises(StreamNotResumable, match="another API"):
        await house.ask(stream_id=recording_id, surface="messages")
    assert len(house.begun) == 1


@pytest.mark.parametrize("stream_id", MANGLED)
async def test_what_is_no_id_is_not_even_looked_up(stream_id):
    house = StreamsHouse()
    for method in ("find", "delete"):
        house.books.recordings.failing[method] = [ZeroDivisionError()]
    for ask in (house.front.find, house.front.delete):
        with pytest.raises(StreamNotFound):
            await ask(a_principal(), stream_id)


async def test_another_accounts_is_not_there():
    house = StreamsHouse()
    found = await house.whole(window_s=60, idempotency_key="k")
    other = a_principal(account_id=2)
    for ask in (house.front.find, house.front.delete):
        with pytest.raises(StreamNotFound):
            await ask(other, found.recording.id)
        with pytest.raises(StreamNotFound):
            await ask(other, "str_unknown")
    assert await house.front.find(a_principal(key_id=4), found.recording.id)


async def test_who_asks_for_an_end_user_finds_that_end_users_only():
    house = StreamsHouse()
    of_amina, of_baraka = a_principal(end_user="amina"), a_principal(end_user="baraka")
    found = await house.whole(principal=of_amina, window_s=60)
    own = await house.whole(window_s=60)
    for who, name in ((of_baraka, found), (of_amina, own)):
        for ask in (house.front.find, house.front.delete):
            with pytest.raises(StreamNotFound):
                await ask(who, name.recording.id)
    assert await house.front.find(of_amina, found.recording.id)
    assert await house.front.find(a_principal(), found.recording.id)
    await house.front.delete(of_amina, found.recording.id)
    with pytest.raises(StreamNotFound):
        await house.front.find(a_principal(), found.recording.id)


async def test_its_surface_is_told_to_those_who_may_see_it():
    house, amina = StreamsHouse(), a_principal(end_user="amina")
    found = await house.whole(window_s=60, principal=amina)
    kept = house.keep(HI, surface="messages", end_user="amina")
    for who in (a_principal(), amina):
        assert await house.front.surface_of(who, found.recording.id) == "plain"
        assert await house.front.surface_of(who, kept.id) == "messages"
    for who in (a_principal(account_id=2), a_principal(end_user="baraka")):
        assert await house.front.surface_of(who, found.recording.id) is None
        assert await house.front.surface_of(who, kept.id) is None
    house.books.recordings.failing["find"] = [ZeroDivisionError()]
    for stream_id in MANGLED:
        assert await house.front.surface_of(a_principal(), stream_id) is None


# -- beside the answers ----------------------------------------------------------------------------


async def test_what_has_expired_is_forgotten_and_what_is_kept_is_told():
    house = StreamsHouse()
    await house.whole(window_s=60, cache=CacheUse.USE)
    await house.front.tidy()
    assert house.metrics.of("recordings_kept") == [(1, len(HI))]
    assert house.metrics.of("answers_cached") == [(1, house.cache.size)]
    house.clock.pass_ms(3_600_000)
    await house.front.tidy()
    assert house.metrics.of("answers_cached")[1:] == [(0, 0)]


async def test_what_is_given_again_is_counted():
    house = StreamsHouse()
    found = await house.whole(window_s=60, idempotency_key="k")
    assert house.metrics.of("replayed") == []
    await house.front.find(a_principal(), found.recording.id)
    await house.answered(idempotency_key="k")
    await house.answered(idempotency_key="k", at=house.another_server())
    with pytest.raises(NoSuchFrame):
        await house.front.find(a_principal(), found.recording.id, 9)
    assert len(house.metrics.of("replayed")) == 3


async def test_what_keeps_nothing_says_so():
    assert StreamsHouse().front.keeps_answers
    assert StreamsHouse(settings=StreamSettings(keep="database")).front.keeps_answers
    assert not StreamsHouse(settings=StreamSettings(keep="off")).front.keeps_answers
