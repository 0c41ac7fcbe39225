"""MKA1, as documented: a typed stream, end users, models by provider; with its own SDK."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from meetkai_mka1 import SDK
from tests.support.server import Bandari
from tests.support.systems import Answer, curl, system, text_of

BASE = "/api/v1/llm"
CHAT = f"{BASE}/chat/completions"
STREAM = f"{CHAT}/stream"
MODEL = "meetkai:functionary-urdu-mini-pak"
DOCUMENTED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "temperature": 0.7,
    "max_tokens": 100,
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PERSON = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {"age": {"type": "integer"}},
            "required": ["age"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def mka1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    with system("mka1", tmp_path_factory.mktemp("systems")) as server:
        yield server


@pytest.fixture(scope="module")
def key(mka1: Bandari) -> str:
    return mka1.new_key("kampuni", 1_000_000)


@pytest.fixture
def client(mka1: Bandari, key: str) -> Iterator[httpx.Client]:
    with mka1.client(key) as client:
        yield client


def asked(mka1: Bandari, key: str, path: str, body: dict[str, Any], *more: str) -> Answer:
    headers = ("-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json")
    return curl(mka1.url + path, *headers, *more, "-d", json.dumps(body))


def refusal(client: httpx.Client, path: str, **fields: Any) -> tuple[int, str | None]:
    """The status and the field at fault."""
    answer = client.post(path, json=DOCUMENTED | fields)
    body = answer.json()
    told = body["data"] if path == STREAM else body["error"]
    return answer.status_code, told.get("param")


@pytest.mark.parametrize("stream", [None, False, True])
def test_the_documented_request(mka1: Bandari, key: str, stream: bool | None) -> None:
    """The body's ``stream`` is ignored on this route."""
    body = DOCUMENTED if stream is None else DOCUMENTED | {"stream": stream}
    answer = asked(mka1, key, STREAM, body)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    *messages, done = [event for event in answer.events if not event.startswith(":")]
    assert done.startswith("event: done")
    assert all(message.startswith("event: message") for message in messages)
    chunks = answer.chunks[:-1]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {MODEL}
    assert "Paris" in text_of(chunks)
    ids = [line for message in messages for line in message.split("\n") if line[:3] == "id:"]
    assert ids == [f"id: {number}" for number in range(len(messages))]


def test_it_is_deprecated(mka1: Bandari, key: str) -> None:
    answer = asked(mka1, key, STREAM, DOCUMENTED)
    assert answer.headers["deprecation"].startswith("@")
    assert "/api/v1/llm/responses" in answer.headers["link"]
    paths = curl(f"{mka1.url}/openapi.json").body["paths"]
    assert paths[STREAM]["post"]["deprecated"] is True
    assert "deprecated" not in paths[f"{BASE}/responses"]["post"]


def test_its_own_sdk(mka1: Bandari, key: str) -> None:
    with (
        SDK(bearer_auth=key, server_url=mka1.url, retry_config=None) as sdk,
        pytest.warns(DeprecationWarning, match="DEPRECATED"),
        sdk.llm.chat.stream(**DOCUMENTED, x_on_behalf_of="mteja-1") as events,
    ):
        *messages, done = list(events)
    text = "".join(message.data.choices[0].delta.content or "" for message in messages)
    assert "Paris" in text
    assert done.event == "done"
    receipt = mka1.receipt(messages[0].data.id.replace("chatcmpl-", "rcpt_"))
    assert receipt["end_user"] == "mteja-1"


def test_a_request_is_resumed_behind_the_last_chunk(mka1: Bandari, key: str) -> None:
    """The same request again with the index of the last chunk: nothing is generated or charged."""
    body = DOCUMENTED | {"temperature": 0.71}
    answer = asked(mka1, key, STREAM, body)
    receipts = mka1.query("SELECT count(*) AS receipts FROM receipts")
    for last in (0, 3):
        rest = asked(mka1, key, STREAM, body, "-H", f"x-last-chunk-index: {last}")
        assert rest.headers["x-bandari-replayed"] == "true"
        assert rest.headers["x-bandari-receipt"] == answer.headers["x-bandari-receipt"]
        assert rest.events == [answer.events[0], *answer.events[last + 2 :]]
    assert mka1.query("SELECT count(*) AS receipts FROM receipts") == receipts
    unknown = asked(mka1, key, STREAM, body | {"seed": 7}, "-H", "x-last-chunk-index: 0")
    assert (unknown.status, unknown.body["code"]) == (409, "CONFLICT")
    wrong = asked(mka1, key, STREAM, body, "-H", "x-last-chunk-index: third")
    assert (wrong.status, wrong.body["data"]["param"]) == (400, "x-last-chunk-index")


def test_responses_are_cached_for_who_asks_for_it(mka1: Bandari, key: str) -> None:
    body, cached = DOCUMENTED | {"temperature": 0.72}, ("-H", "x-bandari-cache: use")
    first, again = (asked(mka1, key, STREAM, body, *cached) for _ in range(2))
    assert [answer.headers["x-bandari-cache"] for answer in (first, again)] == ["miss", "hit"]
    assert text_of(first.chunks[:-1]) == text_of(again.chunks[:-1])
    assert mka1.receipt(again.headers["x-bandari-receipt"])["amount"] == 0
    assert "x-bandari-cache" not in asked(mka1, key, STREAM, body).headers


