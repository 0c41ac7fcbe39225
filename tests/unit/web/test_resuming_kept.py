"""What a client may say beside its request: an Idempotency-Key, and what of the cache."""

from __future__ import annotations

import json

import pytest
from tests.support.gates import Gate, until_idle
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, counted, text
from tests.support.small_house import SmallHouse
from tests.support.surface_callers import (
    ALL,
    WHOLE,
    WINDOW,
    WORDS,
    Caller,
    SetHouse,
    house_with,
    id_of,
    told,
)
from tests.support.virtual_time import VirtualLoop

from bandari.domain.faults import UpstreamInterrupted, UpstreamOverloaded
from bandari.domain.keys import Scope
from bandari.service.stream_terms import StreamSettings

LOOPS = {"virtual": VirtualLoop}

KEYED = ("Idempotency-Key", "order-7")
USE, ONLY = ("x-bandari-cache", "use"), ("x-bandari-cache", "only")


# -- Idempotency-Key -------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ALL)
async def test_the_same_key_again_is_the_same_answer(front, surface):
    house = house_with(*WORDS)
    made = front(house)
    caller = Caller(made.app, surface)
    first = await caller.ask(KEYED)
    again = await caller.ask(KEYED)
    elsewhere = await Caller(made.another_server(), surface).ask(KEYED)
    for replayed in (again, elsewhere):
        assert (replayed.status, replayed.body) == (200, first.body)
        assert replayed.headers["x-bandari-replayed"] == "true"
        assert replayed.headers["x-bandari-receipt"] == first.headers["x-bandari-receipt"]
    assert "x-bandari-replayed" not in first.headers
    assert len(house.upstreams["acme"].calls) == 1


@pytest.mark.parametrize("surface", WHOLE)
async def test_an_unstreamed_answer_is_the_same_too(front, surface):
    house = house_with(*WORDS)
    made = front(house)
    first = await Caller(made.app, surface).ask(KEYED, stream=False)
    for app in (made.app, made.another_server()):
        again = await Caller(app, surface).ask(KEYED, stream=False)
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["content-type"] == "application/json"
    assert len(house.books.receipts) == 1


async def test_what_failed_and_was_charged_is_told_again_as_it_was(front):
    house = house_with(text("Hi"), counted(3), UpstreamInterrupted())
    made = front(house)
    first = await Caller(made.app).ask(KEYED)
    for app in (made.app, made.another_server()):
        again = await Caller(app).ask(KEYED)
        assert (again.status, again.body, again.ended) == (200, first.body, False)
    assert len(house.upstreams["acme"].calls) == 1


async def test_what_failed_and_was_charged_unstreamed_is_told_again_with_its_status(front):
    gate = Gate()
    house = house_with(text("Hi"), counted(3), gate, *answer("!"))
    made = front(house)
    caller = Caller(made.app)
    client, task = caller.start(KEYED, ("x-resume-window", "0"), stream=False)
    await gate.reached.wait()
    client.disconnect()
    await task
    await until_idle()
    assert len(house.books.receipts) == 1
    for app in (made.app, made.another_server()):
        again = await Caller(app).ask(KEYED, stream=False)
        assert (again.status, told(again)["code"]) == (500, "interrupted")
        assert again.headers["x-bandari-replayed"] == "true"


async def test_what_failed_free_of_charge_is_tried_again(front):
    script = Script(entering=[UpstreamOverloaded()]), Script(*WORDS)
    house = SmallHouse(ScriptedUpstream(*script))
    caller = Caller(front(house).app)
    assert (await caller.ask(KEYED)).status == 503
    again = await caller.ask(KEYED)
    assert (again.status, "x-bandari-replayed" in again.headers) == (200, False)


async def test_another_request_with_the_same_key_is_refused(front):
    house = house_with(*WORDS)
    made = front(house)
    caller = Caller(made.app)
    await caller.ask(KEYED)
    others = [
        caller.ask(KEYED, temperature=0.1),
        caller.ask(KEYED, stream=False),
        caller.ask(KEYED, ("x-on-behalf-of", "amina")),
        Caller(made.app, "messages").ask(KEYED),
    ]
    for asked in others:
        refused = await asked
        assert refused.status == 409
        assert refused.headers["x-should-retry"] == "false"
        error = json.loads(refused.body)["error"]
        assert error.get("code", "idempotency_key_reused") == "idempotency_key_reused"
    assert len(house.books.receipts) == 1


