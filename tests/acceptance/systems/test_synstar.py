"""SynStar AI, as documented: a gateway in front of many models, with groups and quotas of keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2 as httpx
import pytest
from tests.support.chat import PATH
from tests.support.server import Bandari
from tests.support.systems import curl, system, text_of

MODEL = "gpt-4o"
DOCUMENTED: dict[str, Any] = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Say this is a test!"},
    ],
}
RIGHT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def synstar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    with system("synstar", tmp_path_factory.mktemp("systems")) as server:
        server.cli("account", "create", "wakala")
        server.cli("account", "credit", "wakala", "1000000")
        yield server


def new_key(synstar: Bandari, *options: str) -> str:
    return synstar.cli("key", "create", "wakala", *options).stdout.strip()


@pytest.fixture(scope="module")
def key(synstar: Bandari) -> str:
    return new_key(synstar)


@pytest.fixture
def client(synstar: Bandari, key: str) -> Iterator[httpx.Client]:
    with synstar.client(key) as client:
        yield client


def test_the_documented_request(synstar: Bandari, key: str) -> None:
    headers = ("-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json")
    answer = curl(synstar.url + PATH, *headers, "-d", json.dumps(DOCUMENTED))
    assert answer.status == 200
    assert set(answer.body) >= {"id", "object", "created", "model", "usage", "choices"}
    assert "This is a test!" in answer.body["choices"][0]["message"]["content"]
    stream = curl(synstar.url + PATH, *headers, "-d", json.dumps(DOCUMENTED | {"stream": True}))
    assert "This is a test!" in text_of(stream.chunks)
    assert stream.events[-1] == "data: [DONE]"


def test_content_is_a_string_or_parts(client: httpx.Client) -> None:
    parts = [{"type": "text", "text": "Say this "}, {"type": "text", "text": "is a test!"}]
    messages = [DOCUMENTED["messages"][0], {"role": "user", "content": parts}]
    answer = client.post(PATH, json=DOCUMENTED | {"messages": messages})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "url", ["https://example.com/cat.png", "data:image/png;base64,iVBORw0KGgo="]
)
def test_a_model_without_eyes_says_so(client: httpx.Client, url: str) -> None:
    """The model in the box cannot see; what is sent to a provider that can is another test's."""
    image = {"type": "image_url", "image_url": {"url": url}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}]
    answer = client.post(PATH, json=DOCUMENTED | {"messages": messages})
    assert 400 <= answer.status_code < 500, answer.text
    assert "image" in answer.json()["error"]["message"]
    assert "x-bandari-receipt" not in answer.headers


def test_the_list_of_models(synstar: Bandari, client: httpx.Client) -> None:
    listed = [entry["id"] for entry in client.get("/v1/models").json()["data"]]
    assert listed == ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-20250514"]
    with synstar.client(new_key(synstar, "--group", "trial")) as trial:
        assert [entry["id"] for entry in trial.get("/v1/models").json()["data"]] == ["gpt-4o-mini"]
        assert trial.get("/v1/models/gpt-4o").status_code == 404


def test_a_missing_key(synstar: Bandari) -> None:
    answer = curl(synstar.url + PATH, "-d", json.dumps(DOCUMENTED))
    assert (answer.status, answer.body["error"]["code"]) == (401, "missing_api_key")
    assert "Authorization: Bearer" in answer.body["error"]["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/chat/completions",
        "/v1/v1/chat/completions",
        "/v1/chat/completions/",
        "//v1/chat/completions",
        "/openai/v1/chat/completions",
        "/v1/Chat/Completions",
        "/v1/chat/completion",
    ],
)
@pytest.mark.parametrize("with_key", [True, False])
def test_a_wrong_base_url(synstar: Bandari, key: str, path: str, with_key: bool) -> None:
    """A wrong URL is told the right one, whether the key is right or missing."""
    headers = ("-H", f"Authorization: Bearer {key}") if with_key else ()
    answer = curl(synstar.url + path, "--path-as-is", *headers, "-d", json.dumps(DOCUMENTED))
    assert answer.status == 404
    assert f"{RIGHT}" in answer.body["error"]["message"]
    assert "/v1" in answer.body["error"]["message"].split("base URL")[1]


def test_get_on_a_post_route(synstar: Bandari, key: str) -> None:
    answer = curl(synstar.url + PATH, "-H", f"Authorization: Bearer {key}")
    assert answer.status == 405
    assert answer.headers["allow"] == "post"
    assert f"POST {RIGHT}" in answer.body["error"]["message"]


def test_an_invalid_model_id_names_the_nearest_that_the_key_may_use(
    synstar: Bandari, client: httpx.Client
) -> None:
    error = client.post(PATH, json=DOCUMENTED | {"model": "gpt-4"}).json()["error"]
    assert error["code"] == "model_not_found"
    assert "'gpt-4o'" in error["message"]
    with synstar.client(new_key(synstar, "--group", "trial")) as trial:
        for model in ("gpt-4", "gpt-4o"):
            answer = trial.post(PATH, json=DOCUMENTED | {"model": model})
            message = answer.json()["error"]["message"]
            assert answer.status_code == 404
            assert "'gpt-4o-mini'" in message
            assert "'gpt-4o'" not in message.split("Did you mean")[1]


def test_balance_quota_and_group_are_told_apart(synstar: Bandari) -> None:
    poor = synstar.new_key("maskini", 1)
    short = new_key(synstar, "--quota", "5")
    narrow = new_key(synstar, "--group", "trial")
    told = {}
    for name, key in (("balance", poor), ("quota", short), ("group", narrow)):
        with synstar.client(key) as client:
            answer = client.post(PATH, json=DOCUMENTED)
        error = answer.json()["error"]
        told[name] = (answer.status_code, error["code"])
        assert answer.headers.get("x-should-retry") in (None, "false")
    assert told == {
        "balance": (402, "insufficient_balance"),
        "quota": (429, "insufficient_quota"),
        "group": (404, "model_not_found"),
    }


def test_a_keys_quota_is_used_up_to_the_token(synstar: Bandari) -> None:
    with synstar.client(new_key(synstar, "--quota", "300")) as client:
        used = 0
        for _ in range(30):
            answer = client.post(PATH, json=DOCUMENTED | {"max_tokens": 20})
            if answer.status_code != 200:
                break
            used += answer.json()["usage"]["total_tokens"]
        assert answer.json()["error"]["code"] == "insufficient_quota"
        assert "key" in answer.json()["error"]["message"]
        quota = client.get("/v1/balance").json()["key"]["quota"]["lifetime"]
    assert quota == {"limit": 300, "used": used, "remaining": 300 - used}


def test_a_groups_price_ratio(synstar: Bandari) -> None:
    with synstar.client(new_key(synstar, "--group", "partner")) as client:
        answer = client.post(PATH, json=DOCUMENTED)
        total = answer.json()["usage"]["total_tokens"]
        receipt = client.get(f"/v1/receipts/{answer.headers['x-bandari-receipt']}").json()
    assert receipt["price_ratio"] == "4/5"
    assert receipt["amount"] == (total * 8 + 5) // 10, "half a unit or more rounds up"


def test_the_dashboards_figures(client: httpx.Client) -> None:
    seen = client.get("/v1/balance").json()
    (wallet,) = seen["wallets"]
    assert (wallet["asset"], wallet["held"]) == ("TOKEN", 0)
    assert wallet["free"] == wallet["balance"] - wallet["held"]
    assert seen["key"]["group"] == "default"
