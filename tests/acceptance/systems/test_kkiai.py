"""kkiai, as documented: one Messages route that speaks Anthropic's protocol and OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2 as httpx
import pytest
from tests.support.server import Bandari
from tests.support.systems import curl, system, text_of

PATH = "/v1/messages"
MODEL = "claude-sonnet-4-20250514"
DOCUMENTED: dict[str, Any] = {
    "model": MODEL,
    "system": "You are a helpful AI assistant named Alex.",
    "messages": [{"role": "user", "content": "Who are you?"}],
    "stream": True,
}
WHOLE = DOCUMENTED | {"stream": False}
VERSION = ("-H", "anthropic-version: 2023-06-01")
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


@pytest.fixture(scope="module")
def kkiai(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    with system("kkiai", tmp_path_factory.mktemp("systems")) as server:
        yield server


@pytest.fixture(scope="module")
def key(kkiai: Bandari) -> str:
    return kkiai.new_key("duka", 1_000_000)


@pytest.fixture
def client(kkiai: Bandari, key: str) -> Iterator[httpx.Client]:
    with kkiai.client(key) as client:
        yield client


def documented_headers(key: str) -> tuple[str, ...]:
    return (
        *("-H", f"Authorization: Bearer {key}"),
        *("-H", "Accept: application/json", "-H", "Content-Type: application/json"),
    )


def test_the_documented_request(kkiai: Bandari, key: str) -> None:
    """``Accept: application/json`` is documented with a stream, and changes nothing."""
    answer = curl(kkiai.url + PATH, *documented_headers(key), "-d", json.dumps(DOCUMENTED))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.events[-1] == "data: [DONE]"
    assert {chunk["object"] for chunk in answer.chunks} == {"chat.completion.chunk"}
    assert "Alex" in text_of(answer.chunks)


def test_the_documented_request_not_streamed(kkiai: Bandari, key: str) -> None:
    answer = curl(kkiai.url + PATH, *documented_headers(key), "-d", json.dumps(WHOLE))
    body = answer.body
    assert (answer.status, body["object"], body["model"]) == (200, "chat.completion", MODEL)
    assert "Alex" in body["choices"][0]["message"]["content"]
    usage = body["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert kkiai.receipt(answer.headers["x-bandari-receipt"])["amount"] == usage["total_tokens"]


def test_max_tokens_is_optional_and_counts(client: httpx.Client) -> None:
    body = client.post(PATH, json=WHOLE | {"max_tokens": 2}).json()
    assert body["usage"]["completion_tokens"] == 2
    assert body["choices"][0]["finish_reason"] == "length"


def test_every_documented_parameter_is_accepted(client: httpx.Client) -> None:
    body = WHOLE | {
        "temperature": 0.5,
        "top_p": 0.9,
        "n": 2,
        "stop": ["a", "b", "c", "d"],
        "max_tokens": 5,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "logit_bias": {"5": 1},
        "user": "mteja",
        "response_format": {"type": "text"},
        "seed": 3,
        "tools": [WEATHER],
        "tool_choice": "none",
    }
    answer = client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["choices"]) == 2
    assert "x-bandari-ignored" not in answer.headers


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 2.1),
        ("top_p", 1.1),
        ("presence_penalty", -2.1),
        ("frequency_penalty", 2.1),
        ("stop", list("abcde")),
        ("n", 0),
        ("max_tokens", 0),
    ],
)
def test_bounds(client: httpx.Client, name: str, value: object) -> None:
    answer = client.post(PATH, json=WHOLE | {name: value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


def test_tools_in_openais_form(client: httpx.Client) -> None:
    body = WHOLE | {
        "system": "",
        "messages": [{"role": "user", "content": "What is the weather in Nairobi?"}],
        "tools": [WEATHER],
        "tool_choice": {"type": "function", "function": {"name": "get_weather"}},
    }
    (choice,) = client.post(PATH, json=body).json()["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"]), dict)


def test_errors_in_openais_form(kkiai: Bandari, client: httpx.Client) -> None:
    error = client.post(PATH, json=WHOLE | {"model": "claude-sonet-4"}).json()["error"]
    assert error["code"] == "model_not_found"
    assert MODEL in error["message"], "the nearest id is named"
    with kkiai.client() as stranger:
        answer = stranger.post(PATH, json=WHOLE)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key")


def test_the_other_way_to_give_the_key(kkiai: Bandari, key: str) -> None:
    answer = curl(kkiai.url + PATH, "-H", f"x-api-key: {key}", "-d", json.dumps(WHOLE))
    assert (answer.status, answer.body["object"]) == (200, "chat.completion")


def test_with_a_version_it_is_anthropics_protocol(kkiai: Bandari, key: str) -> None:
    body = json.dumps(WHOLE | {"max_tokens": 50})
    answer = curl(kkiai.url + PATH, "-H", f"x-api-key: {key}", *VERSION, "-d", body)
    assert (answer.body["type"], answer.body["role"]) == ("message", "assistant")
    assert "Alex" in answer.body["content"][0]["text"]
    assert set(answer.body["usage"]) >= {"input_tokens", "output_tokens"}
    body = json.dumps(DOCUMENTED | {"max_tokens": 50})
    stream = curl(kkiai.url + PATH, "-H", f"x-api-key: {key}", *VERSION, "-d", body)
    names = [event.split("\n")[0] for event in stream.events]
    assert names[0] == "event: message_start"
    assert names[-1] == "event: message_stop"


def test_with_a_version_max_tokens_is_required(kkiai: Bandari, key: str) -> None:
    answer = curl(kkiai.url + PATH, "-H", f"x-api-key: {key}", *VERSION, "-d", json.dumps(WHOLE))
    assert answer.status == 400
    assert answer.body["error"]["type"] == "invalid_request_error"
    assert "max_tokens" in answer.body["error"]["message"]


# The client's package itself says that the documented model is about to be retired.
@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
def test_anthropics_own_client(kkiai: Bandari, key: str) -> None:
    with anthropic.Anthropic(api_key=key, base_url=kkiai.url) as client:
        message = client.messages.create(
            model=MODEL,
            max_tokens=50,
            system=DOCUMENTED["system"],
            messages=[{"role": "user", "content": "Who are you?"}],
        )
        assert "Alex" in message.content[0].text  # type: ignore[union-attr]


def test_which_models_can_be_used(client: httpx.Client) -> None:
    listed = {entry["id"]: entry for entry in client.get("/v1/models").json()["data"]}
    assert set(listed) == {MODEL, "gpt-4o"}
    assert "messages" in listed[MODEL]["endpoints"]
    assert "embeddings" not in listed[MODEL]["endpoints"]
