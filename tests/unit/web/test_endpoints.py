"""Keys, the list of models, and what operators ask."""

from __future__ import annotations

import json

import pytest
from tests.support.client import request
from tests.support.samples import a_model
from tests.support.small_house import SmallHouse

from bandari.domain import keys


async def get(made, path: str, authorization: str | None):
    headers = [] if authorization is None else [("authorization", authorization)]
    return await request(made.app, "GET", path, headers=headers)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER   "])
async def test_a_key_is_read_from_its_header(front, key, scheme):
    assert (await get(front(SmallHouse()), "/v1/models", scheme + key)).status == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        ("", "malformed_api_key"),
        ("Bearer", "malformed_api_key"),
        ("Bearer  ", "malformed_api_key"),
        ("Basic {key}", "malformed_api_key"),
        ("{key}", "malformed_api_key"),
        ("Bearer {key}x", "malformed_api_key"),
        ("Bearer " + "x" * 300, "malformed_api_key"),
        ("Bearer é", "malformed_api_key"),
        ("Bearer {other}", "invalid_api_key"),
    ],
)
async def test_a_key_that_is_none(front, key, header, code):
    other = keys.spell("bd_test_", b"o" * 32)
    text = header and header.replace("{key}", key).replace("{other}", other)
    for path in ("/v1/models", "/v1/models/bandari-1"):
        client = await get(front(SmallHouse()), path, text)
        assert client.status == 401
        assert client.headers["www-authenticate"] == "Bearer"
        error = json.loads(client.body)["error"]
        assert (error["code"], error["type"]) == (code, "authentication_error")
        assert key not in error["message"]


async def test_a_key_may_come_in_anthropics_header(front, key):
    app = front(SmallHouse()).app
    for given, status in ((key, 200), (key + "x", 401), ("", 401), ("x" * 300, 401)):
        client = await request(app, "GET", "/v1/models", headers=[("x-api-key", given)])
        assert client.status == status
    headers = [("authorization", f"Bearer {key}"), ("x-api-key", "another's")]
    assert (await request(app, "GET", "/v1/models", headers=headers)).status == 200


async def test_models_are_listed(front, key):
    client = await get(front(SmallHouse()), "/v1/models", f"Bearer {key}")
    listed = json.loads(client.body)
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["bandari-1"]
    assert listed["data"][0]["created"] == 1_700_000_000


@pytest.mark.parametrize("name", ["bandari-1", "fikra", "acme/llama:70b", "a%41"])
async def test_one_model_is_found_by_any_of_its_names(front, key, name):
    model = a_model(aliases=("fikra", "acme/llama:70b", "a%41"))
    client = await get(front(SmallHouse(model=model)), f"/v1/models/{name}", f"Bearer {key}")
    assert json.loads(client.body)["id"] == "bandari-1"


async def test_a_model_that_is_not_there(front, key):
    client = await get(front(SmallHouse()), "/v1/models/bandari-2", f"Bearer {key}")
    assert client.status == 404
    error = json.loads(client.body)["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "'bandari-1'" in error["message"]


async def test_alive_ready_and_metrics(front):
    made = front(SmallHouse())
    assert (await get(made, "/healthz", None)).body == b'{"status":"ok"}'
    client = await get(made, "/readyz", None)
    assert (client.status, client.body) == (200, b'{"status":"ready"}')
    made.obstacles.append("the engine is starting")
    client = await get(made, "/readyz", None)
    assert client.status == 503
    assert json.loads(client.body) == {
        "status": "not ready",
        "because": ["the engine is starting"],
    }
    assert (await get(made, "/healthz", None)).status == 200
    client = await get(made, "/metrics", None)
    assert client.body == b"# metrics\n"
    assert client.headers["content-type"].startswith("text/plain; version=0.0.4")
