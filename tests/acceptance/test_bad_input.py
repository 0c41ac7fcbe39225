"""Bad input gets a clear 4xx that names the parameter, in OpenAI's envelope, and costs nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from tests.support.chat import MODEL, PATH, refused, user
from tests.support.server import Bandari, wait_until

TOO_BIG = 2**53


@pytest.fixture(scope="module")
def strict_key(bandari: Bandari) -> str:
    return bandari.new_key("strict", 1_000_000)


@pytest.fixture
def client(bandari: Bandari, strict_key: str) -> Iterator[httpx.Client]:
    """Of an account that nothing here may cost anything."""
    before = bandari.wallet("strict")
    with bandari.client(strict_key) as client:
        yield client
    assert bandari.wallet("strict") == before == (1_000_000, 0)


OUT_OF_BOUNDS = [
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("top_p", -0.1),
    ("top_p", 1.1),
    ("presence_penalty", -2.1),
    ("presence_penalty", 2.1),
    ("frequency_penalty", -2.1),
    ("frequency_penalty", 2.1),
    ("n", 0),
    ("n", 129),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("max_tokens", TOO_BIG),
    ("max_completion_tokens", 0),
    ("seed", TOO_BIG),
    ("stop", ["a", "b", "c", "d", "e"]),
    ("stop", [""]),
    ("logit_bias", {"5": 101}),
    ("logit_bias", {"five": 1}),
]

WRONG_TYPES = [
    ("model", 5),
    ("messages", "hello"),
    ("messages", {}),
    ("stream", "yes"),
    ("stream_options", []),
    ("temperature", "hot"),
    ("top_p", []),
    ("max_tokens", 1.5),
    ("max_tokens", "many"),
    ("max_completion_tokens", True),
    ("stop", 7),
    ("stop", [7]),
    ("n", "2"),
    ("seed", "abc"),
    ("logit_bias", []),
    ("logprobs", 1),
    ("top_logprobs", "3"),
    ("presence_penalty", "x"),
    ("frequency_penalty", {}),
    ("response_format", "json"),
    ("response_format", {"type": "xml"}),
    ("response_format", {"type": "json_schema"}),
    ("tools", {}),
    ("tools", [{"type": "function"}]),
    ("tools", [{"type": "function", "function": {"name": ""}}]),
    ("tool_choice", "always"),
    ("tool_choice", 1),
    ("parallel_tool_calls", "no"),
    ("user", 5),
    ("reasoning_effort", "very"),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_BOUNDS + WRONG_TYPES, ids=repr)
def test_a_wrong_value_is_refused_by_name(client: httpx.Client, name: str, value: Any) -> None:
    status, error = refused(client, **{name: value})
    assert status == 400
    assert (error["param"] or "").split(".")[0].split("[")[0] == name
    assert name in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["code"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "user", "content": [{"type": "video", "url": "x"}]}]},
            "messages[0].content[0].type",
        ),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tool_choice": "required"}, "tools"),
        ({"n_predict": 5}, "n_predict"),
        ({"best_of": 5}, "best_of"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_go_together_is_refused(
    client: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    status, error = refused(client, **fields)
    assert status == 400
    assert error["param"] == param


@pytest.mark.parametrize("name", ["model", "messages"])
def test_required_fields(client: httpx.Client, name: str) -> None:
    body: dict[str, Any] = {"model": MODEL, "messages": user("Hi")}
    del body[name]
    response = client.post(PATH, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == name


NESTED = b"[" * 10_000 + b"]" * 10_000
GOOD = b'{"model":"bandari-tiny","messages":[{"role":"user","content":"x"}]}'
SURROGATE = rb'{"model":"bandari-tiny","messages":[{"role":"user","content":"\ud800"}]}'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"null", 400),
        (b"[]", 400),
        (b'"text"', 400),
        (b"model=gpt", 400),
        (b'{"model":"bandari-tiny","messages":' + NESTED + b"}", 400),
        (b'{"model":"bandari-tiny","messages":[],"metadata":' + NESTED + b"}", 400),
        (SURROGATE, 400),
        (b'{"model":"bandari-tiny","messages":[{"role":"user","content":"\xff\xfe"}]}', 400),
        (GOOD[:-1] + b',"top_p":NaN}', 400),
        (GOOD[:-1] + b',"temperature":1e999}', 400),
        (GOOD[:-1] + b',"x":Infinity}', 400),
        (
            b'{"model":"bandari-tiny","messages":['
            + b",".join([b'{"role":"user","content":"x"}'] * 100_000)
            + b"]}",
            400,
        ),
        (
            b'{"model":"bandari-tiny","messages":[{"role":"user","content":"'
            + b"x" * 50_000_000
            + b'"}]}',
            413,
        ),
    ],
    ids=[
        "empty",
        "cut",
        "null",
        "array",
        "string",
        "form",
        "nested",
        "nested in an ignored field",
        "surrogate",
        "not UTF-8",
        "NaN",
        "1e999",
        "Infinity",
        "100,000 messages",
        "50 MB",
    ],
)
def test_hostile_bodies(client: httpx.Client, body: bytes, status: int) -> None:
    try:
        response = client.post(PATH, content=body, headers={"content-type": "application/json"})
    except httpx.TransportError:
        # A body over the cap may be refused before it was sent whole.
        assert status == 413
        return
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["message"]
    assert set(error) == {"message", "type", "param", "code"}


def test_a_body_over_the_cap_is_refused_before_it_is_sent(
    bandari: Bandari, strict_key: str
) -> None:
    host, port = bandari.url.removeprefix("http://").split(":")
    head = (
        f"POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {strict_key}\r\n"
        "content-length: 50000000\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = b""
        while b'"code"' not in answer:
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'"code":"request_too_large"' in answer


def test_a_prompt_longer_than_the_window_names_both_numbers(client: httpx.Client) -> None:
    for fields in ({}, {"max_tokens": 10}, {"stream": True}):
        status, error = refused(client, messages=user("harbour " * 9000), **fields)
        assert status == 400
        assert error["code"] == "context_length_exceeded"
        assert "8192" in error["message"]
        assert "tokens" in error["message"]


def test_an_unknown_model_names_the_nearest(client: httpx.Client) -> None:
    status, error = refused(client, model="bandari-tinny")
    assert status == 404
    assert error["code"] == "model_not_found"
    assert "bandari-tiny" in error["message"]
    assert client.get("/v1/models/bandari-tinny").status_code == 404


def test_an_image_for_a_model_that_cannot_see(client: httpx.Client) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    status, error = refused(client, messages=[{"role": "user", "content": [image]}])
    assert status == 400
    assert "image" in error["message"]


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        ("", "malformed_api_key"),
        ("Bearer", "malformed_api_key"),
        ("Basic abc", "malformed_api_key"),
        ("Bearer sk-somebody-elses", "malformed_api_key"),
        ("Bearer bd_live_short", "malformed_api_key"),
        ("Bearer " + "x" * 5000, "malformed_api_key"),
    ],
)
def test_keys_that_are_none(bandari: Bandari, header: str | None, code: str) -> None:
    headers = {} if header is None else {"authorization": header}
    with bandari.client() as client:
        response = client.post(PATH, json={"model": MODEL, "messages": user("x")}, headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == code
    assert response.headers["www-authenticate"] == "Bearer"


def test_an_unknown_and_a_revoked_key(bandari: Bandari, strict_key: str) -> None:
    other_prefix_fits = bandari.new_key("leaver", 100)
    shown = json.loads(bandari.cli("key", "list", "--json").stdout)
    (entry,) = [key for key in shown if key["account"] == "leaver"]
    with bandari.client(other_prefix_fits) as client:
        assert client.get("/v1/models").status_code == 200
    bandari.cli("key", "revoke", str(entry["id"]))
    with bandari.client(other_prefix_fits) as client:
        wait_until(lambda: client.get("/v1/models").status_code == 401, what="the revocation")
        response = client.get("/v1/models")
    assert response.json()["error"]["code"] == "revoked_api_key"
    broken = strict_key[:-1] + ("0" if strict_key[-1] != "0" else "1")
    with bandari.client(broken) as client:
        assert client.get("/v1/models").json()["error"]["code"] == "malformed_api_key"


@pytest.mark.parametrize(
    ("method", "path", "status", "right"),
    [
        ("POST", "/chat/completions", 404, "/v1/chat/completions"),
        ("POST", "/v1/v1/chat/completions", 404, "/v1/chat/completions"),
        ("POST", "/v1/chat/completions/", 404, "/v1/chat/completions"),
        ("GET", "/models", 404, "/v1/models"),
        ("GET", "/v1/chat/completions", 405, "POST /v1/chat/completions"),
        ("DELETE", "/v1/models", 405, "GET /v1/models"),
        ("GET", "/nothing/of/the/kind", 404, "/v1"),
    ],
)
def test_wrong_urls_name_the_right_one(
    client: httpx.Client, method: str, path: str, status: int, right: str
) -> None:
    response = client.request(method, path)
    assert response.status_code == status
    assert right in response.json()["error"]["message"]
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_the_content_type_does_not_matter(client: httpx.Client, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    body = json.dumps({"model": "no-such-model", "messages": user("x")}).encode()
    response = client.post(PATH, content=body, headers=headers)
    assert response.json()["error"]["code"] == "model_not_found"


def test_nul_bytes_are_text_like_any_other(bandari: Bandari, key: str) -> None:
    with bandari.client(key) as client:
        body = {"model": MODEL, "messages": user("a\x00b"), "max_tokens": 3}
        assert client.post(PATH, json=body).status_code == 200
