"""What a key may be used for and where, who it is used for, and who is not listened to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.client import Client, request
from tests.support.key_ring import PREFIX, a_key
from tests.support.samples import a_model
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer
from tests.support.small_house import SmallHouse

from bandari.domain import keys
from bandari.domain.accounts import AccountPolicy, EndUserTerms
from bandari.domain.catalogue import EMBEDDING, Group
from bandari.domain.keys import KeyPolicy, Scope
from bandari.service.guesses import AT_ONCE

MESSAGES = [{"role": "user", "content": "Habari?"}]
ANTHROPIC = (("anthropic-version", "2023-06-01"),)

Call = tuple[str, dict[str, Any], tuple[tuple[str, str], ...]]
CALLS: dict[str, Call] = {
    "chat": ("/v1/chat/completions", {"messages": MESSAGES}, ()),
    "mka1": ("/api/v1/llm/chat/completions", {"messages": MESSAGES}, ()),
    "completions": ("/v1/completions", {"prompt": "Habari?"}, ()),
    "messages": ("/v1/messages", {"messages": MESSAGES, "max_tokens": 9}, ANTHROPIC),
    "hybrid": ("/v1/messages", {"messages": MESSAGES}, ()),
    "count": ("/v1/messages/count_tokens", {"messages": MESSAGES}, ANTHROPIC),
    "responses": ("/v1/responses", {"input": "Habari?"}, ()),
    "compact": ("/v1/responses/compact", {"input": "Habari?"}, ()),
    "typed": ("/api/v1/llm/chat/completions/stream", {"messages": MESSAGES}, ()),
    "embeddings": ("/v1/embeddings", {"input": "Habari?"}, ()),
}
SCOPES = {
    "chat": Scope.CHAT_COMPLETIONS,
    "mka1": Scope.CHAT_COMPLETIONS,
    "completions": Scope.COMPLETIONS,
    "messages": Scope.MESSAGES,
    "hybrid": Scope.MESSAGES,
    "count": Scope.MESSAGES,
    "responses": Scope.RESPONSES,
    "compact": Scope.RESPONSES,
    "typed": Scope.TYPED_STREAM,
    "embeddings": Scope.EMBEDDINGS,
}
STORED = [
    ("GET", "/v1/responses/resp_1"),
    ("DELETE", "/v1/responses/resp_1"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("GET", "/v1/responses/resp_1/input_items"),
]


class Door:
    """A house and the one key to it, of which each test says what it may."""

    def __init__(self, front, key: str, **options: Any) -> None:
        scripts = [Script(*answer("Nzuri.")) for _ in range(20)]
        self.house = SmallHouse(ScriptedUpstream(*scripts), **options)
        self.front = front(self.house)
        self.key = key

    def may(self, policy: KeyPolicy | None = None, **options: Any) -> Door:
        self.front.ring.add(policy=policy or KeyPolicy(), **options)
        self.front.ring.asked.clear()
        return self

    async def ask(self, name: str, *headers: tuple[str, str], **fields: Any) -> Client:
        path, body, own = CALLS[name]
        body = {"model": "bandari-1"} | body | fields
        headers = (("authorization", f"Bearer {self.key}"), *own, *headers)
        return await self.send("POST", path, *headers, body=json.dumps(body).encode())

    async def send(self, method: str, path: str, *headers: tuple[str, str], body: bytes = b""):
        return await request(self.front.app, method, path, headers=headers, body=body)

    async def get(self, path: str, *headers: tuple[str, str]) -> Client:
        return await self.send("GET", path, ("authorization", f"Bearer {self.key}"), *headers)

    @property
    def served_for(self) -> list[str | None]:
        """For which end user each answer was charged."""
        return [receipt.end_user for receipt in self.house.books.receipts.values()]


@pytest.fixture
def door(front, key):
    return Door(front, key)


def error_of(client: Client) -> dict[str, Any]:
    return json.loads(client.body)["error"]


# -- scopes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
async def test_a_key_is_refused_where_it_has_no_scope_in_the_surfaces_protocol(door, name):
    others = tuple(scope for scope in Scope if scope is not SCOPES[name])
    client = await door.may(KeyPolicy(scopes=others)).ask(name)
    assert client.status == 403
    told = json.loads(client.body)
    error = told.get("error", told)
    assert error["message"].startswith(f"This API key may not be used for {SCOPES[name]}: ")
    assert all(scope in error["message"] for scope in others)
    if name in ("messages", "count"):
        assert (told["type"], error["type"]) == ("error", "permission_error")
    elif name == "typed":
        assert told["code"] == "FORBIDDEN"
    else:
        assert (error["code"], error["type"]) == ("scope_not_allowed", "permission_error")
    assert not door.house.books.log


@pytest.mark.parametrize("name", [name for name in CALLS if name != "embeddings"])
async def test_a_key_with_just_the_scope_is_served(door, name):
    client = await door.may(KeyPolicy(scopes=(SCOPES[name],))).ask(name)
    assert client.status == 200


async def test_a_key_with_no_scope_at_all_says_so(door):
    client = await door.may(KeyPolicy(scopes=())).ask("chat")
    assert error_of(client)["message"] == (
        "This API key may not be used for chat_completions: it may be used for nothing."
    )


@pytest.mark.parametrize(("method", "path"), STORED)
async def test_stored_responses_need_the_scope_of_responses(door, method, path):
    header = ("authorization", f"Bearer {door.key}")
    door.may(KeyPolicy(scopes=(Scope.CHAT_COMPLETIONS,)))
    client = await door.send(method, path, header)
    assert (client.status, error_of(client)["code"]) == (403, "scope_not_allowed")
    door.house.clock.pass_ms(1000)
    door.may(KeyPolicy(scopes=(Scope.RESPONSES,)))
    assert (await door.send(method, path, header)).status == 404


async def test_models_are_for_every_key(door):
    door.may(KeyPolicy(scopes=()))
    assert (await door.get("/v1/models")).status == 200


# -- models ---------------------------------------------------------------------------------------

ALL = [
    a_model(id="gpt-4o", aliases=("best",)),
    a_model(id="gpt-4o-mini"),
    a_model(id="claude-5"),
    a_model(id="gpt-embed", endpoints=EMBEDDING),
]


@pytest.fixture
def catalogue(door):
    door.house.models.replace(ALL)
    return door


@pytest.mark.parametrize("of", ["key", "group"])
async def test_only_what_key_and_group_may_use_is_listed(catalogue, of):
    if of == "group":
        catalogue.front.groups.replace({"default": Group(name="default", models=("gpt-4o*",))})
        catalogue.may()
    else:
        catalogue.may(KeyPolicy(models=("gpt-4o*",)))
    told = json.loads((await catalogue.get("/v1/models")).body)
    assert [model["id"] for model in told["data"]] == ["gpt-4o", "gpt-4o-mini"]
    told = json.loads((await catalogue.get("/v1/models", *ANTHROPIC)).body)
    assert [model["id"] for model in told["data"]] == ["gpt-4o", "gpt-4o-mini"]


async def test_both_have_to_allow_it(catalogue):
    catalogue.front.groups.replace({"default": Group(name="default", models=("gpt-4o*",))})
    catalogue.may(KeyPolicy(models=("*-mini", "claude-5")))
    told = json.loads((await catalogue.get("/v1/models")).body)
    assert [model["id"] for model in told["data"]] == ["gpt-4o-mini"]


@pytest.mark.parametrize("name", CALLS)
async def test_a_model_that_may_not_be_used_is_as_good_as_none(catalogue, name):
    catalogue.may(KeyPolicy(models=("claude-*",)))
    forbidden = await catalogue.ask(name, model="gpt-4o")
    catalogue.house.models.replace([model for model in ALL if model.id != "gpt-4o"])
    missing = await catalogue.ask(name, model="gpt-4o")
    assert forbidden.status == missing.status == 404
    assert forbidden.body == missing.body
    assert b"gpt-4o-mini" not in forbidden.body


@pytest.mark.parametrize("headers", [(), ANTHROPIC])
async def test_nor_is_it_found_by_its_id_or_by_an_alias(catalogue, headers):
    catalogue.may(KeyPolicy(models=("claude-*",)))
    for name in ("gpt-4o", "best"):
        assert (await catalogue.get(f"/v1/models/{name}", *headers)).status == 404
    assert (await catalogue.get("/v1/models/claude-5", *headers)).status == 200


async def test_hints_name_only_what_may_be_used(catalogue):
    catalogue.may(KeyPolicy(models=("gpt-4o",)))
    message = error_of(await catalogue.ask("chat", model="gpt-4o-min"))["message"]
    assert "Did you mean 'gpt-4o'?" in message


async def test_an_alias_is_allowed_if_the_public_id_is(catalogue):
    catalogue.may(KeyPolicy(models=("gpt-4o",)))
    assert (await catalogue.ask("chat", model="best")).status == 200
    catalogue.house.clock.pass_ms(1000)
    catalogue.may(KeyPolicy(models=("best",)))
    assert (await catalogue.ask("chat", model="best")).status == 404


async def test_latencies_are_told_and_the_list_can_be_in_their_order(catalogue):
    catalogue.may()
    catalogue.front.latencies.observe("gpt-4o", 0.5)
    catalogue.front.latencies.observe("claude-5", 0.25)
    told = json.loads((await catalogue.get("/v1/models/gpt-4o")).body)
    assert told["latency_ms"] == 500
    client = await request(
        catalogue.front.app,
        "GET",
        "/v1/models",
        headers=[("authorization", f"Bearer {catalogue.key}")],
        query="sort=latency",
    )
    told = json.loads(client.body)["data"]
    assert [(model["id"], model["latency_ms"]) for model in told][:3] == [
        ("claude-5", 250),
        ("gpt-4o", 500),
        ("gpt-4o-mini", None),
    ]


async def test_an_order_that_there_is_not(catalogue):
    header = [("authorization", f"Bearer {catalogue.key}")]
    app = catalogue.front.app
    client = await request(app, "GET", "/v1/models", headers=header, query="sort=price")
    assert (client.status, error_of(client)["param"]) == (400, "sort")
    # Anthropic's list knows no order.
    client = await request(
        app, "GET", "/v1/models", headers=[*header, *ANTHROPIC], query="sort=price"
    )
    assert client.status == 200


# -- end users ------------------------------------------------------------------------------------

GENERATING = [name for name in CALLS if name not in ("count", "embeddings")]
NAMING = {"messages": {"metadata": {"user_id": "juma"}}}


@pytest.mark.parametrize("name", GENERATING)
async def test_the_body_names_the_end_user_where_no_header_does(door, name):
    naming = NAMING.get(name, {"user": "juma"})
    client = await door.ask(name, **naming)
    assert client.status == 200
    client = await door.ask(name, ("x-on-behalf-of", "asha"), **naming)
    assert client.status == 200
    assert door.served_for == ["juma", "asha"]


@pytest.mark.parametrize("name", ["chat", "typed", "responses", "hybrid"])
async def test_a_safety_identifier_names_one_where_user_does_not(door, name):
    await door.ask(name, safety_identifier="juma")
    await door.ask(name, safety_identifier="asha", user="juma")
    assert door.served_for == ["juma", "juma"]


async def test_what_runs_in_the_background_has_its_end_user_too(door):
    client = await door.ask("responses", background=True, user="juma")
    assert client.status == 200
    stored = door.front.stored.kept.values()
    assert [response.end_user for response in stored] == ["juma"]


@pytest.mark.parametrize("name", GENERATING)
async def test_where_the_account_says_no_the_body_names_nobody(door, name):
    door.may(account_policy=AccountPolicy(names_end_users=False))
    naming = NAMING.get(name, {"user": "juma"})
    await door.ask(name, **naming)
    await door.ask(name, ("x-on-behalf-of", "asha"), **naming)
    assert door.served_for == [None, "asha"]


@pytest.mark.parametrize("name", GENERATING)
async def test_no_user_or_an_empty_one_is_nobody(door, name):
    await door.ask(name)
    await door.ask(name, **({"metadata": {"user_id": ""}} if name == "messages" else {"user": ""}))
    assert door.served_for == [None, None]
    assert all(isinstance(asked, bytes) for asked in door.front.ring.asked)


async def test_the_store_is_asked_for_an_end_users_terms_where_there_are_some(door):
    door.may(has_end_users=True)
    door.front.ring.terms[1, "juma"] = EndUserTerms()
    await door.ask("chat", user="juma")
    await door.ask("chat", ("x-on-behalf-of", "juma"))
    assert door.front.ring.asked[1:] == [(1, "juma")]


@pytest.mark.parametrize(
    ("name", "naming", "param"),
    [
        ("chat", {"user": "a\u2028b"}, "user"),
        ("responses", {"user": "a\u2028b"}, "user"),
        ("chat", {"user": "x" * 513}, "user"),
        ("chat", {"safety_identifier": "x" * 513}, "safety_identifier"),
        ("responses", {"safety_identifier": "x" * 513}, "safety_identifier"),
        ("embeddings", {"user": "x" * 513}, "user"),
    ],
)
async def test_an_end_user_that_cannot_be_kept(door, name, naming, param):
    client = await door.ask(name, **naming)
    assert (client.status, error_of(client)["param"]) == (400, param)
    assert not door.house.books.log


async def test_nor_one_in_messages_which_calls_it_otherwise(door):
    client = await door.ask("messages", metadata={"user_id": "a\u2028b"})
    assert client.status == 400
    assert error_of(client)["message"].startswith("'metadata.user_id' must be a name of at most")


# -- keys that do not open, and guesses -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"key": a_key(revoked_ms=1)}, 401, "revoked_api_key"),
        ({"is_former": True}, 401, "revoked_api_key"),
        ({"policy": KeyPolicy(expires_ms=1)}, 401, "expired_api_key"),
        ({"account_policy": AccountPolicy(is_suspended=True)}, 403, "account_suspended"),
        ({"policy": KeyPolicy(networks=("10.0.0.0/8",))}, 403, "network_not_allowed"),
    ],
)
async def test_why_a_key_does_not_open(door, options, status, code):
    door.front.ring.add(**options)
    client = await door.ask("chat")
    assert (client.status, error_of(client)["code"]) == (status, code)
    kind = "authentication_error" if status == 401 else "permission_error"
    assert error_of(client)["type"] == kind
    assert not door.house.books.log


async def test_who_guesses_is_told_to_wait_and_who_has_a_good_key_is_served(door):
    assert (await door.ask("chat")).status == 200
    statuses = []
    for number in range(AT_ONCE + 2):
        guess = keys.spell(PREFIX, number.to_bytes(32, "big"))
        client = await door.send("GET", "/v1/models", ("authorization", f"Bearer {guess}"))
        statuses.append(client.status)
    assert statuses == [401] * AT_ONCE + [429] * 2
    assert error_of(client)["code"] == "too_many_failed_attempts"
    assert (client.headers["retry-after"], client.headers["x-should-retry"]) == ("3", "true")
    assert len(door.house.metrics.of("guess_refused")) == 2
    assert (await door.ask("chat")).status == 200


async def test_a_header_that_holds_no_key_is_a_failed_attempt_and_an_empty_one_is_not(door):
    for _ in range(AT_ONCE + 1):
        client = await door.send("GET", "/v1/models", ("authorization", "Bearer "))
        assert client.status == 401
    for _ in range(AT_ONCE):
        await door.send("GET", "/v1/models", ("authorization", "Basic abc"))
    client = await door.send("GET", "/v1/models", ("authorization", "Basic abc"))
    assert client.status == 429


async def test_a_key_may_be_used_from_its_networks(door):
    door.may(KeyPolicy(networks=("198.51.100.0/24",)))
    for source, status in (("198.51.100.7", 200), ("203.0.113.9", 403)):
        client = Client()
        headers = [("authorization", f"Bearer {door.key}")]
        await door.front.app(client.exchange("GET", "/v1/models", headers, source=source))
        assert client.status == status
