"""Fikra, as documented: a prepaid chat API whose ``usage.total_tokens`` is what is deducted."""

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

MODEL = "fikra-pro-20b"
DOCUMENTED: dict[str, Any] = {
    "model": MODEL,
    "temperature": 0.2,
    "messages": [
        {
            "role": "system",
            "content": "You are a strict financial data extractor. Output only valid JSON.",
        },
        {"role": "user", "content": "Extract revenue from this text: Q3 revenue hit 4.2M KES."},
    ],
}
JSON = ("-H", "Content-Type: application/json")
START = 1_000_000


@pytest.fixture(scope="module")
def fikra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    with system("fikra", tmp_path_factory.mktemp("systems")) as server:
        yield server


@pytest.fixture(scope="module")
def key(fikra: Bandari) -> str:
    return fikra.new_key("soko", START)


@pytest.fixture
def client(fikra: Bandari, key: str) -> Iterator[httpx.Client]:
    with fikra.client(key) as client:
        yield client


def bearer(key: str) -> tuple[str, str]:
    return "-H", f"Authorization: Bearer {key}"


def free(fikra: Bandari) -> int:
    balance, held = fikra.wallet("soko")
    assert held == 0
    return balance


def test_keys_have_their_prefix(key: str) -> None:
    assert key.startswith("fk_live_")


def test_the_documented_request(fikra: Bandari, key: str) -> None:
    before = free(fikra)
    answer = curl(fikra.url + PATH, *bearer(key), *JSON, "-d", json.dumps(DOCUMENTED))
    assert answer.status == 200
    body = answer.body
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert isinstance(body["created"], int)
    assert body["model"] == MODEL
    (choice,) = body["choices"]
    assert choice["message"]["role"] == "assistant"
    assert "KES" in choice["message"]["content"]
    assert json.loads(choice["message"]["content"])
    assert choice["finish_reason"] == "stop"
    usage = body["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert before - free(fikra) == usage["total_tokens"]
    receipt = fikra.receipt(answer.headers["x-bandari-receipt"])
    assert receipt["amount"] == usage["total_tokens"]


def test_the_documented_request_as_a_stream(fikra: Bandari, key: str) -> None:
    before = free(fikra)
    body = DOCUMENTED | {"stream": True, "stream_options": {"include_usage": True}}
    answer = curl(fikra.url + PATH, *bearer(key), *JSON, "-d", json.dumps(body))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert all(event.startswith("data: ") for event in answer.events)
    assert answer.events[-1] == "data: [DONE]"
    first, *_, end, told = answer.chunks
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert {chunk["id"] for chunk in answer.chunks} == {first["id"]}
    assert first["id"].startswith("chatcmpl-")
    assert {chunk["object"] for chunk in answer.chunks} == {"chat.completion.chunk"}
    assert "KES" in text_of(answer.chunks)
    assert end["choices"][0]["finish_reason"] == "stop"
    assert len(answer.chunks) > 5, "token by token"
    assert before - free(fikra) == told["usage"]["total_tokens"]


def test_without_being_asked_a_stream_tells_no_usage_and_is_charged_all_the_same(
    fikra: Bandari, key: str
) -> None:
    before = free(fikra)
    body = json.dumps(DOCUMENTED | {"stream": True})
    answer = curl(fikra.url + PATH, *bearer(key), *JSON, "-d", body)
    assert all("usage" not in chunk for chunk in answer.chunks)
    receipt = fikra.receipt(answer.headers["x-bandari-receipt"])
    assert before - free(fikra) == receipt["amount"] > 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_wrong_content_type_is_served(fikra: Bandari, key: str, kind: str) -> None:
    body = json.dumps({"model": MODEL, "messages": user("Hi"), "max_tokens": 3})
    answer = curl(fikra.url + PATH, *bearer(key), "-H", f"Content-Type:{kind}", "-d", body)
    assert answer.status == 200


def test_a_body_that_is_not_json_is_told_so(fikra: Bandari, key: str) -> None:
    answer = curl(fikra.url + PATH, *bearer(key), *JSON, "-d", "model=fikra")
    assert answer.status == 400
    assert answer.body["error"]["code"] == "invalid_json"
    assert "not valid JSON" in answer.body["error"]["message"]


def test_the_default_temperature(client: httpx.Client) -> None:
    """It is 0.7: with one seed, saying so changes nothing, and saying another does."""
    told = [
        client.post(
            PATH,
            json={"model": MODEL, "messages": user("Hi"), "seed": 7} | uncertain() | more,
        ).json()["choices"][0]["message"]["content"]
        for more in ({}, {"temperature": 0.7}, {"temperature": 2})
    ]
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize("value", [-0.1, 2.1])
def test_temperature_out_of_bounds(client: httpx.Client, value: float) -> None:
    answer = client.post(PATH, json=DOCUMENTED | {"temperature": value})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, "temperature")
    assert "between 0 and 2" in error["message"]


