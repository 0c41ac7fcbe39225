"""The typed stream's endpoint: what differs from Chat Completions on the way through the house."""

from __future__ import annotations

import json
from functools import partial

import pytest
from tests.support.gates import Gate
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, text
from tests.support.small_house import SmallHouse

from bandari.domain.faults import UpstreamInterrupted, UpstreamUnreachable
from bandari.wire.sse import SseDecoder

PATH = "/api/v1/llm/chat/completions/stream"


def house_with(*steps, **options) -> SmallHouse:
    return SmallHouse(ScriptedUpstream(Script(*steps)), **options)


@pytest.fixture
def typed(front):
    return lambda house, **options: partial(front(house, **options).chat, path=PATH)


@pytest.mark.parametrize("stream", [True, False, None])
async def test_the_answer_is_a_stream_whatever_the_body_says(typed, stream):
    client = await typed(house_with(*answer("Hi")))(stream=stream)
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["deprecation"] == "@1793491200"
    assert client.headers["link"] == '</api/v1/llm/responses>; rel="successor-version"'
    assert client.body.startswith(b": \n\nevent: message\nid: 0\ndata: {")
    assert client.body.endswith(b"event: done\ndata: null\n\n")
    assert b"[DONE]" not in client.body
    assert client.ended


async def test_stream_options_are_always_allowed(typed):
    chat = typed(house_with(*answer("Hi", prompt=12, output=4)))
    client = await chat(stream_options={"include_usage": True})
    *_, last, done = SseDecoder().feed(client.body)
    assert done.name == "done"
    assert json.loads(last.data)["usage"]["total_tokens"] == 16


async def test_a_silent_stream_says_an_empty_comment(front):
    gate = Gate()
    house = house_with(text("a"), gate, *answer("b"))
    client, task = front(house, keepalive_ms=10).start(path=PATH)
    await gate.reached.wait()
    await client.until_body_has(b": \n\n: \n\n")
    gate.open()
    await task
    assert b": ping" not in client.body


async def test_a_failure_in_the_stream_is_told_in_its_envelope(typed):
    client = await typed(house_with(text("a"), UpstreamInterrupted()))()
    assert client.status == 200
    last = SseDecoder().feed(client.body)[-1]
    assert (last.name, json.loads(last.data)["code"]) == ("error", "BAD_GATEWAY")
    assert not client.ended


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"key": None}, 401, "UNAUTHORIZED"),
        ({"messages": []}, 400, "BAD_REQUEST"),
        ({"model": "none"}, 404, "NOT_FOUND"),
        ({"n": "x"}, 400, "BAD_REQUEST"),
    ],
)
async def test_refusals_and_faults_have_its_envelope(typed, options, status, code):
    client = await typed(house_with(*answer("Hi")))(**options)
    body = json.loads(client.body)
    assert client.status == body["status"] == status
    assert body["code"] == code
    assert body.keys() == {"defined", "code", "status", "message", "data"}


async def test_what_fails_before_the_first_event_has_its_status_and_envelope(typed):
    client = await typed(house_with(UpstreamUnreachable()))()
    assert client.status == 502
    assert json.loads(client.body)["code"] == "BAD_GATEWAY"


async def test_too_many_requests_and_too_little_money_have_its_envelope(typed):
    chat = typed(house_with(*answer("Hi")), rate=1)
    await chat()
    client = await chat()
    assert (client.status, json.loads(client.body)["code"]) == (429, "TOO_MANY_REQUESTS")
    client = await typed(house_with(*answer("Hi"), balance=0))()
    assert (client.status, json.loads(client.body)["code"]) == (402, "PAYMENT_REQUIRED")


# -- on whose behalf -------------------------------------------------------------------------------


async def test_the_end_user_is_on_the_receipt_and_the_header_comes_first(front):
    house = house_with(*answer("Hi"))
    for headers, user, kept in (
        ((), "amina", "amina"),
        ((("x-on-behalf-of", "baraka"),), "amina", "baraka"),
        ((("x-on-behalf-of", ""),), None, None),
    ):
        client = await front(house).chat(headers=headers, user=user)
        receipt = house.books.receipts[client.headers["x-bandari-receipt"]]
        assert receipt.end_user == kept


@pytest.mark.parametrize("name", ["x" * 513, "a\tb", "a\x7fb"])
async def test_an_end_user_that_cannot_be_kept_is_refused_by_name(front, name):
    house = house_with(*answer("Hi"))
    client = await front(house).chat(headers=(("x-on-behalf-of", name),))
    assert client.status == 400
    assert json.loads(client.body)["error"]["param"] == "X-On-Behalf-Of"
    assert not house.upstreams["acme"].calls
