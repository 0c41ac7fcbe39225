"""What is read of an answer from the store: after a restart, and after a crash."""

from __future__ import annotations

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import answer, counted, text
from tests.support.streams_house import HI, StreamsHouse, rest
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import Overloaded, RunningElsewhere, StreamNotFound, StreamNotResumable
from bandari.domain.ledger import Charge, Ending
from bandari.domain.problem import Blame, Problem
from bandari.domain.recordings import RecordingState
from bandari.domain.usage import Usage
from bandari.service.streams import NoSuchFrame, StreamSettings

LOOPS = {"virtual": VirtualLoop}

PROBLEM = Problem(502, "upstream_interrupted", "It broke off.", Blame.UPSTREAM)
A, B = b"text:a\n\n", b"text:b\n\n"


async def found(house: StreamsHouse, after: int = -1):
    return await house.front.find(a_principal(), "str_stored", after)


async def test_it_is_read_from_any_frame_on_like_any_other():
    house = StreamsHouse()
    house.keep(A, B, b"end:12\n\n")
    for after, expected in enumerate(
        (A + B + b"end:12\n\n", B + b"end:12\n\n", b"end:12\n\n", b"")
    ):
        restored = await found(house, after - 1)
        assert (restored.is_replay, restored.recording.problem) == (True, None)
        assert await rest(restored) == expected


async def test_what_is_told_beside_it_is_as_it_was():
    house = StreamsHouse()
    house.keep(HI, max_tokens=9, ignored=("seed",), surface="messages", is_streaming=True)
    about = (await found(house)).recording.about
    assert (about.surface, about.is_streaming, about.receipt_id) == (
        *("messages", True),
        "rcpt_stored",
    )
    assert (about.max_tokens, about.ignored) == (9, ("seed",))
    assert (about.was_cached, about.standing, about.window_s) == (None, None, None)


async def test_an_unstreamed_one_is_its_one_body():
    house = StreamsHouse()
    house.keep(b'{"a":\n\n1}', is_streaming=False)
    restored = await found(house)
    assert (restored.recording.about.is_streaming, restored.recording.frame_count) == (False, 1)
    assert await rest(restored) == b'{"a":\n\n1}'


async def test_one_that_failed_has_its_problem_and_what_told_it():
    house = StreamsHouse()
    house.keep(A, b"problem:upstream_interrupted\n\n", problem=PROBLEM)
    restored = await found(house)
    assert (restored.recording.problem, restored.recording.failed_early) == (PROBLEM, False)
    assert await rest(restored) == A + b"problem:upstream_interrupted\n\n"


async def test_an_unstreamed_one_that_failed_is_its_problem():
    house = StreamsHouse()
    house.keep(problem=PROBLEM, is_streaming=False)
    restored = await found(house)
    assert (restored.recording.problem, restored.recording.failed_early) == (PROBLEM, True)
    assert await rest(restored) == b""


async def test_one_whose_server_died_is_what_is_durable_and_that_it_was_interrupted():
    house = StreamsHouse()
    house.keep(A, B, state=RecordingState.INTERRUPTED)
    restored = await found(house, 0)
    assert (restored.recording.problem.code, restored.recording.problem.status) == (
        "interrupted",
        500,
    )
    # The surface spells the error, which is the event of that index.
    assert await rest(restored) == B + b"2:problem:interrupted\n\n"


async def test_that_it_was_interrupted_is_its_last_frame():
    house = StreamsHouse()
    house.keep(A, B, state=RecordingState.INTERRUPTED)
    assert await rest(await found(house, 1)) == b"2:problem:interrupted\n\n"
    assert await rest(await found(house, 2)) == b""
    with pytest.raises(NoSuchFrame) as caught:
        await found(house, 3)
    assert caught.value.count == 3


async def test_an_unstreamed_one_whose_server_died_is_that_problem():
    house = StreamsHouse()
    house.keep(is_streaming=False, state=RecordingState.INTERRUPTED)
    restored = await found(house)
    assert (restored.recording.problem.code, restored.recording.failed_early) == (
        "interrupted",
        True,
    )
    assert await rest(restored) == b""


async def test_one_that_runs_elsewhere_cannot_be_read_here():
    house = StreamsHouse()
    house.keep(A, state=RecordingState.RUNNING)
    with pytest.raises(RunningElsewhere):
        await found(house)
    with pytest.raises(RunningElsewhere):
        await house.ask(stream_id="str_stored")
    assert house.begun == []


async def test_one_that_has_expired_is_not_there():
    house = StreamsHouse()
    house.keep(HI)
    house.clock.pass_ms(999)
    assert await rest(await found(house)) == HI
    house.clock.pass_ms(1)
    with pytest.raises(StreamNotFound):
        await found(house)


@pytest.mark.parametrize("after", [2, 2**53 - 1])
async def test_a_frame_that_it_does_not_have_is_an_error_and_takes_no_room(after):
    house = StreamsHouse()
    house.keep(A, B)
    for _ in range(3):
        with pytest.raises(NoSuchFrame) as caught:
            await found(house, after)
        assert caught.value.count == 2
    assert house.space.used == 0


async def test_other_accounts_and_end_users_find_nothing():
    house = StreamsHouse()
    house.keep(HI, end_user="amina")
    for who in (a_principal(account_id=2), a_principal(end_user="baraka")):
        with pytest.raises(StreamNotFound):
            await house.front.find(who, "str_stored")
        with pytest.raises(StreamNotResumable):
            await house.ask(principal=who, stream_id="str_stored")
        with pytest.raises(StreamNotFound):
            await house.front.delete(who, "str_stored")
    for who in (a_principal(), a_principal(key_id=4), a_principal(end_user="amina")):
        assert await rest(await house.front.find(who, "str_stored")) == HI