def test_the_successor_and_the_neighbours(mka1: Bandari, key: str) -> None:
    body = {"model": MODEL, "input": "What is the capital of France?"}
    response = asked(mka1, key, f"{BASE}/responses", body)
    assert (response.status, response.body["object"]) == (200, "response")
    assert "Paris" in response.body["output"][0]["content"][0]["text"]
    whole = asked(mka1, key, CHAT, DOCUMENTED).body
    assert "Paris" in whole["choices"][0]["message"]["content"]
    stream = asked(mka1, key, CHAT, DOCUMENTED | {"stream": True})
    assert stream.events[-1] == "data: [DONE]"
    listed = curl(f"{mka1.url}{BASE}/models", "-H", f"Authorization: Bearer {key}").body["data"]
    assert [entry["id"] for entry in listed] == [MODEL]


def test_a_bare_name_is_the_same_model(client: httpx.Client) -> None:
    body = DOCUMENTED | {"model": MODEL.partition(":")[2]}
    assert client.post(CHAT, json=body).json()["model"] == MODEL


def test_usage_is_tracked_by_end_user(client: httpx.Client) -> None:
    for name, times in (("amina", 2), ("juma", 1)):
        for _ in range(times):
            client.post(STREAM, json=DOCUMENTED, headers={"x-on-behalf-of": name})
    client.post(STREAM, json=DOCUMENTED | {"user": "juma"}, headers={"x-on-behalf-of": "amina"})
    client.post(STREAM, json=DOCUMENTED | {"user": "juma"})
    rows = client.get("/v1/usage", params={"by": "end_user"}).json()["data"]
    requests = {row["end_user"]: row["requests"] for row in rows}
    assert (requests["amina"], requests["juma"]) == (3, 2), "the header takes precedence"


@pytest.mark.parametrize("path", [STREAM, CHAT])
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": 1.1}, "top_p"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"stop": list("abcde")}, "stop"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"tool_choice": "required"}, "tools"),
    ],
)
def test_bounds(client: httpx.Client, path: str, fields: dict[str, Any], param: str) -> None:
    assert refusal(client, path, **fields) == (400, param)


def test_stream_options_need_a_stream(client: httpx.Client) -> None:
    options = {"stream_options": {"include_usage": True}}
    assert refusal(client, CHAT, **options) == (400, "stream_options")
    answer = client.post(STREAM, json=DOCUMENTED | options)
    assert answer.status_code == 200, "always allowed on this route"
    assert '"total_tokens"' in answer.text


def test_errors_have_orpcs_shape(mka1: Bandari, client: httpx.Client) -> None:
    body = client.post(STREAM, json=DOCUMENTED | {"temperature": 3}).json()
    assert set(body) == {"defined", "code", "status", "message", "data"}
    assert (body["defined"], body["code"], body["status"]) == (False, "BAD_REQUEST", 400)
    with mka1.client() as stranger:
        body = stranger.post(STREAM, json=DOCUMENTED).json()
    assert (body["code"], body["status"]) == ("UNAUTHORIZED", 401)
    body = client.post(STREAM, json=DOCUMENTED | {"model": "meetkai:functionary"}).json()
    assert (body["code"], body["status"]) == ("NOT_FOUND", 404)
    assert MODEL in body["message"]


def test_the_text_returned_does_not_contain_the_stop(client: httpx.Client) -> None:
    body = DOCUMENTED | {"stop": ["Paris"], "temperature": 0}
    (choice,) = client.post(CHAT, json=body).json()["choices"]
    assert "Paris" not in choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


def test_several_choices_with_probabilities(client: httpx.Client) -> None:
    body = DOCUMENTED | {"n": 3, "logprobs": True, "top_logprobs": 4, "seed": 5, "max_tokens": 4}
    answer = client.post(CHAT, json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    (first, *_) = answer["choices"][0]["logprobs"]["content"]
    assert len(first["top_logprobs"]) == 4


@pytest.mark.parametrize(
    ("choice", "calls"),
    [
        ("none", False),
        ("required", True),
        ({"type": "function", "function": {"name": "get_weather"}}, True),
    ],
)
def test_tool_choice(client: httpx.Client, choice: object, calls: bool) -> None:
    body = DOCUMENTED | {
        "messages": [{"role": "user", "content": "What is the weather in Nairobi?"}],
        "tools": [WEATHER],
        "tool_choice": choice,
        "parallel_tool_calls": False,
        "temperature": 0,
    }
    (answered,) = client.post(CHAT, json=body).json()["choices"]
    assert bool(answered["message"].get("tool_calls")) is calls


def test_response_formats(client: httpx.Client) -> None:
    for form, is_right in (
        ({"type": "json_object"}, lambda value: isinstance(value, dict)),
        (PERSON, lambda value: isinstance(value["age"], int)),
    ):
        body = DOCUMENTED | {"response_format": form, "temperature": 0}
        (choice,) = client.post(CHAT, json=body).json()["choices"]
        assert is_right(json.loads(choice["message"]["content"]))


@pytest.mark.parametrize("effort", ["minimal", "low", "medium", "high"])
def test_reasoning_efforts_are_accepted(client: httpx.Client, effort: str) -> None:
    body = DOCUMENTED | {"reasoning_effort": effort, "max_tokens": 1}
    assert client.post(CHAT, json=body).status_code == 200
