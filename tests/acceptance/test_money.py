"""``usage.total_tokens`` is the integer deducted from a token wallet, for every kind of answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from tests.acceptance.test_parameters import LONG, SCHEMA, WEATHER
from tests.support.chat import MODEL, PATH, Stream, ask, refused, stream, user
from tests.support.server import Bandari, wait_until

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "again, from the prompt cache": {},
    "length": {"max_tokens": 5},
    "stop sequence": {"stop": ["a"]},
    "several choices": {"n": 3, "max_tokens": 9, "temperature": 1},
    "more choices than slots": {"n": 9, "max_tokens": 4},
    "logprobs": {"logprobs": True, "top_logprobs": 3, "max_tokens": 8},
    "tool call": {
        "messages": user("What is the weather in Nairobi?"),
        "tools": [WEATHER],
        "max_tokens": 100,
    },
    "forced tool call": {"tools": [WEATHER], "tool_choice": "required", "max_tokens": 200},
    "logprobs with tools": {"tools": [WEATHER], "logprobs": True, "max_tokens": 30},
    "json": {"response_format": {"type": "json_object"}, "max_tokens": 60},
    "schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "person", "schema": SCHEMA},
        },
        "max_tokens": 200,
    },
    "conversation": {
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            *user("Hi"),
            {"role": "assistant", "content": "Hello!"},
            *user("What is the capital of France?"),
        ]
    },
    "all of the window that is left": {"messages": user("Hi"), "max_tokens": 100_000},
}


@pytest.mark.parametrize("streaming", ["whole", "streamed", "streamed without usage"])
@pytest.mark.parametrize("kind", KINDS)
def test_total_tokens_is_what_is_deducted(
    bandari: Bandari, client: httpx.Client, kind: str, streaming: str
) -> None:
    before, _ = bandari.wallet("plenty")
    if streaming == "whole":
        response = client.post(
            PATH, json={"model": MODEL, "messages": user(LONG), "temperature": 0} | KINDS[kind]
        )
        assert response.status_code == 200, response.text
        total, headers = response.json()["usage"]["total_tokens"], response.headers
    else:
        options = {"stream_options": {"include_usage": True}} if streaming == "streamed" else {}
        streamed, headers = stream(client, LONG, **KINDS[kind], **options)
        assert streamed.data[-1] == "[DONE]"
        total = streamed.usage["total_tokens"] if streamed.usage else None
    after, held = bandari.wallet("plenty")
    receipt = bandari.receipt(headers["x-bandari-receipt"])
    assert held == 0
    assert receipt["amount"] == before - after
    assert receipt["rule"] == "reported"
    assert receipt["ending"] == "completed"
    assert receipt["balance_after"] == after
    assert before - after == receipt["input_tokens"] + receipt["output_tokens"]
    if total is not None:
        assert total == before - after


def poor(bandari: Bandari, name: str, tokens: int) -> Iterator[httpx.Client]:
    with bandari.client(bandari.new_key(name, tokens)) as client:
        yield client


def test_without_balance_nothing_is_answered(bandari: Bandari) -> None:
    for name, tokens in (("penniless", 0), ("nearly", 1)):
        for client in poor(bandari, name, tokens):
            response = client.post(PATH, json={"model": MODEL, "messages": user("Hi")})
            assert response.status_code == 402
            assert response.json()["error"]["code"] == "insufficient_balance"
            assert response.headers["x-should-retry"] == "false"
    assert bandari.wallet("nearly") == (1, 0)


def test_a_small_balance_shortens_the_answer(bandari: Bandari) -> None:
    for client in poor(bandari, "small", 50):
        prompt = ask(client, LONG, max_tokens=1)["usage"]["prompt_tokens"]
        left, _ = bandari.wallet("small")
        response = client.post(
            PATH, json={"model": MODEL, "messages": user(LONG), "max_tokens": 500}
        )
        answer = response.json()
        covered = left - prompt
        assert response.headers["x-bandari-max-tokens"] == str(covered)
        assert answer["choices"][0]["finish_reason"] == "length"
        assert answer["usage"]["completion_tokens"] == covered
        assert bandari.wallet("small") == (0, 0)


def test_a_shortened_answer_is_divided_by_n(bandari: Bandari) -> None:
    for client in poor(bandari, "divided", 100):
        body = {"model": MODEL, "messages": user(LONG), "max_tokens": 500, "n": 3}
        response = client.post(PATH, json=body)
        each = int(response.headers["x-bandari-max-tokens"])
        usage = response.json()["usage"]
        assert each == (100 - usage["prompt_tokens"]) // 3
        assert usage["completion_tokens"] <= 3 * each
        assert bandari.wallet("divided") == (100 - usage["total_tokens"], 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [WEATHER], "tool_choice": "required"},
        {"response_format": KINDS["schema"]["response_format"]},
    ],
    ids=["forced call", "schema"],
)
def test_where_half_an_answer_is_useless_it_is_refused(
    bandari: Bandari, fields: dict[str, Any]
) -> None:
    name = "structured-" + next(iter(fields))
    for client in poor(bandari, name, 300):
        status, error = refused(client, max_tokens=1000, **fields)
        assert status == 402
        assert error["code"] == "insufficient_balance"
        assert bandari.wallet(name) == (300, 0)


def test_without_a_limit_the_answer_ends_where_the_wallet_does(bandari: Bandari) -> None:
    for client in poor(bandari, "unlimited", 60):
        streamed, headers = stream(client, LONG, stream_options={"include_usage": True})
        assert headers["x-bandari-max-tokens"]
        assert streamed.finish() == "length"
        assert streamed.usage is not None
        assert streamed.usage["total_tokens"] == 60
        assert bandari.wallet("unlimited") == (0, 0)


def test_a_limit_beyond_the_window_is_capped_and_says_so(client: httpx.Client) -> None:
    response = client.post(
        PATH, json={"model": MODEL, "messages": user("Hi"), "max_tokens": 2**53 - 1}
    )
    prompt = response.json()["usage"]["prompt_tokens"]
    assert response.headers["x-bandari-max-tokens"] == str(8192 - prompt)


def test_a_client_that_leaves_pays_for_what_was_generated(
    bandari: Bandari, client: httpx.Client
) -> None:
    before, _ = bandari.wallet("plenty")
    body = {"model": MODEL, "messages": user(LONG), "stream": True, "temperature": 2}
    seen = 0
    with client.stream("POST", PATH, json=body) as response:
        receipt_id = response.headers["x-bandari-receipt"]
        for line in response.iter_lines():
            seen += line.startswith("data: ")
            if seen == 10:
                break
    wait_until(lambda: bandari.wallet("plenty")[1] == 0, what="the end of the hold")
    receipt = bandari.receipt(receipt_id)
    assert receipt["ending"] in ("client_left", "completed")
    assert receipt["output_tokens"] >= 8
    assert before - bandari.wallet("plenty")[0] == receipt["amount"]
    assert receipt["amount"] == (receipt["input_tokens"] + receipt["output_tokens"])


def test_streams_of_one_account_side_by_side_add_up(bandari: Bandari, client: httpx.Client) -> None:
    before, _ = bandari.wallet("plenty")
    total = 0
    for _ in range(5):
        response = client.post(
            PATH,
            json={
                "model": MODEL,
                "messages": user(LONG),
                "stream": True,
                "stream_options": {"include_usage": True},
                "max_tokens": 30,
            },
        )
        usage = Stream(response.text).usage
        assert usage is not None
        total += usage["total_tokens"]
    assert before - bandari.wallet("plenty")[0] == total
