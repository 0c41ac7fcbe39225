"""The typed stream over the real server and engine, read as its clients read it."""

from __future__ import annotations

import json

import httpx2 as httpx
from tests.support.chat import MODEL, PATH, user
from tests.support.server import Bandari

from bandari.wire.sse import SseDecoder, SseEvent

BASE = "/api/v1/llm"
TYPED = f"{BASE}/chat/completions/stream"


def streamed(client: httpx.Client, **fields: object) -> tuple[httpx.Response, list[SseEvent]]:
    body = {"model": MODEL, "messages": user("What is the capital of France?"), "temperature": 0}
    response = client.post(TYPED, json=body | fields)
    return response, SseDecoder().feed(response.content)


def test_the_same_answer_in_named_events(client: httpx.Client) -> None:
    response, events = streamed(client, stream_options={"include_usage": True})
    assert response.status_code == 200
    assert response.headers["deprecation"].startswith("@")
    assert response.content.startswith(b": \n\n")
    *messages, done = events
    assert (done.name, done.data) == ("done", b"null")
    assert [event.id for event in messages] == [str(number) for number in range(len(messages))]
    chunks = [json.loads(event.data) for event in messages]
    text = "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )
    body = {"model": MODEL, "messages": user("What is the capital of France?"), "temperature": 0}
    plain = client.post(f"{BASE}/chat/completions", json=body).json()
    assert text == plain["choices"][0]["message"]["content"]
    assert "Paris" in text
    assert chunks[-1]["usage"]["total_tokens"] == plain["usage"]["total_tokens"]


def test_the_twins_answer_like_their_originals(client: httpx.Client) -> None:
    models = client.get(f"{BASE}/models").json()
    assert models == client.get("/v1/models").json()
    name = models["data"][0]["id"]
    assert client.get(f"{BASE}/models/{name}").json() == client.get(f"/v1/models/{name}").json()
    assert client.get(f"{BASE}/models/none").status_code == 404


def test_the_receipt_names_the_end_user(bandari: Bandari, client: httpx.Client) -> None:
    for path in (TYPED, PATH):
        response = client.post(
            path,
            json={"model": MODEL, "messages": user("Hi"), "max_tokens": 3, "user": "somebody"},
            headers={"x-on-behalf-of": "mteja-7"},
        )
        receipt = bandari.receipt(response.headers["x-bandari-receipt"])
        assert receipt["end_user"] == "mteja-7"


def test_errors_have_their_envelope(bandari: Bandari, client: httpx.Client) -> None:
    response, _ = streamed(client, temperature=9)
    assert response.status_code == 400
    assert response.json() == {
        "defined": False,
        "code": "BAD_REQUEST",
        "status": 400,
        "message": response.json()["message"],
        "data": {"code": "invalid_value", "param": "temperature"},
    }
    with bandari.client("bd_live_wrong") as stranger:
        response, _ = streamed(stranger)
        assert (response.status_code, response.json()["code"]) == (401, "UNAUTHORIZED")
    response = client.get(TYPED)
    assert (response.status_code, response.json()["code"]) == (405, "METHOD_NOT_SUPPORTED")
