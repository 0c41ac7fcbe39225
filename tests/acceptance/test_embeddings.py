"""``POST /v1/embeddings``: openai-python, the real server, and vectors of a real engine process."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import closing
from http import client as http_client
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
import openai
import pytest
from tests.support import embedding_gguf
from tests.support.chat import MODEL, user
from tests.support.embedding_gguf import ADDED, CONTEXT, WIDTH
from tests.support.server import ENGINE, Bandari, running, wait_until

EMBEDDER = "bert"
PATH = "/v1/embeddings"
PLENTY = 1_000_000

CONFIG = """
embedding_model = "{file}"

[models."bandari-tiny"]
targets = ["local:bandari-tiny"]

[models.bert]
kind = "embedding"
targets = ["local:bert"]
aliases = ["bert-latest"]
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    """A server with a model that writes and one that embeds. Its books must balance at the end."""
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    place: Path = tmp_path_factory.mktemp("embeddings")
    file = embedding_gguf.write(place / "bert.gguf")
    with running(place / "data", ENGINE + CONFIG.format(file=file)) as server:
        yield server
        server.verify()


@pytest.fixture(scope="module")
def house_key(house: Bandari) -> str:
    return house.new_key("embedder", PLENTY)


@pytest.fixture
def sdk(house: Bandari, house_key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=house_key, max_retries=0) as client:
        yield client


@pytest.fixture
def http(house: Bandari, house_key: str) -> Iterator[httpx.Client]:
    with house.client(house_key) as client:
        yield client


def test_the_form_that_openai_python_asks_for_by_itself(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model=EMBEDDER, input="Hello world")
    (entry,) = answer.data
    assert (answer.object, answer.model) == ("list", EMBEDDER)
    assert (entry.object, entry.index, len(entry.embedding)) == ("embedding", 0, WIDTH)
    assert math.isclose(math.hypot(*entry.embedding), 1, abs_tol=1e-5)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 2 + ADDED


def test_numbers_and_base64_are_the_same_vector(sdk: openai.OpenAI) -> None:
    packed = sdk.embeddings.create(model=EMBEDDER, input="the port")
    plain = sdk.embeddings.create(model=EMBEDDER, input="the port", encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(packed.data[0].embedding, abs=1e-6)
    raw = sdk.embeddings.with_raw_response.create(
        model=EMBEDDER, input="the port", encoding_format="base64"
    )
    assert isinstance(raw.http_response.json()["data"][0]["embedding"], str)


def test_many_texts_come_back_in_their_order(sdk: openai.OpenAI) -> None:
    words = ["hello", "world", "the", "port", "ship"] * 8
    answer = sdk.embeddings.create(model=EMBEDDER, input=words)
    assert [entry.index for entry in answer.data] == list(range(40))
    assert answer.usage.total_tokens == 40 * (1 + ADDED)
    alone = sdk.embeddings.create(model="bert-latest", input="port").data[0].embedding
    assert answer.data[3].embedding == pytest.approx(alone, abs=1e-5)
    assert answer.data[0].embedding != pytest.approx(alone, abs=1e-2)


def test_tokens_instead_of_texts(sdk: openai.OpenAI) -> None:
    answer = sdk.embeddings.create(model=EMBEDDER, input=[[2, 5, 3], [2, 6, 3]])
    assert answer.usage.total_tokens == 6
    text = sdk.embeddings.create(model=EMBEDDER, input="hello").data[0].embedding
    assert answer.data[0].embedding == pytest.approx(text, abs=1e-5)
    assert len(sdk.embeddings.create(model=EMBEDDER, input=[2, 5, 6, 3]).data) == 1


@pytest.mark.parametrize("given", ["Hello world", ["hello", "the ship"] * 20, [[2, 5, 3]], [2, 5]])
def test_total_tokens_is_what_is_deducted(
    house: Bandari, http: httpx.Client, given: object
) -> None:
    before, _ = house.wallet("embedder")
    response = http.post(PATH, json={"model": EMBEDDER, "input": given, "user": "amina"})
    assert response.status_code == 200, response.text
    total = response.json()["usage"]["total_tokens"]
    receipt = house.receipt(response.headers["x-bandari-receipt"])
    after, held = house.wallet("embedder")
    assert held == 0
    assert before - after == total == receipt["amount"] == receipt["input_tokens"]
    assert (receipt["output_tokens"], receipt["overrun"]) == (0, 0)
    assert (receipt["rule"], receipt["ending"]) == ("reported", "completed")
    assert (receipt["model"], receipt["target"]) == (EMBEDDER, "local:bert")
    assert receipt["end_user"] == "amina"


def test_the_other_path_and_what_had_no_effect(http: httpx.Client) -> None:
    body = {"model": EMBEDDER, "input": "hello", "input_type": "query"}
    response = http.post("/api/v1/llm/embeddings", json=body)
    assert response.status_code == 200
    assert response.headers["x-bandari-ignored"] == "input_type"


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"input": ["a", ""]}, 400, "invalid_value", "input[1]"),
        ({"dimensions": 8}, 400, "unsupported_parameter", "dimensions"),
        ({"encoding_format": "int8"}, 400, "invalid_value", "encoding_format"),
        ({"model": MODEL}, 400, "invalid_value", "model"),
        ({"model": "bret"}, 404, "model_not_found", "model"),
        ({"input": "x " * CONTEXT}, 400, "context_length_exceeded", "input"),
        ({"input": [99999]}, 400, "upstream_invalid_request", None),
    ],
)
def test_what_cannot_be_served_costs_nothing(
    house: Bandari,
    http: httpx.Client,
    fields: dict[str, object],
    status: int,
    code: str,
    param: str,
) -> None:
    before = house.wallet("embedder")
    response = http.post(PATH, json={"model": EMBEDDER, "input": "hello", **fields})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, param)
    assert "x-bandari-receipt" not in response.headers
    assert house.wallet("embedder") == before


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("/v1/chat/completions", {"messages": user("Hi")}),
        ("/v1/completions", {"prompt": "Hi"}),
    ],
)
def test_a_model_that_embeds_does_not_write(
    http: httpx.Client, path: str, prompt: dict[str, object]
) -> None:
    response = http.post(path, json={"model": EMBEDDER, **prompt})
    assert response.status_code == 400
    assert "served at embeddings only" in response.json()["error"]["message"]