async def test_where_nothing_is_kept_any_more_what_was_is_not_there():
    house = StreamsHouse(settings=StreamSettings(keep="off"))
    house.keep(HI)
    with pytest.raises(StreamNotFound):
        await found(house)
    with pytest.raises(StreamNotResumable):
        await house.ask(stream_id="str_stored")
    await house.front.delete(a_principal(), "str_stored")  # but it can be deleted
    assert house.books.recordings.kept == {}


# -- room ------------------------------------------------------------------------------------------


async def test_it_takes_room_while_it_is_read_and_only_then():
    house = StreamsHouse()
    house.keep(HI)
    restored = await found(house)
    assert house.space.used == 0
    reader, other = restored.recording.reader(), restored.recording.reader()
    assert house.space.used == len(HI)
    reader.close()
    assert house.space.used == len(HI)
    other.close()
    assert house.space.used == 0
    assert await rest(restored) == HI
    assert house.space.used == 0


async def test_the_error_that_it_ends_with_takes_room_too():
    house = StreamsHouse()
    house.keep(A, state=RecordingState.INTERRUPTED)
    reader = (await found(house)).recording.reader()
    assert house.space.used == len(A + b"1:problem:interrupted\n\n")
    reader.close()
    assert house.space.used == 0


async def test_where_there_is_no_room_it_is_not_read():
    house = StreamsHouse(max_recorded_bytes=1_000)
    house.keep(HI)
    house.space.take(1_001)
    with pytest.raises(Overloaded) as caught:
        await found(house)
    assert (caught.value.status, caught.value.retry_after_ms) == (503, 1_000)
    with pytest.raises(Overloaded):
        await house.ask(idempotency_key="k")
    house.space.give(1)
    assert await rest(await found(house)) == HI


async def test_room_is_made_for_it():
    house = StreamsHouse(max_recorded_bytes=100)
    await house.whole(window_s=60)
    house.keep(b"x" * 90 + b"\n\n")
    reader = (await found(house)).recording.reader()
    assert house.recordings.count == 0
    assert house.space.used == 92
    reader.close()
    assert house.space.used == 0


async def test_who_reads_it_holds_up_what_is_new_where_it_takes_too_much():
    house = StreamsHouse(max_recorded_bytes=100)
    house.keep(b"x" * 198 + b"\n\n")
    reader = (await found(house)).recording.reader()
    assert house.space.used == 200
    with pytest.raises(Overloaded):
        await house.ask()
    reader.close()
    await house.whole()


# -- a whole story ---------------------------------------------------------------------------------


async def test_what_was_durable_when_the_server_died_is_what_was_charged():
    gate, later = Gate(), Gate()
    house = StreamsHouse(
        *(text("a"), counted(1, prompt=9), gate, text("b"), counted(2, prompt=9), later),
        *answer("c"),
    )
    asked = await house.answered(idempotency_key="k")
    await gate.reached.wait()
    await house.inference.write_counts(house.books.count)
    gate.open()
    await later.reached.wait()  # "b" is generated, and not durable
    receipt_id = asked.recording.about.receipt_id
    house.books.epoch_died(1)
    counted_by_then = house.books.holds[receipt_id].counted
    await house.books.post(
        Charge(
            hold_id=receipt_id,
            amount=10,
            count=counted_by_then,
            ending=Ending.SERVER_DIED,
            target="",
            ended_ms=house.clock.now_ms(),
        )
    )
    assert await house.books.recordings.end_dead(10) == 1
    assert counted_by_then.usage == Usage(9, 1)
    again = await house.answered(idempotency_key="k", at=house.another_server())
    assert await rest(again) == b"text:a\n\n1:problem:interrupted\n\n"
    assert again.recording.about.receipt_id == receipt_id
    assert len(house.begun) == 1
    later.open()
    await until_idle()


async def test_one_of_which_nothing_was_durable_when_the_server_died_is_made_anew():
    gate = Gate()
    house = StreamsHouse(gate, *answer("Hi"))
    asked = await house.answered(idempotency_key="k")
    await gate.reached.wait()
    house.books.epoch_died(1)
    await house.books.void(asked.recording.about.receipt_id)
    assert await house.books.recordings.end_dead(10) == 1
    gate.open()
    again = await house.answered(idempotency_key="k", at=house.another_server())
    assert (again.is_replay, await rest(again)) == (False, HI)
    await until_idle()


async def test_with_a_database_what_has_a_window_outlives_the_server():
    house = StreamsHouse(settings=StreamSettings(keep="database"))
    first = await house.whole(window_s=20)
    elsewhere = house.another_server()
    again = await elsewhere.find(a_principal(), first.recording.id)
    assert await rest(again) == HI
    house.clock.pass_ms(20_000)
    with pytest.raises(StreamNotFound):
        await elsewhere.find(a_principal(), first.recording.id)


async def test_an_unstreamed_answer_outlives_the_server():
    house = StreamsHouse()
    request = a_request(stream=False)
    await house.whole(idempotency_key="k", request=request)
    again = await house.answered(idempotency_key="k", request=request, at=house.another_server())
    assert await rest(again) == b"end:Hi:12\n"
    assert not again.recording.about.is_streaming
