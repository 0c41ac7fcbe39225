"""KrosAI, as documented: a small multilingual model with its own defaults and bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from tests.acceptance.test_parameters import uncertain
from tests.support.chat import PATH, user
from tests.support.server import Bandari
from tests.support.systems import curl, system, text_of

MODEL = "KrosMLingual1.0.1"
DOCUMENTED: dict[str, Any] = {
    "model": MODEL,
    "messages": [
        {
            "role": "system",
            "content": "You are a helpful assistant that translates English to Yoruba.",
        },
        {"role": "user", "content": "Translate: I love you"},
    ],
    "temperature": 0.7,
    "max_tokens": 50,
}
YORUBA = "Mo nífẹ̀ẹ́ rẹ"


@pytest.fixture(scope="module")
def kros(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    with system("kros", tmp_path_factory.mktemp("systems")) as server:
        yield server


@pytest.fixture
def key(kros: Bandari, request: pytest.FixtureRequest) -> str:
    """One for each test: a key has sixty requests a minute."""
    return kros.new_key(f"shule {request.node.name}"[:90].translate({91: 95, 93: 95}), 100_000)


@pytest.fixture
def client(kros: Bandari, key: str) -> Iterator[httpx.Client]:
    with kros.client(key) as client:
        yield client


def test_the_documented_request(kros: Bandari, key: str) -> None:
    headers = ("-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json")
    answer = curl(kros.url + PATH, *headers, "-d", json.dumps(DOCUMENTED))
    body = answer.body
    assert (answer.status, body["model"]) == (200, MODEL)
    assert YORUBA in body["choices"][0]["message"]["content"]
    assert body["usage"]["completion_tokens"] <= 50
    stream = curl(kros.url + PATH, *headers, "-d", json.dumps(DOCUMENTED | {"stream": True}))
    assert YORUBA in text_of(stream.chunks)
    assert stream.events[-1] == "data: [DONE]"


def test_max_tokens_is_100_where_nothing_is_said(client: httpx.Client) -> None:
    """The answer is kept from ending by itself: the tokens that would end it are forbidden."""
    endless = uncertain()["logit_bias"]
    body = {"model": MODEL, "messages": user("Tell me a long story."), "logit_bias": endless}
    answer = client.post(PATH, json=body).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 100


def test_the_default_temperature(client: httpx.Client) -> None:
    told = [
        client.post(
            PATH,
            json={"model": MODEL, "messages": user("Hi"), "seed": 7} | uncertain() | more,
        ).json()["choices"][0]["message"]["content"]
        for more in ({}, {"temperature": 0.7}, {"temperature": 0})
    ]
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize("value", [-0.01, 1.01, 2])
def test_temperature_is_between_0_and_1(client: httpx.Client, value: float) -> None:
    answer = client.post(PATH, json=DOCUMENTED | {"temperature": value})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "temperature")
    assert "between 0 and 1" in error["message"]


@pytest.mark.parametrize("value", [0, 1])
def test_the_bounds_themselves_are_allowed(client: httpx.Client, value: int) -> None:
    answer = client.post(PATH, json=DOCUMENTED | {"temperature": value, "max_tokens": 1})
    assert answer.status_code == 200


@pytest.mark.parametrize("role", ["developer", "tool", "function", "robot"])
def test_roles(client: httpx.Client, role: str) -> None:
    messages = [{"role": role, "content": "x", "tool_call_id": "call_1"}, *user("Hi")]
    answer = client.post(PATH, json=DOCUMENTED | {"messages": messages})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "messages[0].role"


def test_a_forbidden_role_is_told_the_allowed_ones(client: httpx.Client) -> None:
    messages = [{"role": "developer", "content": "x"}, *user("Hi")]
    error = client.post(PATH, json=DOCUMENTED | {"messages": messages}).json()["error"]
    assert error["message"].startswith("Role must be one of system, user, assistant")


def test_the_messages_carry_the_context(client: httpx.Client) -> None:
    turns = [
        {"role": "user", "content": "My name is Amina."},
        {"role": "assistant", "content": "Nice to meet you, Amina!"},
        {"role": "user", "content": "What is my name?"},
    ]
    body = {"model": MODEL, "messages": turns, "temperature": 0}
    assert "Amina" in client.post(PATH, json=body).json()["choices"][0]["message"]["content"]
    alone = client.post(PATH, json=body | {"messages": turns[2:]}).json()
    assert "Amina" not in alone["choices"][0]["message"]["content"]


def test_invalid_parameters_and_messages(client: httpx.Client) -> None:
    for fields, param in (
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ):
        answer = client.post(PATH, json=DOCUMENTED | fields)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_an_invalid_or_missing_key(kros: Bandari) -> None:
    for given in ({}, {"authorization": "Bearer nonsense"}, {"authorization": "Basic eDp5"}):
        with kros.client() as client:
            answer = client.post(PATH, json=DOCUMENTED, headers=given)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"


def test_rate_limit_exceeded(client: httpx.Client) -> None:
    body = {"model": "none", "messages": user("Hi")}
    statuses = [client.post(PATH, json=body).status_code for _ in range(60)]
    assert statuses == [404] * 60
    answer = client.post(PATH, json=DOCUMENTED)
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert "requests_per_minute" in answer.json()["error"]["message"]
    assert answer.headers["x-bandari-limit"] == "key.requests_per_minute"
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert int(answer.headers["retry-after"]) == 1