def test_each_model_says_where_it_is_served(sdk: openai.OpenAI) -> None:
    endpoints = {model.id: model.to_dict()["endpoints"] for model in sdk.models.list()}
    assert endpoints[EMBEDDER] == ["embeddings"]
    assert "chat_completions" in endpoints[MODEL]
    assert "embeddings" not in endpoints[MODEL]


def test_a_small_wallet_is_counted_to_the_token(house: Bandari) -> None:
    key = house.new_key("counted", 7)
    with house.client(key) as client:
        body = {"model": EMBEDDER, "input": "hello world"}
        first = client.post(PATH, json=body)
        assert first.json()["usage"]["total_tokens"] == 4
        assert house.wallet("counted") == (3, 0)
        second = client.post(PATH, json=body)
        assert second.status_code == 402
        assert second.json()["error"]["code"] == "insufficient_balance"
        assert client.post(PATH, json=body | {"input": "hello"}).status_code == 200
    assert house.wallet("counted") == (0, 0)


def test_a_client_that_leaves_pays_for_what_was_computed(house: Bandari) -> None:
    key = house.new_key("hasty", PLENTY)
    texts = ["x " * (CONTEXT - ADDED)] * 40
    body = json.dumps({"model": EMBEDDER, "input": texts, "user": "hasty"})
    address = urlsplit(house.url)
    with closing(http_client.HTTPConnection(address.hostname or "", address.port)) as connection:
        connection.request("POST", PATH, body, {"authorization": f"Bearer {key}"})
        with house.client() as other:
            wait_until(
                lambda: (
                    f'bandari_open_answers{{model="{EMBEDDER}"}} 1.0' in other.get("/metrics").text
                )
            )
    find = "SELECT ending, amount FROM receipts WHERE end_user = 'hasty'"
    wait_until(lambda: house.query(find), what="the charge")
    assert house.query(find) == [{"ending": "client_left", "amount": 40 * CONTEXT}]
    assert house.wallet("hasty") == (PLENTY - 40 * CONTEXT, 0)


def test_the_engines_of_both_kinds_end_with_the_server(tmp_path: Path) -> None:
    file = embedding_gguf.write(tmp_path / "bert.gguf")
    with running(tmp_path / "data", ENGINE + CONFIG.format(file=file)) as server:
        assert len(server.engine_pids()) == 2
        with server.client() as client:
            assert client.get("/readyz").json() == {"status": "ready"}


def test_without_a_model_that_writes_there_is_one_engine(tmp_path: Path) -> None:
    file = embedding_gguf.write(tmp_path / "bert.gguf")
    config = f"""{ENGINE}embedding_model = "{file}"
[models.bert]
kind = "embedding"
targets = ["local:bert"]
"""
    with running(tmp_path / "data", config) as server:
        assert len(server.engine_pids()) == 1
        with server.client(server.new_key("one", 100)) as client:
            answer = client.post(PATH, json={"model": "bert", "input": "hello"})
    assert answer.json()["usage"]["total_tokens"] == 1 + ADDED
