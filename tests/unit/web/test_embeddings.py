"""``POST /v1/embeddings`` over a scripted upstream and books in memory."""

from __future__ import annotations

import base64
import json
import struct

import pytest
from tests.support.client import Client, start
from tests.support.embedding_house import EmbeddingHouse, ScriptedEmbeddings, vectors
from tests.support.gates import Gate, until, until_idle
from tests.support.key_ring import KEY, access_to, one_key, rate_of

from bandari.domain.faults import StoreUnavailable, UpstreamOverloaded
from bandari.domain.keys import KeyPolicy
from bandari.domain.ledger import Ending
from bandari.web.admission import Admission
from bandari.web.app import App, Route
from bandari.web.chat_settings import ChatSettings
from bandari.web.embeddings import Embeddings
from bandari.web.keys import KeyCheck

PATH = "/v1/embeddings"


def app(
    house: EmbeddingHouse,
    rate: int | None = None,
    policy: KeyPolicy | None = None,
    **settings: int,
) -> App:
    ring = one_key()
    ring.add(policy=policy)
    admission = Admission(
        KeyCheck(access_to(ring, house.clock, rate_of(rate))),
        house.limiter,
        house.metrics,
        ChatSettings(**settings),
    )
    endpoint = Embeddings(admission, house.embedding)
    return App([Route(PATH, POST=endpoint)], house.metrics, lambda: "req_1", lambda *_: None)


def asking(
    house: EmbeddingHouse,
    *,
    key: str | None = KEY,
    rate: int | None = None,
    idempotency_key: str | None = None,
    **fields,
):
    body = {"model": "bandari-1", "input": "twelve bytes", **fields}
    client = Client(json.dumps(body).encode())
    headers = [] if key is None else [("authorization", f"Bearer {key}")]
    if idempotency_key is not None:
        headers.append(("idempotency-key", idempotency_key))
    return client, start(app(house, rate), client, "POST", PATH, headers)


async def asked(house: EmbeddingHouse, **options) -> Client:
    client, task = asking(house, **options)
    await task
    return client


def error_of(client: Client) -> dict:
    return json.loads(client.body)["error"]


async def test_an_answer():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(2)))
    client = await asked(house, input=["a", "b"])
    assert client.status == 200
    assert client.headers["content-type"] == "application/json"
    assert json.loads(client.body) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.0, 0.5]},
            {"object": "embedding", "index": 1, "embedding": [1.0, 0.5]},
        ],
        "model": "bandari-1",
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    }
    receipt = house.books.receipts[client.headers["x-bandari-receipt"]]
    assert receipt.amount == 5
    assert client.headers["x-request-id"] == "req_1"
    assert "x-bandari-ignored" not in client.headers


async def test_the_form_that_the_client_asks_for():
    client = await asked(EmbeddingHouse(), encoding_format="base64")
    (entry,) = json.loads(client.body)["data"]
    assert base64.b64decode(entry["embedding"]) == struct.pack("<2f", 0, 0.5)


