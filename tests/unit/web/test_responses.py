"""Responses' endpoints: made, kept, continued, polled, read again, cancelled, deleted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.client import Client, request, start
from tests.support.gates import Gate
from tests.support.key_ring import a_key
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, text
from tests.support.small_house import SmallHouse

from bandari.domain.faults import UnsupportedField, UpstreamInterrupted
from bandari.service.upkeep import settle_dead_holds
from bandari.wire.sse import SseDecoder, SseEvent

PATH = "/v1/responses"


def house_with(*steps, **options) -> SmallHouse:
    return SmallHouse(ScriptedUpstream(Script(*steps)), **options)


class Desk:
    """A client of one application that asks for responses."""

    def __init__(self, front, house: SmallHouse, key: str) -> None:
        self.house = house
        self.front = front(house, keepalive_ms=10)
        self.headers = [("authorization", f"Bearer {key}")]

    def start(self, base: str = PATH, **fields: Any):
        body = json.dumps({"model": "bandari-1", "input": "Habari?"} | fields).encode()
        client = Client(body)
        return client, start(self.front.app, client, "POST", base, self.headers)

    async def make(self, **fields: Any) -> Client:
        client, task = self.start(**fields)
        await task
        return client

    async def ask(self, method: str, path: str, query: str = "") -> Client:
        app, headers = self.front.app, self.headers
        return await request(app, method, f"{PATH}/{path}", headers=headers, query=query)


@pytest.fixture
def desk(front, key):
    return lambda house: Desk(front, house, key)


def told(client: Client) -> dict[str, Any]:
    return json.loads(client.body)


def events_of(client: Client) -> list[SseEvent]:
    return SseDecoder().feed(client.body)


def error_of(client: Client) -> tuple[int, str | None, str]:
    error = told(client)["error"]
    return client.status, error["param"], error["message"]


# -- made -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [PATH, "/api/v1/llm/responses"])
async def test_an_answer_in_one_piece(desk, base):
    at = desk(house_with(*answer("Nzuri.", prompt=12, output=4)))
    client, task = at.start(base, metadata={"a": "b"})
    await task
    response = told(client)
    assert (response["object"], response["status"]) == ("response", "completed")
    assert response["output"][0]["content"][0]["text"] == "Nzuri."
    assert response["usage"]["total_tokens"] == 16
    assert response["metadata"] == {"a": "b"}
    assert response["id"].startswith("resp_")
    assert "x-bandari-receipt" in client.headers
    assert at.house.books.wallet().balance == 1_000_000 - 16


async def test_a_stream_has_its_grammar(desk):
    client = await desk(house_with(text("Nzu"), *answer("ri."))).make(stream=True)
    events = events_of(client)
    data = [json.loads(event.data) for event in events]
    assert [event.name for event in events] == [each["type"] for each in data]
    assert [each["sequence_number"] for each in data] == list(range(len(data)))
    assert (data[0]["type"], data[-1]["type"]) == ("response.created", "response.completed")
    assert client.ended


async def test_bounds_are_told_in_the_protocols_words(desk):
    at = desk(
        SmallHouse(
            ScriptedUpstream(
                Script(
                    entering=[
                        UnsupportedField(
                            "'response_format' cannot be carried.", param="response_format"
                        )
                    ]
                )
            )
        )
    )
    client = await at.make(text={"format": {"type": "json_object"}})
    assert error_of(client) == (400, "text.format", "'text.format' cannot be carried.")
    client = await at.make(temperature=3)
    assert error_of(client)[:2] == (400, "temperature")
    assert at.house.books.wallet().free == 1_000_000


async def test_a_failure_in_the_stream_is_told_in_it_and_the_response_is_kept(desk):
    at = desk(house_with(text("a"), UpstreamInterrupted()))
    client = await at.make(stream=True)
    *_, error, failed = events_of(client)
    assert (error.name, failed.name) == ("error", "response.failed")
    assert not client.ended
    response = json.loads(failed.data)["response"]
    kept = await at.ask("GET", response["id"])
    assert told(kept)["status"] == "failed"


# -- kept and continued ---------------------------------------------------------------------------


async def test_what_is_kept_is_found_and_deleted(desk):
    at = desk(house_with(*answer("Nzuri.")))
    made = told(await at.make())
    assert told(await at.ask("GET", made["id"])) == made
    assert told(await at.ask("DELETE", made["id"])) == {
        "id": made["id"],
        "object": "response",
        "deleted": True,
    }
    for method in ("GET", "DELETE"):
        gone = await at.ask(method, made["id"])
        assert error_of(gone)[0] == 404
        assert made["id"] in error_of(gone)[2]


async def test_what_is_not_stored_is_not_found(desk):
    at = desk(house_with(*answer("Nzuri.")))
    made = told(await at.make(store=False))
    assert made["store"] is False
    assert error_of(await at.ask("GET", made["id"]))[0] == 404
    client = await at.make(previous_response_id=made["id"])
    assert error_of(client)[:2] == (404, "previous_response_id")


async def test_a_conversation_goes_on(desk):
    upstream = ScriptedUpstream(Script(*answer("Nzuri.")), Script(*answer("Nairobi.")))
    at = desk(SmallHouse(upstream))
    first = told(await at.make(instructions="Be brief."))
    await at.make(input="Na mji mkuu?", previous_response_id=first["id"])
    turns = upstream.calls[1].request.messages
    assert [(turn.role, turn.parts[0].text) for turn in turns] == [
        ("user", "Habari?"),
        ("assistant", "Nzuri."),
        ("user", "Na mji mkuu?"),
    ]


async def test_anothers_response_is_not_there(desk):
    at = desk(house_with(*answer("Nzuri.")))
    made = told(await at.make())
    at.house.clock.pass_ms(10_000)
    at.front.ring.add(key=a_key(id=4, account_id=2, account="juma"))
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/input_items"),
    ):
        client = await at.ask(method, made["id"] + path)
        assert error_of(client)[0] == 404, path


async def test_input_items_are_listed_with_ids_that_stay(desk):
    at = desk(house_with(*answer("Nzuri.")))
    items = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    made = told(await at.make(input=items))
    listed = told(await at.ask("GET", f"{made['id']}/input_items"))
    assert [item["content"][0]["text"] for item in listed["data"]] == ["b", "a"]
    first = told(await at.ask("GET", f"{made['id']}/input_items", "order=asc&limit=1"))
    assert first["data"] == [listed["data"][1]]
    assert first["has_more"]
    after = f"order=asc&after={first['last_id']}"
    assert told(await at.ask("GET", f"{made['id']}/input_items", after))["data"] == [
        listed["data"][0]
    ]
    assert error_of(await at.ask("GET", f"{made['id']}/input_items", "limit=0"))[:2] == (
        400,
        "limit",
    )


# -- in the background ----------------------------------------------------------------------------


async def test_background_answers_at_once_and_can_be_polled(desk):
    gate = Gate()
    at = desk(house_with(text("Nzu"), gate, *answer("ri.", prompt=12, output=4)))
    queued = told(await at.make(background=True))
    assert (queued["status"], queued["background"], queued["output"]) == ("queued", True, [])
    await gate.reached.wait()
    polled = told(await at.ask("GET", queued["id"]))
    assert polled["status"] == "in_progress"
    assert polled["output"][0]["content"][0]["text"] == "Nzu"
    gate.open()
    await at.house.inference.drain(5)
    done = told(await at.ask("GET", queued["id"]))
    assert (done["status"], done["usage"]["total_tokens"]) == ("completed", 16)
    assert done["output"][0]["content"][0]["text"] == "Nzuri."


async def test_a_background_stream_tells_its_id_at_once(desk):
    gate = Gate()
    at = desk(house_with(gate, *answer("Nzuri.")))
    client, task = at.start(background=True, stream=True)
    await gate.reached.wait()
    await client.until_body_has(b"response.in_progress")
    begun = events_of(client)
    assert [event.name for event in begun] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]
    assert json.loads(begun[0].data)["response"]["id"].startswith("resp_")
    gate.open()
    await task
    numbers = [json.loads(event.data)["sequence_number"] for event in events_of(client)]
    assert numbers == list(range(len(numbers)))


async def test_a_background_stream_outlives_its_client_and_is_read_again_from_any_event(desk):
    gate = Gate()
    at = desk(house_with(text("Nzu"), gate, *answer("ri.")))
    client, task = at.start(background=True, stream=True)
    await gate.reached.wait()
    await client.until_body_has(b"Nzu")
    client.disconnect()
    await task
    begun = events_of(client)
    response_id = json.loads(begun[0].data)["response"]["id"]

    follower = Client()
    query = f"stream=true&starting_after={len(begun) - 1}"
    exchange = follower.exchange("GET", f"{PATH}/{response_id}", at.headers, query=query)
    gate.open()
    await at.front.app(exchange)
    rest = events_of(follower)
    assert json.loads(rest[0].data)["sequence_number"] == len(begun)
    assert rest[-1].name == "response.completed"

    whole = events_of(await at.ask("GET", response_id, "stream=true"))
    assert whole == begun + rest
    later = await at.ask("GET", response_id, f"stream=true&starting_after={len(whole) - 2}")
    assert events_of(later) == whole[-1:]
    assert later.ended


@pytest.mark.parametrize("query", ["stream=true&starting_after=99", "stream=maybe"])
async def test_a_place_that_is_none(desk, query):
    at = desk(house_with(*answer("Nzuri.")))
    client = await at.make(background=True, stream=True)
    response_id = json.loads(events_of(client)[0].data)["response"]["id"]
    status, param, _ = error_of(await at.ask("GET", response_id, query))
    assert (status, param) == (400, query.split("=")[0] if "maybe" in query else "starting_after")


async def test_only_what_streams_in_the_background_is_streamed_again(desk):
    at = desk(house_with(*answer("Nzuri.")))
    made = told(await at.make())
    assert error_of(await at.ask("GET", made["id"], "stream=true"))[:2] == (400, "stream")


async def test_what_is_cancelled_is_charged_as_far_as_it_came(desk):
    gate = Gate()
    at = desk(house_with(text("Nzu"), gate, *answer("ri.")))
    queued = told(await at.make(background=True))
    await gate.reached.wait()
    cancelled = await at.ask("POST", f"{queued['id']}/cancel")
    assert told(cancelled)["status"] == "cancelled"
    assert told(await at.ask("GET", queued["id"]))["status"] == "cancelled"
    wallet = at.house.books.wallet()
    assert 0 < 1_000_000 - wallet.balance < 100
    assert wallet.held == 0


async def test_only_what_runs_in_the_background_is_cancelled(desk):
    at = desk(house_with(*answer("Nzuri.")))
    made = told(await at.make())
    assert error_of(await at.ask("POST", f"{made['id']}/cancel"))[0] == 400
    assert error_of(await at.ask("POST", "resp_none/cancel"))[0] == 404


async def test_background_needs_a_store(desk):
    client = await desk(SmallHouse()).make(background=True, store=False)
    assert error_of(client)[:2] == (400, "background")


async def test_who_cannot_pay_is_told_and_nothing_is_kept(desk):
    at = desk(SmallHouse(balance=0))
    client = await at.make(background=True)
    assert error_of(client)[0] == 402
    assert not at.front.stored.kept


# -- made shorter ---------------------------------------------------------------------------------


class Narrow(ScriptedUpstream):
    """Finds as many tokens in a prompt as it has messages, times a thousand."""

    async def count_input(self, request, model):
        return 1000 * len(request.messages)


LONG = [
    {"role": "user", "content": "x" * 9000 + str(number)}
    if number % 2 == 0
    else {"role": "assistant", "content": "y" * 9000}
    for number in range(13)
]


async def test_what_is_too_long_loses_its_oldest_items_if_that_is_allowed(desk):
    upstream = Narrow(Script(*answer("Nzuri.")))
    at = desk(SmallHouse(upstream))
    client = await at.make(input=LONG)
    assert error_of(client)[:2] == (400, "input")
    client = await at.make(input=LONG, truncation="auto", instructions="Be brief.")
    assert told(client)["status"] == "completed"
    assert told(client)["truncation"] == "auto"
    assert "x-bandari-ignored" not in client.headers
    turns = upstream.calls[0].request.messages
    assert turns[0].parts[0].text == "Be brief."
    assert turns[1].role == "user"
    assert turns[-1].parts[0].text == LONG[-1]["content"]
    assert 2 < len(turns) <= 8
    assert at.house.books.wallet().held == 0


async def test_what_is_too_long_by_itself_is_refused(desk):
    at = desk(SmallHouse(ScriptedUpstream(Script(*answer("a")), input_tokens=9000)))
    client = await at.make(input="x" * 9000, truncation="auto")
    assert error_of(client)[:2] == (400, "input")
    assert at.house.books.wallet().free == 1_000_000


async def test_a_conversation_is_compacted_and_goes_on_from_its_summary(desk):
    upstream = ScriptedUpstream(
        Script(*answer("Nzuri.")),
        Script(*answer("They greeted.", prompt=12, output=4)),
        Script(*answer("Ndiyo.")),
    )
    at = desk(SmallHouse(upstream))
    first = told(await at.make())
    client, task = at.start(f"{PATH}/compact", previous_response_id=first["id"], input="Hm?")
    await task
    compacted = told(client)
    assert compacted["object"] == "response.compaction"
    assert compacted["usage"]["total_tokens"] == 16
    assert "x-bandari-receipt" in client.headers
    asked = upstream.calls[1].request.messages
    assert [turn.role for turn in asked] == ["user", "assistant", "user", "user"]
    assert "summary" in asked[-1].parts[0].text
    await at.make(input=[*compacted["output"], {"role": "user", "content": "Kweli?"}])
    went_on = upstream.calls[2].request.messages
    assert "They greeted." in went_on[0].parts[0].text
    assert went_on[1].parts[0].text == "Kweli?"


# -- items that are stored ------------------------------------------------------------------------


async def test_stored_items_are_referred_to_by_their_ids(desk):
    upstream = ScriptedUpstream(Script(*answer("Nzuri.")), Script(*answer("Ndiyo.")))
    at = desk(SmallHouse(upstream))
    first = told(await at.make())
    listed = told(await at.ask("GET", f"{first['id']}/input_items"))["data"]
    items = [
        {"type": "item_reference", "id": listed[0]["id"]},
        {"id": first["output"][0]["id"]},
        {"role": "user", "content": "Kweli?"},
    ]
    client = await at.make(input=items)
    assert told(client)["status"] == "completed"
    turns = upstream.calls[1].request.messages
    assert [(turn.role, turn.parts[0].text) for turn in turns] == [
        ("user", "Habari?"),
        ("assistant", "Nzuri."),
        ("user", "Kweli?"),
    ]
    kept = told(await at.ask("GET", f"{told(client)['id']}/input_items", "order=asc"))
    assert [item["type"] for item in kept["data"]] == ["message"] * 3


@pytest.mark.parametrize("name", ["msg_1", "msg_none_0", "../x", "msg_" + "a" * 200 + "_0"])
async def test_a_reference_to_what_is_not_there(desk, name):
    client = await desk(SmallHouse()).make(input=[{"type": "item_reference", "id": name}])
    status, param, message = error_of(client)
    assert (status, param) == (400, "input[0].id")
    assert name in message


@pytest.mark.parametrize("was_charged", [True, False])
async def test_what_a_server_that_died_left_says_that_it_failed(desk, was_charged):
    gate = Gate()
    at = desk(house_with(text("Nzu"), gate, *answer("ri.")))
    client, task = at.start(background=True, stream=True)
    await gate.reached.wait()
    await client.until_body_has(b"Nzu")
    response_id = json.loads(events_of(client)[0].data)["response"]["id"]
    survivor, house = at.front.another_server(), at.front.house
    if was_charged:
        await house.inference.write_counts(house.books.count)
    at.front.stored.dead_epochs.add(1)
    assert await at.front.stored.fail_dead(10) == 1
    house.books.epoch_died(1)
    assert await settle_dead_holds(house.books, house.clock) == 1
    assert await house.books.recordings.end_dead(10) == 1
    headers = at.headers
    found = told(await request(survivor, "GET", f"{PATH}/{response_id}", headers=headers))
    assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
    assert "ended before it was finished" in found["error"]["message"]
    again = await request(
        survivor, "GET", f"{PATH}/{response_id}", headers=headers, query="stream=true"
    )
    *before, last = events_of(again)
    if was_charged:
        assert [event.data for event in before] == [event.data for event in events_of(client)]
        assert (last.name, json.loads(last.data)["code"]) == ("error", "interrupted")
        assert json.loads(last.data)["sequence_number"] == len(before)
    else:
        assert not before
        assert (last.name, json.loads(last.data)["response"]) == ("response.failed", found)
    gate.open()
    await task


@pytest.mark.parametrize(("bound", "least"), [("MAX_CHAIN_LINKS", 1), ("MAX_CHAIN_BYTES", 10)])
async def test_a_request_may_refer_to_so_much_and_no_more(desk, monkeypatch, bound, least):
    at = desk(house_with(*answer("Nzuri.")))
    ids = [told(await at.make())["output"][0]["id"] for _ in range(2)]
    items = [{"type": "item_reference", "id": name} for name in ids]
    assert told(await at.make(input=items))["status"] == "completed"
    monkeypatch.setattr(f"bandari.web.responses.{bound}", least)
    status, param, message = error_of(await at.make(input=items))
    assert (status, param) == (400, "input")
    assert "refers to too much" in message
