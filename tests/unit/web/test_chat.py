"""``POST /v1/chat/completions`` over a scripted upstream and books in memory."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.support.client import Client
from tests.support.gates import Gate, until_idle
from tests.support.scripted_upstream import (
    Script,
    ScriptedUpstream,
    answer,
    counted,
    finish,
    text,
    usage,
)
from tests.support.small_house import SmallHouse

from bandari.domain.faults import (
    ContextLengthExceeded,
    StoreUnavailable,
    UpstreamInterrupted,
    UpstreamOverloaded,
)
from bandari.domain.ledger import Ending


def house_with(*steps, balance: int = 1_000_000, **options) -> SmallHouse:
    return SmallHouse(ScriptedUpstream(Script(*steps), **options), balance=balance)


def frames_of(client: Client) -> list:
    """The SSE events in order: objects, ``[DONE]``, and comments as they are."""
    frames = client.body.decode().split("\n\n")
    assert frames.pop() == ""
    return [
        json.loads(frame[6:]) if frame.startswith("data: {") else frame.removeprefix("data: ")
        for frame in frames
    ]


def error_of(client: Client) -> dict:
    return json.loads(client.body)["error"]


def receipt_of(house: SmallHouse, client: Client):
    return house.books.receipts.get(client.headers["x-bandari-receipt"])


# -- streams ---------------------------------------------------------------------------------------


async def test_a_stream_byte_by_byte(front):
    house = house_with(text("Habari "), text("njema 🦁"), finish(), usage(12, 4))
    client = await front(house).chat(stream=True, stream_options={"include_usage": True})
    assert client.status == 200
    identity = client.headers["x-bandari-receipt"].replace("rcpt_", "chatcmpl-")
    head = (
        f'data: {{"id":"{identity}","object":"chat.completion.chunk","created":1700000000,'
        '"model":"bandari-1","choices":['
    )

    def chunk(delta: str, reason: str = "null") -> str:
        return (
            f'{head}{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}],'
            '"usage":null}\n\n'
        )

    assert client.body.decode() == (
        chunk('{"role":"assistant","content":""}')
        + chunk('{"content":"Habari "}')
        + chunk('{"content":"njema 🦁"}')
        + chunk("{}", '"stop"')
        + head
        + '],"usage":{"prompt_tokens":12,"completion_tokens":4,"total_tokens":16,'
        '"prompt_tokens_details":{"cached_tokens":0},'
        '"completion_tokens_details":{"reasoning_tokens":0}}}\n\n'
        "data: [DONE]\n\n"
    )
    assert client.ended


async def test_the_headers_of_a_stream(front):
    house = house_with(*answer("Hi"), ignored=("top_a", "weird\nname"))
    client = await front(house).chat(stream=True)
    headers = client.headers
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert headers["x-request-id"] == "req_made"
    assert headers["x-bandari-receipt"].startswith("rcpt_")
    assert headers["x-bandari-stream"].startswith("str_")
    assert headers["x-bandari-ignored"] == "top_a, weird?name"
    assert "content-length" not in headers
    assert "x-bandari-max-tokens" not in headers
    assert "x-ratelimit-limit-requests" not in headers


async def test_the_receipt_in_the_header_is_final_when_the_stream_has_ended(front):
    house = house_with(*answer("Hi", prompt=12, output=4))
    client = await front(house).chat(stream=True)
    assert receipt_of(house, client).amount == 16


async def test_an_answer_shortened_by_the_balance_says_so(front):
    house = house_with(*answer("Hi"), balance=250)
    client = await front(house).chat(stream=True, max_tokens=4000)
    announced = int(client.headers["x-bandari-max-tokens"])
    assert 0 < announced < 250
    assert house.upstreams["acme"].calls[0].request.sampling.max_tokens == announced


async def test_the_end_is_held_back_until_the_charge_is_durable(front):
    house = house_with(*answer("Hi"))
    post = house.books.held_up("post")
    client, task = front(house).start(stream=True, stream_options={"include_usage": True})
    await post.reached.wait()
    await until_idle()
    assert b'"finish_reason":"stop"' in client.body
    assert b"total_tokens" not in client.body
    assert b"[DONE]" not in client.body
    post.open()
    await task
    assert client.body.endswith(b"data: [DONE]\n\n")


async def test_a_stream_that_cannot_be_charged_ends_as_an_error(front):
    house = house_with(*answer("Hi"))
    house.books.failing["post"] = [StoreUnavailable()]
    client = await front(house).chat(stream=True)
    assert client.status == 200
    assert frames_of(client)[-1]["error"]["code"] == "store_unavailable"
    assert b"[DONE]" not in client.body
    assert not client.ended


# -- the status ------------------------------------------------------------------------------------


async def test_the_status_is_withheld_until_the_first_event(front):
    gate, later = Gate(), Gate()
    house = house_with(gate, text("Hi"), later, finish(), usage(9, 1))
    client, task = front(house).start(stream=True)
    await gate.reached.wait()
    await until_idle()
    assert not client.began
    gate.open()
    await client.until_body_has(b'"Hi"')
    assert client.status == 200
    later.open()
    await task


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (UpstreamOverloaded(retry_after_ms=1500), 503, "upstream_overloaded"),
        (ContextLengthExceeded(), 400, "context_length_exceeded"),
        (ZeroDivisionError(), 500, "internal_error"),
    ],
)
async def test_what_fails_before_the_first_event_is_told_by_the_status(
    front, stream, fault, status, code
):
    house = SmallHouse(ScriptedUpstream(Script(entering=[fault])))
    made = front(house)
    client = await made.chat(stream=stream)
    assert (client.status, error_of(client)["code"]) == (status, code)
    assert client.headers["content-type"] == "application/json"
    assert client.ended
    assert made.metrics.of("problem_told")[0][0] == code
    assert house.books.wallet().free == 1_000_000
    assert client.headers.get("retry-after-ms") == ("1500" if status == 503 else None)


async def test_a_status_that_can_wait_no_longer_is_200_and_a_keepalive(front):
    gate = Gate()
    house = house_with(gate, *answer("Hi"))
    client, task = front(house, first_status_timeout_ms=10).start(stream=True)
    await client.until_body_has(b": ping\n\n")
    assert client.status == 200
    gate.open()
    await task
    assert frames_of(client)[0] == ": ping"
    assert frames_of(client)[-1] == "[DONE]"


async def test_a_failure_after_that_is_told_in_the_stream(front):
    gate = Gate()
    house = house_with(gate, UpstreamOverloaded())
    made = front(house, first_status_timeout_ms=10)
    client, task = made.start(stream=True)
    await client.until_body_has(b": ping\n\n")
    gate.open()
    await task
    assert frames_of(client)[-1]["error"]["code"] == "upstream_overloaded"
    assert not client.ended
    assert made.metrics.of("problem_told") == [("upstream_overloaded", "upstream")]


async def test_a_silent_stream_is_kept_alive(front):
    gate = Gate()
    house = house_with(text("Hi"), gate, finish(), usage(9, 1))
    client, task = front(house, keepalive_ms=10).start(stream=True)
    await client.until_body_has(b": ping\n\n: ping\n\n")
    gate.open()
    await task
    frames = frames_of(client)
    assert [frame for frame in frames if frame != ": ping"][-1] == "[DONE]"
    assert client.ended


async def test_a_failure_in_the_middle_is_an_event_and_a_body_without_its_end(front):
    house = house_with(text("Hi"), counted(3), UpstreamInterrupted())
    made = front(house)
    client = await made.chat(stream=True)
    frames = frames_of(client)
    assert frames[-1] == {
        "error": {
            "message": "The model's provider broke the answer off before its end.",
            "type": "server_error",
            "param": None,
            "code": "upstream_interrupted",
        }
    }
    assert "[DONE]" not in frames
    assert (client.status, client.ended) == (200, False)
    assert receipt_of(house, client).ending is Ending.UPSTREAM_FAILED
    assert made.metrics.of("problem_told") == [("upstream_interrupted", "upstream")]


# -- whole answers ---------------------------------------------------------------------------------


async def test_a_whole_answer(front):
    house = house_with(text("Habari"), finish(), usage(12, 4))
    client = await front(house).chat()
    assert client.status == 200
    assert client.headers["content-type"] == "application/json"
    assert client.headers["content-length"] == str(len(client.body))
    body = json.loads(client.body)
    assert body["object"] == "chat.completion"
    assert body["choices"][0]["message"]["content"] == "Habari"
    assert body["usage"]["total_tokens"] == receipt_of(house, client).amount == 16


async def test_a_whole_answer_that_is_lost_is_a_status_and_free(front):
    house = house_with(text("Hi"), counted(3), UpstreamInterrupted())
    client = await front(house).chat()
    assert (client.status, error_of(client)["code"]) == (502, "upstream_interrupted")
    assert client.ended
    assert house.books.wallet().free == 1_000_000


async def test_several_choices(front):
    house = house_with(*answer("Hi"), max_choices=1)
    client = await front(house).chat(n=3)
    assert [choice["index"] for choice in json.loads(client.body)["choices"]] == [0, 1, 2]


# -- the client leaves -----------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_the_generation(front, stream):
    gate = Gate()
    house = house_with(text("Hi"), counted(3, prompt=9), gate, *answer("there"))
    client, task = front(house).start(stream=stream)
    await gate.reached.wait()
    client.disconnect()
    await task
    assert house.upstreams["acme"].calls[0].left.is_set()
    (receipt,) = house.books.receipts.values()
    assert (receipt.ending, receipt.amount) == (Ending.CLIENT_LEFT, 12)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_before_the_first_event_pays_nothing(front, stream):
    gate = Gate()
    house = house_with(gate, *answer("Hi"))
    client, task = front(house).start(stream=stream)
    await gate.reached.wait()
    client.disconnect()
    await task
    assert house.books.wallet().free == 1_000_000
    assert not house.books.receipts


async def test_a_client_that_leaves_while_its_hold_is_placed_is_noticed_then(front):
    house = house_with(Gate())
    place = house.books.held_up("place")
    client, task = front(house).start(stream=True)
    await place.reached.wait()
    client.disconnect()
    place.open()
    await task
    assert house.books.wallet().held == 0


async def test_a_client_that_stops_reading_holds_up_nobody_but_itself(front):
    house = house_with(*answer("Hi"))
    client, task = front(house).start(stream=True)
    client.not_reading = Gate()
    await client.not_reading.reached.wait()
    await until_idle()
    (receipt,) = house.books.receipts.values()
    assert receipt.ending is Ending.COMPLETED  # generated and charged, though nobody reads
    client.not_reading.open()
    await task
    assert frames_of(client)[-1] == "[DONE]"


async def test_nothing_is_left_running(front):
    before = asyncio.all_tasks()
    await front(house_with(*answer("Hi"))).chat(stream=True)
    await front(house_with(*answer("Hi"))).chat()
    await until_idle()
    assert asyncio.all_tasks() == before


# -- refusals --------------------------------------------------------------------------------------


async def test_without_a_key(front):
    house = house_with(*answer("Hi"))
    client = await front(house).chat(key=None)
    assert (client.status, error_of(client)["code"]) == (401, "missing_api_key")
    assert not house.upstreams["acme"].calls


async def test_without_money(front):
    house = house_with(*answer("Hi"), balance=5)
    client = await front(house).chat(stream=True)
    assert (client.status, error_of(client)["code"]) == (402, "insufficient_balance")
    assert error_of(client)["type"] == "insufficient_quota"
    assert client.headers["x-should-retry"] == "false"
    assert "x-bandari-receipt" not in client.headers


async def test_rate_limits_are_announced_and_kept(front):
    made = front(house_with(*answer("Hi")), rate=2)
    first, second, third = [await made.chat() for _ in range(3)]
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"] == "30s"
    assert second.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.status == 429
    assert error_of(third)["code"] == "rate_limit_exceeded"
    assert third.headers["x-ratelimit-remaining-requests"] == "0"
    assert third.headers["retry-after-ms"] == "30000"
    assert third.headers["retry-after"] == "30"
    assert third.headers["x-should-retry"] == "true"
    assert len(made.house.upstreams["acme"].calls) == 2


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"model": None}, "missing_required_parameter", "model"),
        ({"temperature": 9}, "invalid_value", "temperature"),
        ({"n_predict": 5}, "unsupported_parameter", "n_predict"),
    ],
)
async def test_a_request_that_is_wrong_names_its_field(front, fields, code, param):
    client = await front(house_with(*answer("Hi"))).chat(**fields)
    assert client.status == 400
    assert (error_of(client)["code"], error_of(client)["param"]) == (code, param)


async def test_a_body_that_is_too_large(front):
    client = await front(house_with(*answer("Hi")), max_body_bytes=50).chat()
    assert (client.status, error_of(client)["code"]) == (413, "request_too_large")


async def test_a_server_that_drains(front):
    house = house_with(*answer("Hi"))
    await house.inference.drain(0)
    client = await front(house).chat()
    assert (client.status, error_of(client)["code"]) == (503, "draining")
