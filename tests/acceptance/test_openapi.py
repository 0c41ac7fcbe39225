"""The OpenAPI document as the running server gives it, and whether the server keeps to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2 as httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from tests.support import embedding_gguf
from tests.support.described import Described
from tests.support.server import ENGINE, Bandari, running

PLENTY = 10_000_000
CONFIG = """
embedding_model = "{file}"

[models."bandari-tiny"]
targets = ["local:bandari-tiny"]

[models."nomic-embed-text"]
kind = "embedding"
targets = ["local:nomic-embed-text"]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    """A server with the models that the examples ask. Its books must balance at the end."""
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    place = tmp_path_factory.mktemp("openapi")
    file = embedding_gguf.write(place / "embedding.gguf")
    with running(place / "data", ENGINE + CONFIG.format(file=file)) as server:
        yield server
        server.verify()


@pytest.fixture(scope="module")
def key(house: Bandari) -> str:
    return house.new_key("plenty", PLENTY)


@pytest.fixture(scope="module")
def poor(house: Bandari) -> str:
    return house.new_key("poor", 1)


@pytest.fixture
def client(house: Bandari, key: str) -> Iterator[httpx.Client]:
    with house.client(key) as client:
        yield client


@pytest.fixture(scope="module")
def described(house: Bandari) -> Described:
    with house.client() as client:
        return Described(client.get("/openapi.json").json())


def test_it_is_openapi_3_1(described: Described) -> None:
    assert list(OpenAPIV31SpecValidator(described.document).iter_errors()) == []


def test_every_operation_is_there(described: Described, house: Bandari) -> None:
    with house.client() as client:
        for method, path, operation in described.operations():
            answer = client.request(method, re.sub(r"\{\w+\}", "1", path))
            needs_key = operation.get("security") != []
            assert answer.status_code == (401 if needs_key else 200), (method, path)
            check(described, method, path, answer)


def check(described: Described, method: str, path: str, answer: httpx.Response) -> None:
    described.check_answer(method, path, answer.status_code, answer.headers, answer.content)


def examples(described: Described) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The path, name and example of each body that a model answers."""
    for method, path, operation in described.operations():
        is_answered = "{" not in path and not path.startswith("/admin/")
        if method == "POST" and "requestBody" in operation and is_answered:
            content = operation["requestBody"]["content"]["application/json"]
            for name, example in content["examples"].items():
                yield path, name, example


def test_every_example_is_answered_as_described(described: Described, client: httpx.Client) -> None:
    asked = 0
    for path, name, example in examples(described):
        answer = client.post(path, json=example["value"], headers=example.get("x-headers", {}))
        assert answer.status_code == 200, (path, name, answer.text)
        is_stream = answer.headers["content-type"].startswith("text/event-stream")
        assert is_stream is (path.endswith("/stream") or example["value"].get("stream") is True)
        check(described, "POST", path, answer)
        asked += 1
    assert asked > 20


HI = [{"role": "user", "content": "Hi"}]
ASKED = [
    ("/v1/chat/completions", {"messages": HI}, {}),
    ("/api/v1/llm/chat/completions/stream", {"messages": HI}, {}),
    ("/v1/messages", {"messages": HI}, {}),
    ("/v1/messages", {"messages": HI, "max_tokens": 5}, {"anthropic-version": "2023-06-01"}),
    ("/v1/messages/count_tokens", {"messages": HI}, {}),
    ("/v1/responses", {"input": "Hi"}, {}),
    ("/v1/responses/compact", {"input": "Hi"}, {}),
    ("/v1/completions", {"prompt": "Hi"}, {}),
    ("/v1/embeddings", {"input": "Hi"}, {}),
]


@pytest.mark.parametrize(("path", "body", "headers"), ASKED)
def test_every_refusal_is_answered_as_described(
    described: Described,
    client: httpx.Client,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    for more, status in (({}, 400), ({"model": 5}, 400), ({"model": "bandari-tin"}, 404)):
        answer = client.post(path, json=body | more, headers=headers)
        assert answer.status_code == status, answer.text
        check(described, "POST", path, answer)


def test_examples_of_errors_are_what_is_said(described: Described, client: httpx.Client) -> None:
    body = {"model": "bandari-tiny", "messages": HI}
    for status, wrong in ((400, {"temperature": 3}), (404, {"model": "bandari-tin"})):
        example = described.document["components"]["responses"][f"OpenAi{status}"]
        said = client.post("/v1/chat/completions", json=body | wrong).json()
        assert said == example["content"]["application/json"]["example"]


@pytest.mark.parametrize(
    ("path", "body", "headers"), [asked for asked in ASKED if "count" not in asked[0]]
)
def test_an_empty_wallet_is_told_as_described(
    described: Described,
    house: Bandari,
    poor: str,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    model = "nomic-embed-text" if path.endswith("embeddings") else "bandari-tiny"
    with house.client(poor) as client:
        answer = client.post(path, json=body | {"model": model}, headers=headers)
    assert answer.status_code == 402, answer.text
    check(described, "POST", path, answer)


def test_the_models_are_described_in_both_forms(described: Described, client: httpx.Client) -> None:
    for headers in ({}, {"anthropic-version": "2023-06-01"}):
        for base in ("/v1", "/api/v1/llm"):
            check(described, "GET", f"{base}/models", client.get(f"{base}/models", headers=headers))
            for name, status in (("bandari-tiny", 200), ("none", 404)):
                answer = client.get(f"{base}/models/{name}", headers=headers)
                assert answer.status_code == status
                check(described, "GET", f"{base}/models/{{id}}", answer)


def test_the_life_of_a_response_is_described(described: Described, client: httpx.Client) -> None:
    body = {"model": "bandari-tiny", "input": "Hi", "background": True, "stream": True}
    made = client.post("/v1/responses", json=body)
    check(described, "POST", "/v1/responses", made)
    first = made.text.splitlines()[1].removeprefix("data: ")
    path = f"/v1/responses/{json.loads(first)['response']['id']}"
    for method, more, status in (
        ("GET", "", 200),
        ("GET", "?stream=true&starting_after=2", 200),
        ("GET", "?stream=maybe", 400),
        ("GET", "/input_items", 200),
        ("GET", "/input_items?limit=0", 400),
        ("POST", "/cancel", 200),
        ("DELETE", "", 200),
        ("GET", "", 404),
    ):
        answer = client.request(method, path + more)
        assert answer.status_code == status, (method, more, answer.text)
        kind = "/v1/responses/{id}" + more.partition("?")[0]
        check(described, method, kind, answer)


def test_the_page_needs_nothing_else(house: Bandari) -> None:
    with house.client() as client:
        page = client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "/v1/chat/completions" in page.text
    assert "<script" not in page.text
