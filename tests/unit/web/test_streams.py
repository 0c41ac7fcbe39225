"""``/v1/streams/{id}``: any answer read again by its id, in its own framing; and deleted."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.support.client import request
from tests.support.gates import Gate, until_idle
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, counted, text
from tests.support.small_house import SmallHouse
from tests.support.surface_callers import (
    ALL,
    WHOLE,
    WINDOW,
    WORDS,
    Caller,
    house_with,
    id_of,
    paused,
)
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import UpstreamInterrupted
from bandari.domain.ledger import Ending

LOOPS = {"virtual": VirtualLoop}


# -- read again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ALL)
async def test_from_every_chunk_on_the_rest_is_byte_for_byte(front, surface):
    caller = Caller(front(house_with(*WORDS)).app, surface)
    whole = await caller.ask(WINDOW)
    events = caller.events(whole.body)
    assert len(events) >= 5
    assert whole.body == caller.spoken.opening + b"".join(events)
    for after in range(-1, len(events)):
        query = "" if after == -1 else f"after={after}"
        rest = await caller.follow(id_of(whole), query=query)
        assert (rest.status, rest.ended) == (200, True)
        assert rest.body == caller.spoken.opening + b"".join(events[after + 1 :])


@pytest.mark.parametrize("surface", ALL)
async def test_what_comes_before_and_after_a_cut_is_the_whole(front, surface):
    first, second, third = Gate(), Gate(), Gate()
    house = paused(first, second, third)
    caller = Caller(front(house).app, surface)
    client, task = caller.start(WINDOW)
    await first.reached.wait()
    first.open()
    await second.reached.wait()
    client.disconnect()
    await task
    got = caller.events(client.body)
    resumed, following = caller.following(id_of(client), query=f"after={len(got) - 1}")
    second.open()
    await third.reached.wait()
    await until_idle()
    third.open()
    await following
    got += caller.events(resumed.body)
    again = await caller.follow(id_of(client))
    assert b"".join(got) == b"".join(caller.events(again.body))
    assert resumed.ended
    assert (len(house.upstreams["acme"].calls), len(house.books.writes("post"))) == (1, 1)


@pytest.mark.parametrize("surface", WHOLE)
async def test_an_unstreamed_answer_is_given_whole(front, surface):
    caller = Caller(front(house_with(*WORDS)).app, surface)
    first = await caller.ask(WINDOW, stream=False)
    again = await caller.follow(id_of(first))
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["content-type"] == "application/json"
    assert again.headers["content-length"] == str(len(first.body))
    assert again.headers["x-bandari-replayed"] == "true"


async def test_its_headers_are_those_of_the_answer_and_that_it_was_there(front):
    house = SmallHouse(ScriptedUpstream(Script(*answer("Hi")), ignored=("top_a",)), balance=1_000)
    caller = Caller(front(house, rate=10).app)
    first = await caller.ask(WINDOW, ("x-bandari-cache", "use"), max_tokens=4_000)
    again = await caller.follow(id_of(first))
    same = (
        *("x-bandari-receipt", "x-bandari-stream", "x-resume-window", "x-bandari-max-tokens"),
        *("x-bandari-ignored", "x-bandari-cache", "content-type", "cache-control"),
        "x-accel-buffering",
    )
    assert {name: again.headers[name] for name in same} == {
        name: first.headers[name] for name in same
    }
    assert "x-bandari-replayed" not in first.headers
    assert again.headers["x-bandari-replayed"] == "true"
    assert first.headers["x-resume-window"] == "30"
    assert "x-ratelimit-limit-requests" in first.headers
    assert "x-ratelimit-limit-requests" not in again.headers  # reading is not counted


@pytest.mark.parametrize("header", ["x-last-chunk-index", "Last-Event-ID"])
async def test_the_header_says_it_as_well_and_the_parameter_comes_first(front, header):
    caller = Caller(front(house_with(*WORDS)).app)
    whole = await caller.ask(WINDOW)
    events = caller.events(whole.body)
    rest = await caller.follow(id_of(whole), (header, "1"))
    assert caller.events(rest.body) == events[2:]
    rest = await caller.follow(id_of(whole), (header, "x"), query="after=3")
    assert caller.events(rest.body) == events[4:]
    both = (("x-last-chunk-index", "2"), ("Last-Event-ID", "1"))
    assert caller.events((await caller.follow(id_of(whole), *both)).body) == events[3:]


async def test_the_other_base_is_the_same(front):
    made = front(house_with(*WORDS))
    caller = Caller(made.app)
    whole = await caller.ask(WINDOW)
    path = f"/api/v1/llm/streams/{id_of(whole)}"
    again = await request(made.app, "GET", path, headers=caller.key)
    assert (again.status, again.body) == (200, whole.body)
    deleted = await request(made.app, "DELETE", path, headers=caller.key)
    assert (deleted.status, (await caller.follow(id_of(whole))).status) == (200, 404)


@pytest.mark.parametrize("surface", ALL)
async def test_one_that_failed_in_its_middle_is_told_again_with_its_error(front, surface):
    house = house_with(text("Hi"), counted(3), UpstreamInterrupted())
    caller = Caller(front(house).app, surface)
    failed = await caller.ask(WINDOW)
    assert (failed.status, failed.ended) == (200, False)
    again = await caller.follow(id_of(failed))
    assert (again.status, again.body, again.ended) == (200, failed.body, False)
    rest = await caller.follow(id_of(failed), query="after=0")
    assert caller.events(rest.body) == caller.events(failed.body)[1:]
    assert not rest.ended


@pytest.mark.parametrize("surface", WHOLE)
async def test_an_unstreamed_one_that_was_stopped_is_its_error_in_its_envelope(front, surface):
    gate = Gate()
    made = front(paused(gate))
    caller, keyed = Caller(made.app, surface), ("Idempotency-Key", "k")
    client, task = caller.start(keyed, ("x-resume-window", "0"), stream=False)
    await gate.reached.wait()
    client.disconnect()
    await task
    await until_idle()
    (kept,) = made.house.books.recordings.kept.values()
    expected = await caller.ask(keyed, stream=False)
    for app in (made.app, made.another_server()):
        again = await Caller(app).follow(kept.id)
        assert (again.status, again.body) == (500, expected.body)


@pytest.mark.parametrize("surface", ALL)
async def test_what_keeps_a_silent_one_alive_has_no_index(front, surface):
    gate = Gate()
    options = {"keepalive_ms": 1_000, "first_status_timeout_ms": 500}
    caller = Caller(front(paused(gate), **options).app, surface)
    client, task = caller.start(WINDOW)
    await gate.reached.wait()
    await asyncio.sleep(3)
    assert any(event in client.body for event in caller.spoken.between)
    last = len(caller.events(client.body)) - 1
    follower, following = caller.following(id_of(client), query=f"after={last}")
    await asyncio.sleep(3)
    assert (follower.status, caller.events(follower.body)) == (200, [])
    assert sum(map(follower.body.count, caller.spoken.between)) >= 3
    gate.open()
    await task
    await following
    assert caller.events(follower.body) == caller.events(client.body)[last + 1 :]


# -- many readers ----------------------------------------------------------------------------------


async def test_a_reader_that_stalls_holds_nobody_up_and_misses_nothing(front):
    gates = [Gate() for _ in range(5)]
    house = paused(*gates)
    caller = Caller(front(house).app)
    client, task = caller.start(WINDOW)
    await gates[0].reached.wait()
    stalled, stalling = caller.following(id_of(client))
    quick, reading = caller.following(id_of(client))
    await until_idle()
    stalled.not_reading = Gate()
    for gate in gates:
        gate.open()
    await task
    await reading
    assert (quick.body, quick.ended) == (client.body, True)
    assert len(stalled.body) < len(quick.body)
    assert not stalling.done()
    stalled.not_reading.open()
    await stalling
    assert (stalled.body, stalled.ended) == (quick.body, True)


async def test_a_client_that_leaves_while_it_waits_leaves_the_rest_alone(front):
    gate = Gate()
    house = paused(gate)
    caller = Caller(front(house).app)
    client, task = caller.start()
    await gate.reached.wait()
    for query in ("", "after=1"):
        leaving, following = caller.following(id_of(client), query=query)
        await until_idle()
        leaving.disconnect()
        await following
    gate.open()
    await task
    assert client.body.endswith(b"data: [DONE]\n\n")
    (receipt,) = house.books.receipts.values()
    assert receipt.ending is Ending.COMPLETED


async def test_the_last_one_that_leaves_ends_it(front):
    gate = Gate()
    house = paused(gate)
    caller = Caller(front(house).app)
    client, task = caller.start()
    await gate.reached.wait()
    follower, following = caller.following(id_of(client))
    await until_idle()
    client.disconnect()
    await task
    await until_idle()
    assert house.books.receipts == {}
    follower.disconnect()
    await following
    await until_idle()
    (receipt,) = house.books.receipts.values()
    assert receipt.ending is Ending.CLIENT_LEFT
    assert (house.recordings.count, house.space.used) == (0, 0)


async def test_one_that_left_before_it_was_answered_is_no_reader(front):
    gate = Gate()
    house = paused(gate)
    caller = Caller(front(house).app)
    client, task = caller.start(WINDOW)
    await gate.reached.wait()
    follower, following = caller.following(id_of(client))
    follower.disconnect()
    await following
    assert not follower.began
    (entry,) = house.recordings._entries.values()
    assert entry.recording.readers == 1
    gate.open()
    await task


# -- heads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_its_head_has_no_body(front, stream):
    caller = Caller(front(house_with(*WORDS)).app)
    whole = await caller.ask(WINDOW, stream=stream)
    head = await caller.follow(id_of(whole), method="HEAD")
    again = await caller.follow(id_of(whole))
    assert (head.status, head.body, head._exchange.is_over) == (200, b"", True)
    for name in ("content-type", "x-bandari-stream", "x-bandari-receipt", "x-bandari-replayed"):
        assert head.headers[name] == again.headers[name]
    assert (await caller.follow("str_unknown", method="HEAD")).status == 404


async def test_the_head_of_one_that_runs_waits_for_nothing(front):
    gate = Gate()
    house = paused(gate)
    caller = Caller(front(house).app)
    client, task = caller.start()
    await gate.reached.wait()
    head = await caller.follow(id_of(client), method="HEAD")
    assert (head.status, head.body, head._exchange.is_over) == (200, b"", True)
    (entry,) = house.recordings._entries.values()
    assert entry.recording.readers == 1
    gate.open()
    await task


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_other_methods_are_none(front, method):
    caller = Caller(front(house_with(*WORDS)).app)
    whole = await caller.ask(WINDOW)
    refused = await caller.follow(id_of(whole), method=method)
    assert (refused.status, refused.headers["allow"]) == (405, "GET, DELETE")


# -- deleting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ALL)
async def test_what_is_deleted_is_not_there_any_more(front, surface):
    house = house_with(*WORDS)
    caller = Caller(front(house).app, surface)
    whole = await caller.ask(WINDOW)
    deleted = await caller.delete(id_of(whole))
    assert (deleted.status, json.loads(deleted.body)) == (
        200,
        {"id": id_of(whole), "object": "stream", "deleted": True},
    )
    assert deleted.headers["content-type"] == "application/json"
    assert (await caller.follow(id_of(whole))).status == 404
    assert (await caller.delete(id_of(whole))).status == 404
    assert (house.recordings.count, house.space.used) == (0, 0)


async def test_one_that_runs_is_stopped_told_and_charged(front):
    gate = Gate()
    house = paused(gate)
    caller = Caller(front(house).app)
    client, task = caller.start(WINDOW)
    await gate.reached.wait()
    assert (await caller.delete(id_of(client))).status == 200
    await task
    assert b'"code":"cancelled"' in client.body
    assert not client.ended
    (receipt,) = house.books.receipts.values()
    assert (receipt.ending, receipt.amount) == (Ending.CANCELLED, 11)