async def test_what_another_server_generates_is_told_and_may_be_tried_again(front):
    gate = Gate()
    house = house_with(text("Hi"), gate, *answer("!"))
    made = front(house)
    _, task = Caller(made.app).start(KEYED)
    await gate.reached.wait()
    refused = await Caller(made.another_server()).ask(KEYED)
    assert (refused.status, told(refused)["code"]) == (409, "running_elsewhere")
    assert "retry-after" in refused.headers
    gate.open()
    await task


# -- the cache -------------------------------------------------------------------------------------


@pytest.mark.parametrize("surface", ALL)
async def test_an_answer_from_the_cache_says_so_and_how_old_it_is(front, surface):
    house = house_with(*WORDS)
    caller = Caller(front(house).app, surface)
    first = await caller.ask(USE)
    assert first.headers["x-bandari-cache"] == "miss"
    assert "age" not in first.headers
    house.clock.pass_ms(12_345)
    hit = await caller.ask(USE)
    assert (hit.status, hit.headers["x-bandari-cache"], hit.headers["age"]) == (200, "hit", "12")
    assert id_of(hit) != id_of(first)
    assert hit.headers["x-bandari-receipt"] != first.headers["x-bandari-receipt"]
    assert "x-bandari-replayed" not in hit.headers
    assert len(caller.events(hit.body)) == len(caller.events(first.body))
    assert hit.ended
    assert len(house.upstreams["acme"].calls) == 1


async def test_what_was_asked_at_one_surface_is_a_hit_at_the_others_and_in_either_mode(front):
    house = house_with(*WORDS)
    made = front(house)
    await Caller(made.app).ask(USE, max_tokens=100)
    for surface in ALL:
        fields = {"max_output_tokens": 100} if surface == "responses" else {"max_tokens": 100}
        if surface == "completions":
            continue  # its prompt goes through the model's template by itself
        caller = Caller(made.app, surface)
        assert (await caller.ask(ONLY, **fields)).headers["x-bandari-cache"] == "hit"
        if surface in WHOLE:
            assert (await caller.ask(ONLY, stream=False, **fields)).status == 200
    assert len(house.upstreams["acme"].calls) == 1


@pytest.mark.parametrize("headers", [(), (("x-bandari-cache", "off"),)])
async def test_where_there_is_none_nothing_is_told_of_it(front, headers):
    client = await Caller(front(house_with(*WORDS)).app).ask(*headers)
    assert "x-bandari-cache" not in client.headers
    assert "age" not in client.headers


@pytest.mark.parametrize("surface", ALL)
async def test_only_what_is_there(front, surface):
    house = house_with(*WORDS)
    refused = await Caller(front(house).app, surface).ask(ONLY)
    assert refused.status == 404
    assert "x-bandari-stream" not in refused.headers
    assert house.books.log == []


# -- where nothing is kept -------------------------------------------------------------------------

OFF = StreamSettings(keep="off", resume_window_s={Scope.TYPED_STREAM: 60})


@pytest.mark.parametrize("surface", ALL)
async def test_where_nothing_is_kept_nothing_can_be_read_again(front, surface):
    house = SetHouse(*WORDS, stream_settings=OFF)
    caller = Caller(front(house).app, surface)
    client = await caller.ask(WINDOW, USE)
    assert (client.status, client.ended) == (200, True)
    assert client.headers["x-resume-window"] == "0"
    assert "x-bandari-cache" not in client.headers
    assert (await caller.follow(id_of(client))).status == 404
    assert (await caller.ask(WINDOW, ("Last-Event-ID", "0"))).status == 409
    assert (await caller.ask(ONLY)).status == 404
    assert (house.recordings.count, house.cache.count) == (0, 0)


async def test_where_nothing_is_kept_a_response_is_not_stored(front):
    house = SetHouse(*WORDS, stream_settings=OFF)
    made = front(house)
    caller = Caller(made.app, "responses")
    client = await caller.ask(stream=False, store=True)
    assert (client.status, json.loads(client.body)["store"]) == (200, False)
    assert made.stored.kept == {}


@pytest.mark.parametrize("stream", [True, False])
async def test_where_nothing_is_kept_nothing_goes_on_in_the_background(front, stream):
    house = SetHouse(*WORDS, stream_settings=OFF)
    caller = Caller(front(house).app, "responses")
    refused = await caller.ask(background=True, store=True, stream=stream)
    assert (refused.status, told(refused)["param"]) == (400, "background")
    assert house.books.log == []