async def test_the_usage_is_what_was_charged_whoever_counted():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(tokens=None)))
    client = await asked(house)
    assert json.loads(client.body)["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert house.books.wallet().balance == 1_000_000 - 3


async def test_who_counts_on_an_idempotency_key_is_told_that_there_is_none():
    house = EmbeddingHouse()
    client = await asked(house, idempotency_key="k")
    assert client.status == 400
    assert error_of(client)["param"] == "Idempotency-Key"
    assert house.books.log == []


async def test_what_had_no_effect_is_told():
    house = EmbeddingHouse(ScriptedEmbeddings(ignored=("truncate", "weird\nname")))
    client = await asked(house)
    assert client.headers["x-bandari-ignored"] == "truncate, weird?name"


@pytest.mark.parametrize(("models", "status"), [(("gpt-*",), 404), (("bandari-*",), 200)])
async def test_a_model_that_the_key_may_not_use_is_not_there(models, status):
    client = Client(b'{"model":"bandari-1","input":"x"}')
    headers = (("authorization", f"Bearer {KEY}"),)
    served = app(EmbeddingHouse(), policy=KeyPolicy(models=models))
    await start(served, client, "POST", PATH, headers)
    assert client.status == status


async def test_the_end_user_that_the_body_names():
    house = EmbeddingHouse()
    client = await asked(house, user="juma")
    assert house.books.receipts[client.headers["x-bandari-receipt"]].end_user == "juma"


async def test_the_limits_of_the_key_are_told_and_kept():
    client = await asked(EmbeddingHouse(), rate=1)
    assert client.headers["x-ratelimit-limit-requests"] == "1"
    house = EmbeddingHouse()
    served = app(house, rate=1)
    headers = (("authorization", f"Bearer {KEY}"),)
    body = b'{"model":"bandari-1","input":"x"}'
    statuses = []
    for _ in range(2):
        client = Client(body)
        await start(served, client, "POST", PATH, headers)
        statuses.append(client.status)
    assert statuses == [200, 429]


@pytest.mark.parametrize(
    ("options", "status", "code", "param"),
    [
        ({"key": None}, 401, "missing_api_key", None),
        ({"model": "nothing"}, 404, "model_not_found", "model"),
        ({"input": ["a", ""]}, 400, "invalid_value", "input[1]"),
        ({"dimensions": 8}, 400, "unsupported_parameter", "dimensions"),
    ],
)
async def test_a_refusal_costs_nothing(caplog, options, status, code, param):
    house = EmbeddingHouse()
    client = await asked(house, **options)
    error = error_of(client)
    assert (client.status, error["code"], error["param"]) == (status, code, param)
    assert not house.books.log
    assert not caplog.records
    assert "x-bandari-receipt" not in client.headers


async def test_a_wallet_that_is_empty():
    client = await asked(EmbeddingHouse(balance=3))
    assert (client.status, error_of(client)["code"]) == (402, "insufficient_balance")
    assert client.headers["x-should-retry"] == "false"


async def test_a_body_that_is_too_large():
    house = EmbeddingHouse()
    client = Client(b"x" * 100)
    headers = (("authorization", f"Bearer {KEY}"), ("content-length", "100"))
    await start(app(house, max_body_bytes=99), client, "POST", PATH, headers)
    assert client.status == 413


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [("upstream", 503, "upstream_overloaded"), ("books", 503, "store_unavailable")],
)
async def test_a_failure_is_told_and_has_no_receipt(what, status, code):
    failing = [UpstreamOverloaded(retry_after_ms=1500)] if what == "upstream" else []
    house = EmbeddingHouse(ScriptedEmbeddings(*failing))
    if what == "books":
        house.books.failing["post"] = [StoreUnavailable()]
    client = await asked(house)
    assert (client.status, error_of(client)["code"]) == (status, code)
    assert "x-bandari-receipt" not in client.headers
    assert house.metrics.of("problem_told")[0][0] == code
    if what == "upstream":
        assert client.headers["retry-after-ms"] == "1500"


async def test_a_client_that_leaves_is_charged_for_what_was_computed():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    client, task = asking(house)
    await gate.reached.wait()
    client.disconnect()
    gate.open()
    await task
    await until(lambda: house.books.receipts)
    (receipt,) = house.books.receipts.values()
    assert (receipt.ending, receipt.amount) == (Ending.CLIENT_LEFT, 5)
    assert not client.began


async def test_a_client_that_left_while_its_hold_was_placed_is_not_served():
    house = EmbeddingHouse()
    place = house.books.held_up("place")
    client, task = asking(house)
    await place.reached.wait()
    client.disconnect()
    place.open()
    await task
    await until_idle()
    assert len(house.books.voided) == 1
    assert not house.upstreams["acme"].asked
