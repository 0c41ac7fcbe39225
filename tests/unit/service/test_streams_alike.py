"""The same request again, with nothing but the index of the last frame that its client has."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.samples import a_principal
from tests.support.scripted_upstream import answer, counted, text
from tests.support.streams_house import HI, StreamsHouse, rest
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import StreamNotResumable
from bandari.domain.ledger import Ending
from bandari.service.streams import StreamSettings

LOOPS = {"virtual": VirtualLoop}


async def test_it_goes_on_behind_the_frame_that_the_client_has():
    house = StreamsHouse()
    first = await house.whole(window_s=60)
    again = await house.answered(after=0, window_s=60)
    assert (again.recording, again.after, again.is_replay) == (first.recording, 0, True)
    assert await rest(again) == b"finish:0:stop\n\nend:12\n\n"
    # The window of the first counts, whatever this one says of its own.
    assert await rest(await house.answered(after=2)) == b""
    assert (house.calls, house.books.writes("post")) == (1, [12])


async def test_it_goes_on_with_one_that_runs():
    gate = Gate()
    house = StreamsHouse(text("Hi"), counted(3, prompt=9), gate, *answer("there"))
    first = await house.answered(window_s=60)
    reader = first.recording.reader()
    await gate.reached.wait()
    reader.close()
    again = asyncio.create_task(rest(await house.answered(after=0)))
    await until_idle()
    gate.open()
    assert await again == b"text:there\n\nfinish:0:stop\n\nend:12\n\n"
    (receipt,) = house.books.receipts.values()
    assert receipt.ending is Ending.COMPLETED


@pytest.mark.parametrize(
    "other",
    [
        {"body": "another"},
        {"surface": "messages"},
        {"principal": a_principal(key_id=4)},
        {"principal": a_principal(account_id=2, key_id=5)},
        {"principal": a_principal(end_user="amina")},
        {"after": 3},
        {"after": 2**53 - 1},
    ],
)
async def test_where_none_fits_nothing_is_made(other):
    house = StreamsHouse()
    await house.whole(window_s=60)
    with pytest.raises(StreamNotResumable) as caught:
        await house.ask(**{"after": 0, "window_s": 60} | other)
    assert (caught.value.status, caught.value.code) == (409, "stream_not_resumable")
    assert len(house.begun) == 1


async def test_what_had_no_window_or_whose_window_is_over_cannot_be_gone_on_with():
    house = StreamsHouse()
    await house.whole()
    await house.whole(window_s=60)
    await asyncio.sleep(61)
    with pytest.raises(StreamNotResumable):
        await house.ask(after=0)


async def test_of_several_it_is_the_one_that_nobody_reads():
    house = StreamsHouse()
    gate, made = Gate(), []
    for _ in range(3):
        found = await house.answered(window_s=60)
        made.append((found, found.recording.reader()))
        await until_idle()
    gate.open()
    made[1][1].close()
    again = await house.answered(after=0)
    assert again.recording is made[1][0].recording
    for _, reader in made:
        reader.close()


@pytest.mark.parametrize("are_read", [False, True])
async def test_several_that_fit_alike_have_to_be_told_apart(are_read):
    house = StreamsHouse()
    made = [await house.whole(window_s=60) for _ in range(2)]
    readers = [each.recording.reader() for each in made] if are_read else []
    with pytest.raises(StreamNotResumable, match="x-bandari-stream"):
        await house.ask(after=0)
    for reader in readers:
        reader.close()
    again = await house.answered(after=0, stream_id=made[1].recording.id)
    assert again.recording is made[1].recording
    assert len(house.begun) == 2


async def test_one_with_an_idempotency_key_is_found_without_it_too():
    house = StreamsHouse()
    first = await house.whole(idempotency_key="k")
    assert (await house.answered(after=0)).recording is first.recording


async def test_one_that_goes_on_whoever_reads_is_found_while_it_runs():
    gate = Gate()
    house = StreamsHouse(text("Hi"), gate, *answer("there"))
    first = await house.answered(is_background=True, is_stored=True)
    await gate.reached.wait()
    again = await house.answered(after=0, is_background=True)
    assert again.recording is first.recording
    gate.open()
    assert await rest(again) == b"text:there\n\nfinish:0:stop\n\nend:12\n\n"


async def test_where_nothing_is_kept_there_is_nothing_to_go_on_with():
    gate = Gate()
    house = StreamsHouse(text("Hi"), gate, *answer("there"), settings=StreamSettings(keep="off"))
    await house.answered(window_s=60)
    await gate.reached.wait()
    with pytest.raises(StreamNotResumable):
        await house.ask(after=0, window_s=60)
    gate.open()
    await until_idle()


async def test_the_whole_is_there_from_every_frame_on():
    house = StreamsHouse()
    await house.whole(window_s=60)
    frames = [frame + b"\n\n" for frame in HI.split(b"\n\n")[:-1]]
    for after, frame in enumerate(frames):
        found = await house.answered(after=after)
        assert b"".join(frames[:after]) + frame + await rest(found) == HI
