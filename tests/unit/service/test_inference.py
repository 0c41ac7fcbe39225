"""From a request to a running generation, and to the end of all of them."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.gates import Gate, until_idle
from tests.support.plain_encoder import PlainEncoder
from tests.support.samples import a_model, a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, counted, text
from tests.support.small_house import SmallHouse, ended

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import EMBEDDING, Defaults, Target
from bandari.domain.faults import (
    Draining,
    InvalidValue,
    ModelNotFound,
    Overloaded,
    StoreUnavailable,
)
from bandari.domain.ledger import Ending
from bandari.domain.outcome import Deny
from bandari.service import inference as inference_module
from bandari.service.inference import Settings
from bandari.service.open_requests import OpenRequests


def waiting_house(gate: Gate, **options) -> SmallHouse:
    steps = (text("Hi"), counted(4, prompt=9), gate, *answer("there"))
    return SmallHouse(ScriptedUpstream(Script(*steps)), **options)


async def test_an_answers_identity_is_fixed_with_its_hold():
    house = SmallHouse()
    openings = []

    def make_encoder(opening):
        openings.append(opening)
        return PlainEncoder()

    request = a_request()
    generation = await house.inference.begin(a_principal(), request, make_encoder)
    (opening,) = openings
    unique = generation.receipt_id.removeprefix("rcpt_")
    assert len(unique) == 26
    assert opening.id == unique
    assert generation.recording.id == f"str_{unique}"
    assert (opening.created_s, opening.model) == (1_700_000_000, "bandari-1")
    assert house.books.holds[generation.receipt_id].created_ms == 1_700_000_000_000
    await ended(generation, house.books)


async def test_the_models_defaults_and_bounds_hold():
    model = a_model(defaults=Defaults(max_tokens=77), bounds=Bounds(n=(1, 2)))
    house = SmallHouse(model=model)
    await house.answer(a_request())
    assert house.upstreams["acme"].calls[0].request.sampling.max_tokens == 77
    with pytest.raises(InvalidValue):
        await house.begin(a_request(n=3))
    assert len(house.books.writes("place")) == 1


async def test_a_model_that_is_not_there_costs_nothing():
    house = SmallHouse()
    with pytest.raises(ModelNotFound):
        await house.begin(a_request(model="nothing"))
    assert not house.books.log
    assert house.inference.open_count == 0


async def test_a_refused_hold_is_a_value():
    house = SmallHouse(balance=5)
    refused = await house.inference.begin(a_principal(), a_request(), lambda _: PlainEncoder())
    assert isinstance(refused, Deny)
    assert house.inference.open_count == 0
    assert not house.upstreams["acme"].calls


async def test_a_store_that_is_down_takes_no_new_work():
    house = SmallHouse()
    house.books.failing["place"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await house.begin(a_request())
    assert house.inference.open_count == 0
    assert not house.upstreams["acme"].calls


async def test_an_encoder_that_cannot_be_made_leaves_no_hold():
    house = SmallHouse()

    def defect(_opening):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await house.inference.begin(a_principal(), a_request(), defect)
    assert house.books.wallet().held == 0
    assert house.inference.open_count == 0


async def test_the_prompt_is_counted_by_the_first_target_in_the_words_it_will_get():
    model = a_model(
        targets=(Target("b", "b-1", 1), Target("a", "a-1")), defaults=Defaults(temperature=0.5)
    )
    upstreams = {name: ScriptedUpstream(input_tokens=20) for name in ("a", "b")}
    house = SmallHouse(upstreams, model=model, balance=150)
    done = await house.answer(a_request(max_tokens=500))
    assert done.generation.recording.about.max_tokens == 130
    assert [request.sampling.temperature for request in upstreams["a"].counted] == [0.5]
    assert not upstreams["b"].counted


async def test_no_more_than_max_open_at_once():
    gate = Gate()
    house = waiting_house(gate, settings=Settings(max_open=2))
    running = [await house.begin(a_request()) for _ in range(2)]
    with pytest.raises(Overloaded) as caught:
        await house.begin(a_request())
    assert (caught.value.status, caught.value.retry_after_ms) == (503, 1000)
    gate.open()
    for generation in running:
        await ended(generation, house.books)
    await until_idle()
    assert house.inference.open_count == 0
    await house.answer(a_request())


async def test_a_request_that_waits_for_its_hold_is_counted_as_open():
    house = SmallHouse(settings=Settings(max_open=1))
    place = house.books.held_up("place")
    opening = asyncio.create_task(house.begin(a_request()))
    await place.reached.wait()
    assert house.inference.open_count == 1
    with pytest.raises(Overloaded):
        await house.begin(a_request())
    place.open()
    await ended(await opening, house.books)


# -- draining --------------------------------------------------------------------------------------


async def test_draining_with_nothing_to_wait_for_takes_nothing_new():
    house = SmallHouse()
    assert not house.inference.is_draining
    await house.inference.drain(5)
    assert house.inference.is_draining
    with pytest.raises(Draining):
        await house.begin(a_request())


async def test_what_runs_when_draining_begins_may_finish():
    gate = Gate()
    house = waiting_house(gate)
    generation = await house.begin(a_request())
    draining = asyncio.create_task(house.inference.drain(60))
    await gate.reached.wait()
    assert not draining.done()
    with pytest.raises(Draining):
        await house.begin(a_request())
    gate.open()
    await draining
    done = await ended(generation, house.books)
    assert done.receipt.ending is Ending.COMPLETED
    assert house.inference.open_count == 0


async def test_what_is_late_is_cut_and_charged():
    gate = Gate()
    house = waiting_house(gate)
    generation = await house.begin(a_request())
    await gate.reached.wait()
    await house.inference.drain(0)
    done = await ended(generation, house.books)
    assert (done.receipt.ending, done.receipt.amount) == (Ending.SERVER_STOPPED, 13)
    assert done.lines == ["text:Hi", "problem:interrupted"]
    assert house.books.wallet().held == 0


async def test_a_request_that_waits_for_its_hold_when_draining_begins_is_waited_for():
    house = SmallHouse()
    place = house.books.held_up("place")
    opening = asyncio.create_task(house.begin(a_request()))
    await place.reached.wait()
    draining = asyncio.create_task(house.inference.drain(60))
    await until_idle()
    assert not draining.done()
    place.open()
    await draining
    done = await ended(await opening, house.books)
    assert done.receipt.ending is Ending.COMPLETED


async def test_a_hold_that_comes_after_the_cut_is_voided_at_once():
    gate = Gate()
    house = waiting_house(gate)
    running = await house.begin(a_request())
    await gate.reached.wait()
    place = house.books.held_up("place")
    opening = asyncio.create_task(house.begin(a_request()))
    await place.reached.wait()
    draining = asyncio.create_task(house.inference.drain(0))
    assert (await ended(running, house.books)).problem.code == "interrupted"  # the cut was made
    place.open()
    await draining
    done = await ended(await opening, house.books)
    assert done.was_voided
    assert len(house.upstreams["acme"].calls) == 1


async def test_charges_that_hang_do_not_keep_the_server_from_ending(monkeypatch):
    monkeypatch.setattr(inference_module, "LAST_SETTLEMENTS_S", 0.01)
    gate = Gate()
    house = waiting_house(gate)
    generation = await house.begin(a_request())
    await gate.reached.wait()
    post = house.books.held_up("post")
    await house.inference.drain(0)
    assert not generation.recording.ended
    post.open()
    await ended(generation, house.books)


async def test_the_end_user_of_the_principal_is_kept():
    house = SmallHouse()
    generation = await house.begin(a_request(), principal=replace(a_principal(), end_user="z"))
    done = await ended(generation, house.books)
    assert done.receipt.end_user == "z"


async def test_a_model_that_only_embeds_is_refused_by_name():
    house = SmallHouse(model=a_model(endpoints=EMBEDDING))
    with pytest.raises(InvalidValue) as refusal:
        await house.begin(a_request())
    assert refusal.value.param == "model"
    assert not house.books.log
    assert house.inference.open_count == 0


async def test_what_others_have_open_counts_and_is_drained_too():
    shared = OpenRequests(2)
    house = SmallHouse(open_requests=shared)
    others = [shared.enter(), shared.enter()]
    with pytest.raises(Overloaded):
        await house.begin(a_request())
    others.pop().leave()
    await house.answer(a_request())
    draining = asyncio.create_task(house.inference.drain(60))
    await until_idle()
    assert not draining.done()
    others.pop().leave()
    await draining
    with pytest.raises(Draining):
        shared.enter()
