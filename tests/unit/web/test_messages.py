"""Messages' endpoints: two protocols at one URL, each with its own answers and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.client import Client, request, start
from tests.support.gates import Gate
from tests.support.samples import a_model
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, text
from tests.support.small_house import SmallHouse

from bandari.domain.bounds import Bounds
from bandari.domain.faults import UnsupportedField, UpstreamInterrupted
from bandari.wire.sse import SseDecoder

ANTHROPIC = ("anthropic-version", "2023-06-01")
PATHS = ("/v1/messages", "/api/v1/llm/messages")
BODY = {"model": "bandari-1", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}


def house_with(*steps, **options) -> SmallHouse:
    return SmallHouse(ScriptedUpstream(Script(*steps)), **options)


def asking(front, house, path: str, *headers: tuple[str, str], key: str, **fields: Any):
    body = json.dumps({name: v for name, v in (BODY | fields).items() if v is not None})
    client = Client(body.encode())
    app = front(house, keepalive_ms=10).app
    return client, start(app, client, "POST", path, (("x-api-key", key), *headers))


async def ask(front, house, path: str, *headers: tuple[str, str], key: str, **fields: Any):
    client, task = asking(front, house, path, *headers, key=key, **fields)
    await task
    return client


# -- whose protocol -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_anthropics_clients_are_answered_in_their_protocol(front, key, path):
    house = house_with(*answer("Jambo", prompt=12, output=4))
    client = await ask(front, house, path, ANTHROPIC, key=key)
    told = json.loads(client.body)
    assert (told["type"], told["content"]) == ("message", [{"type": "text", "text": "Jambo"}])
    assert told["id"].startswith("msg_")
    assert (told["usage"]["input_tokens"], told["usage"]["output_tokens"]) == (12, 4)
    assert client.headers["request-id"] == client.headers["x-request-id"] == "req_made"
    assert "x-bandari-receipt" in client.headers


@pytest.mark.parametrize("path", PATHS)
async def test_others_are_answered_with_chat_completions(front, key, path):
    house = house_with(*answer("I am Alex."))
    client = await ask(front, house, path, key=key, system="You are Alex.", max_tokens=None)
    told = json.loads(client.body)
    assert told["object"] == "chat.completion"
    assert told["choices"][0]["message"]["content"] == "I am Alex."
    asked = house.upstreams["acme"].calls[0].request
    assert [(turn.role, turn.parts[0].text) for turn in asked.messages] == [
        ("system", "You are Alex."),
        ("user", "Hi"),
    ]


async def test_their_streams_too(front, key):
    client = await ask(front, house_with(*answer("Hi")), PATHS[0], key=key, stream=True)
    events = SseDecoder().feed(client.body)
    assert events[-1].data == b"[DONE]"
    assert json.loads(events[0].data)["object"] == "chat.completion.chunk"


async def test_anthropics_stream_has_its_grammar(front, key):
    house = house_with(text("Ka"), *answer("ribu", prompt=12, output=4))
    client = await ask(front, house, PATHS[0], ANTHROPIC, key=key, stream=True)
    events = SseDecoder().feed(client.body)
    assert all(event.name == json.loads(event.data)["type"] for event in events)
    assert [event.name for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_silent_stream_pings(front, key):
    gate = Gate()
    house = house_with(text("a"), gate, *answer("b"))
    client, task = asking(front, house, PATHS[0], ANTHROPIC, key=key, stream=True)
    await gate.reached.wait()
    await client.until_body_has(b'event: ping\ndata: {"type": "ping"}\n\n')
    gate.open()
    await task
    assert SseDecoder().feed(client.body)[-1].name == "message_stop"


# -- errors ---------------------------------------------------------------------------------------


def anthropics_error(client) -> tuple[int, str, str]:
    told = json.loads(client.body)
    assert told["type"] == "error"
    assert told["request_id"] == "req_made"
    assert "x-bandari-receipt" not in client.headers
    return client.status, told["error"]["type"], told["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"max_tokens": None}, (400, "invalid_request_error", "'max_tokens' is required")),
        ({"model": "none"}, (404, "not_found_error", "The model 'none' does not exist")),
        ({"stop_sequences": ["a"] * 5}, (400, "invalid_request_error", "'stop_sequences' may")),
        ({"temperature": 1.5}, (400, "invalid_request_error", "'temperature' must be between")),
    ],
)
async def test_anthropics_errors_name_the_field_as_its_clients_do(front, key, fields, told):
    house = SmallHouse(model=a_model(bounds=Bounds(temperature=(0, 1))))
    client = await ask(front, house, PATHS[0], ANTHROPIC, key=key, **fields)
    status, kind, message = anthropics_error(client)
    assert (status, kind) == told[:2]
    assert message.startswith(told[2])


async def test_who_is_not_let_in_is_told_so_in_the_protocol(front, key):
    client = await ask(front, SmallHouse(), PATHS[0], ANTHROPIC, key=key + "x")
    assert anthropics_error(client)[:2] == (401, "authentication_error")
    client = await ask(front, SmallHouse(balance=0), PATHS[0], ANTHROPIC, key=key)
    assert anthropics_error(client)[:2] == (402, "billing_error")
    assert client.headers["x-should-retry"] == "false"


async def test_what_an_upstream_has_no_words_for_is_named_as_the_client_wrote_it(front, key):
    lost = UnsupportedField("'stop' cannot be carried to this model's provider.", param="stop")
    house = SmallHouse(ScriptedUpstream(Script(entering=[lost])))
    client = await ask(front, house, PATHS[0], ANTHROPIC, key=key, stream=True)
    status, kind, message = anthropics_error(client)
    assert (status, kind) == (400, "invalid_request_error")
    assert message == "'stop_sequences' cannot be carried to this model's provider."


async def test_a_failure_in_the_stream_is_an_event(front, key):
    house = house_with(text("a"), UpstreamInterrupted())
    client = await ask(front, house, PATHS[0], ANTHROPIC, key=key, stream=True)
    last = SseDecoder().feed(client.body)[-1]
    assert last.name == "error"
    assert json.loads(last.data)["error"]["type"] == "api_error"
    assert not client.ended


async def test_without_the_header_errors_are_openais(front, key):
    client = await ask(front, SmallHouse(), PATHS[0], key=key, temperature=9)
    assert client.status == 400
    assert json.loads(client.body)["error"]["param"] == "temperature"
    assert "request-id" not in client.headers


async def test_ignored_fields_have_the_clients_names(front, key):
    upstream = ScriptedUpstream(Script(*answer("a")), ignored=("reasoning_effort", "seed"))
    client = await ask(front, SmallHouse(upstream), PATHS[0], ANTHROPIC, key=key)
    assert client.headers["x-bandari-ignored"] == "output_config.effort, seed"


# -- counting tokens ------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
async def test_tokens_are_counted_and_nothing_is_charged(front, key, path):
    house = SmallHouse(ScriptedUpstream(input_tokens=37))
    fields = {"max_tokens": None}
    client = await ask(front, house, f"{path}/count_tokens", ANTHROPIC, key=key, **fields)
    assert json.loads(client.body) == {"input_tokens": 37}
    assert house.books.wallet().balance == house.books.wallet().free == 1_000_000
    assert "x-bandari-receipt" not in client.headers


async def test_counting_takes_a_key_and_a_model(front, key):
    path = f"{PATHS[0]}/count_tokens"
    client = await ask(front, SmallHouse(), path, key="no")
    assert anthropics_error(client)[:2] == (401, "authentication_error")
    client = await ask(front, SmallHouse(), path, key=key, model="none")
    assert anthropics_error(client)[:2] == (404, "not_found_error")


# -- models ---------------------------------------------------------------------------------------


async def test_models_in_both_protocols(front, key):
    app, headers = front(SmallHouse()).app, [("x-api-key", key)]
    for path, one in (("/v1/models", False), ("/v1/models/bandari-1", True)):
        openais = json.loads((await request(app, "GET", path, headers=headers)).body)
        theirs = await request(app, "GET", path, headers=[*headers, ANTHROPIC])
        anthropics = json.loads(theirs.body)
        assert theirs.headers["request-id"] == "req_made"
        if not one:
            assert anthropics["has_more"] is False
            openais, anthropics = openais["data"][0], anthropics["data"][0]
        assert (openais["id"], openais["object"]) == ("bandari-1", "model")
        assert (anthropics["id"], anthropics["type"]) == ("bandari-1", "model")


async def test_a_model_that_is_not_there_in_anthropics_protocol(front, key):
    app, headers = front(SmallHouse()).app, [("x-api-key", key), ANTHROPIC]
    client = await request(app, "GET", "/v1/models/none", headers=headers)
    assert anthropics_error(client)[:2] == (404, "not_found_error")
    client = await request(app, "GET", "/v1/models", headers=headers, query="limit=0")
    assert anthropics_error(client)[:2] == (400, "invalid_request_error")