def test_max_tokens_is_capped_by_the_window(client: httpx.Client) -> None:
    answer = client.post(PATH, json=DOCUMENTED | {"max_tokens": 1_000_000})
    assert answer.status_code == 200
    assert 7_000 < int(answer.headers["x-bandari-max-tokens"]) < 8_192


def test_the_smaller_of_two_limits_counts(client: httpx.Client) -> None:
    for first, second in ((3, 50), (50, 3)):
        body = DOCUMENTED | {"max_tokens": first, "max_completion_tokens": second}
        answer = client.post(PATH, json=body).json()
        assert answer["usage"]["completion_tokens"] == 3
        assert answer["choices"][0]["finish_reason"] == "length"


def test_extended_parameters_are_supported(client: httpx.Client) -> None:
    body = DOCUMENTED | {"n": 2, "logprobs": True, "top_logprobs": 2, "seed": 1, "stop": ["}"]}
    answer = client.post(PATH, json=body).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert all("}" not in choice["message"]["content"] for choice in answer["choices"])
    assert len(answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2


def test_model_and_messages_are_required(client: httpx.Client) -> None:
    for name in ("model", "messages"):
        body = {field: value for field, value in DOCUMENTED.items() if field != name}
        error = client.post(PATH, json=body).json()["error"]
        assert (error["code"], error["param"]) == ("missing_required_parameter", name)


def test_without_a_key_and_with_a_wrong_one(fikra: Bandari) -> None:
    for headers, code in (
        ({}, "missing_api_key"),
        ({"authorization": "Bearer fk_live_x"}, "malformed_api_key"),
    ):
        with fikra.client() as client:
            answer = client.post(PATH, json=DOCUMENTED, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)


def test_an_empty_wallet_is_refused_and_nothing_is_charged(fikra: Bandari) -> None:
    with fikra.client(fikra.new_key("empty", 1)) as client:
        answer = client.post(PATH, json=DOCUMENTED)
    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == "insufficient_balance"
    assert answer.headers["x-should-retry"] == "false"
    assert fikra.wallet("empty") == (1, 0)


def test_the_registry_lists_by_context_window_and_latency(client: httpx.Client) -> None:
    client.post(PATH, json=DOCUMENTED)
    listed = client.get("/v1/models").json()["data"]
    windows = {entry["id"]: entry["context_window"] for entry in listed}
    assert windows == {MODEL: 8192, "fikra-mini": 2048}
    latency = {entry["id"]: entry["latency_ms"] for entry in listed}
    assert latency[MODEL] > 0
    assert latency["fikra-mini"] is None, "nobody has asked it yet"
    by_window = client.get("/v1/models", params={"sort": "context_window"}).json()["data"]
    assert [entry["id"] for entry in by_window] == [MODEL, "fikra-mini"]
    by_latency = client.get("/v1/models", params={"sort": "latency"}).json()["data"]
    assert [entry["id"] for entry in by_latency] == [MODEL, "fikra-mini"]


def test_the_customer_sees_the_ledger(fikra: Bandari, client: httpx.Client) -> None:
    answer = client.post(PATH, json=DOCUMENTED)
    deducted = answer.json()["usage"]["total_tokens"]
    receipt = client.get(f"/v1/receipts/{answer.headers['x-bandari-receipt']}").json()
    assert receipt["amount"] == deducted
    (wallet,) = client.get("/v1/balance").json()["wallets"]
    assert (wallet["asset"], wallet["balance"]) == ("TOKEN", free(fikra))
    (total,) = client.get("/v1/usage").json()["data"]
    assert total["amount"] == START - free(fikra) == total["usage"]["total_tokens"]
