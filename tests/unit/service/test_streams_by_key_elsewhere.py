"""An Idempotency-Key is taken once over all servers, and where nothing is kept too."""

from __future__ import annotations

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.scripted_upstream import answer, counted, text
from tests.support.streams_house import HI, StreamsHouse, rest
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import IdempotencyKeyReused, RunningElsewhere
from bandari.service.books import IdempotencyKeyTaken
from bandari.service.streams import MAX_CLAIMS, StreamSettings

LOOPS = {"virtual": VirtualLoop}

DAY_MS = 86_400_000
OFF = StreamSettings(keep="off")


def running(gate: Gate, **options) -> StreamsHouse:
    return StreamsHouse(text("Hi"), counted(3, prompt=9), gate, *answer("there"), **options)


# -- other servers ---------------------------------------------------------------------------------


async def test_what_another_server_has_answered_is_told_again():
    house = StreamsHouse()
    first = await house.whole(idempotency_key="k")
    again = await house.answered(idempotency_key="k", at=house.another_server(), after=0)
    assert (again.is_replay, again.recording.id) == (True, first.recording.id)
    assert await rest(again) == b"finish:0:stop\n\nend:12\n\n"
    assert again.recording.about.receipt_id == first.recording.about.receipt_id
    assert house.calls == 1


async def test_what_another_server_generates_is_not_generated_here():
    gate = Gate()
    house = running(gate)
    await house.answered(idempotency_key="k")
    await gate.reached.wait()
    with pytest.raises(RunningElsewhere) as caught:
        await house.ask(idempotency_key="k", at=house.another_server())
    assert (caught.value.status, caught.value.retry_after_ms) == (409, 1000)
    assert len(house.begun) == 1


async def test_where_another_server_was_first_its_answer_is_given():
    house = StreamsHouse()

    async def be_second() -> None:
        await house.whole(idempotency_key="k", at=house.another_server())

    found = await house.answered(idempotency_key="k", before=be_second)
    assert (found.is_replay, await rest(found)) == (True, HI)
    assert (len(house.begun), house.calls, house.books.writes("post")) == (2, 1, [12])


async def test_where_another_server_is_first_and_at_it_that_is_told():
    gate = Gate()
    house = running(gate)

    async def be_second() -> None:
        await house.answered(idempotency_key="k", at=house.another_server())

    with pytest.raises(RunningElsewhere):
        await house.ask(idempotency_key="k", before=be_second)
    gate.open()
    await until_idle()
    assert house.books.writes("post") == [12]


async def test_where_others_are_first_again_and_again_it_gives_up():
    house = StreamsHouse()

    async def always_second() -> None:
        raise IdempotencyKeyTaken

    with pytest.raises(RunningElsewhere):
        await house.ask(idempotency_key="k", before=always_second)
    assert len(house.begun) == MAX_CLAIMS
    assert not (await house.whole(idempotency_key="k")).is_replay  # the key is free


async def test_after_its_hours_a_key_is_new():
    house = StreamsHouse(settings=StreamSettings(idempotency_hours=24))
    await house.whole(idempotency_key="k")
    house.clock.pass_ms(DAY_MS - 1)
    assert (await house.whole(idempotency_key="k", at=house.another_server())).is_replay
    house.clock.pass_ms(1)
    assert not (await house.whole(idempotency_key="k", at=house.another_server())).is_replay
    assert house.calls == 2


# -- where nothing is kept -------------------------------------------------------------------------


async def test_where_nothing_is_kept_a_repeat_reads_along_while_it_runs():
    gate = Gate()
    house = running(gate, settings=OFF)
    first = await house.answered(idempotency_key="k")
    reader = first.recording.reader()
    await gate.reached.wait()
    again = await house.answered(idempotency_key="k")
    assert again.recording is first.recording
    gate.open()
    assert b"there" in await rest(again)
    reader.close()
    assert house.recordings.count == 0


async def test_where_nothing_is_kept_a_later_repeat_is_refused_and_told_its_receipt():
    house = StreamsHouse(settings=OFF)
    first = await house.whole(idempotency_key="k")
    assert house.books.recordings.frames(first.recording.id) == b""
    with pytest.raises(IdempotencyKeyReused, match=first.recording.about.receipt_id):
        await house.ask(idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused) as caught:
        await house.ask(idempotency_key="k", body="another")
    assert caught.value.param == "Idempotency-Key"
    assert house.calls == 1


async def test_where_nothing_is_kept_a_key_is_still_taken_once_over_all_servers():
    gate = Gate()
    house = running(gate, settings=OFF)
    await house.answered(idempotency_key="k")
    await gate.reached.wait()
    with pytest.raises(RunningElsewhere):
        await house.ask(idempotency_key="k", at=house.another_server())
