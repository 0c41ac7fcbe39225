"""Answers that are kept for equal requests: who has one, who has not, and what it costs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx2 as httpx
import pytest
from tests.support.acting_upstream import PROMPT_TOKENS
from tests.support.server import Bandari, wait_until
from tests.support.stage import ACTED, CREDIT, Stage, stage
from tests.support.surfaces import (
    HELD,
    STREAMS,
    SURFACES,
    WHOLE,
    Heard,
    Script,
    ask,
    asking,
    text_of,
)

from bandari.domain.keys import KeyPolicy
from bandari.domain.recordings import CacheUse

KINDS = [(name, True) for name in STREAMS] + [(name, False) for name in WHOLE]
USE, ONLY, REFRESH, OFF = ({"x-bandari-cache": use.value} for use in CacheUse)
CONFIG = """
[models.remembered]
targets = ["stage:acted"]
cache = "use"
[models.fleeting]
targets = ["stage:acted"]
cache = "use"
cache_ttl_s = 1
[models.priced]
targets = ["stage:acted"]
[models.priced.prices.TOKEN]
input_per_million = 1000000
output_per_million = 1000000
cache_hit_per_million = 150000
"""


class House(NamedTuple):
    acted: Stage
    script: Script

    @property
    def server(self) -> Bandari:
        return self.acted.server

    def client(self, account: str, policy: KeyPolicy | None = None) -> httpx.Client:
        return self.server.client(self.server.new_key(account, CREDIT, policy=policy))


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    script = Script()
    with stage(tmp_path_factory.mktemp("cache") / "data", script.act, CONFIG) as acted:
        yield House(acted, script)


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    """A name of the test's own."""
    return "".join(char if char.isalnum() else "-" for char in request.node.name).strip("-")


@pytest.fixture
def client(house: House, account: str) -> Iterator[httpx.Client]:
    with house.client(account) as client:
        yield client


def was(heard: Heard) -> str | None:
    """What the answer says of itself: hit, miss, or nothing."""
    assert heard.status == 200, heard.body
    told = heard.headers.get("x-bandari-cache")
    assert ("age" in heard.headers) == (told == "hit")
    assert "x-bandari-receipt" in heard.headers
    return None if told is None else str(told)


@pytest.mark.parametrize(("surface", "stream"), KINDS)
def test_an_answer_from_one_surface_is_a_hit_on_all(
    house: House, account: str, client: httpx.Client, surface: str, stream: bool
) -> None:
    words = f"say 6 {account}"
    assert was(ask(client, surface, words, stream=stream, headers=USE)) == "miss"
    hits = {kind: ask(client, kind[0], words, stream=kind[1], headers=USE) for kind in KINDS}
    for (name, _), hit in hits.items():
        assert (was(hit), int(hit.headers["age"]) < 60) == ("hit", True), name
        assert hit.text(name) == text_of(6)
        assert hit.broken is None
    assert house.script.calls(words) == 1
    made, *repeated = house.server.receipts(account)
    assert len(repeated) == len({hit.receipt for hit in hits.values()}) == len(KINDS)
    assert (made["amount"], made["repeated_tokens"]) == (PROMPT_TOKENS + 6, 0)
    for receipt in repeated:
        assert (receipt["target"], receipt["ending"]) == ("cache", "completed")
        assert (receipt["input_tokens"], receipt["output_tokens"]) == (0, 0)
        assert (receipt["amount"], receipt["repeated_tokens"]) == (0, PROMPT_TOKENS + 6)
    assert house.server.wallet(account) == (CREDIT - PROMPT_TOKENS - 6, 0)


@pytest.mark.parametrize("stream", [True, False])
def test_a_hit_reads_as_the_answer_does(
    house: House, account: str, client: httpx.Client, stream: bool
) -> None:
    """Event for event, but for its id and its time; with its usage."""
    words = f"say 6 {account}"
    for name in STREAMS if stream else WHOLE:
        kind: Any = {"stream": stream}
        if stream and name in ("chat_completions", "completions", "typed_stream"):
            kind["stream_options"] = {"include_usage": True}
        ask(client, name, words, headers=REFRESH, **kind)
        hit = ask(client, name, words, headers=ONLY, **kind)
        fresh = ask(client, name, words, headers=OFF, **kind)
        assert was(hit) == "hit"
        assert shape(hit) == shape(fresh)
        assert str(PROMPT_TOKENS + 6).encode() in hit.body or name == "messages"


def shape(heard: Heard) -> Any:
    """All that is said, without ids and times."""

    def bare(value: Any, name: str = "") -> Any:
        if name in ("id", "item_id", "created", "created_at", "completed_at"):
            return name
        if isinstance(value, dict):
            # At its start a message that is generated can only estimate its prompt's tokens.
            value = {key: item for key, item in value.items() if key != "input_tokens"}
            return {key: bare(item, key) for key, item in value.items()}
        return [bare(item) for item in value] if isinstance(value, list) else value

    if heard.headers["content-type"].startswith("application/json"):
        return bare(json.loads(heard.body))
    lines = b"".join(heard.events).decode().splitlines()
    datas = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    others = [line for line in lines if not line.startswith("data: {")]
    return [bare(json.loads(data)) for data in datas], others


@pytest.mark.parametrize(("surface", "stream"), KINDS)
def test_what_a_request_may_say(
    house: House, account: str, client: httpx.Client, surface: str, stream: bool
) -> None:
    words = f"say 6 {account}"

    def asked(headers: dict[str, str]) -> Heard:
        return ask(client, surface, words, stream=stream, headers=headers)

    missing = asked(ONLY)
    assert missing.status == 404
    if surface != "messages":
        assert missing.error["code"] == "not_cached"
    assert house.server.receipts(account) == []
    assert [was(asked(headers)) for headers in (OFF, {})] == [None, None]
    assert [was(asked(headers)) for headers in (USE, USE, ONLY)] == ["miss", "hit", "hit"]
    assert house.script.calls(words) == 3
    assert [was(asked(headers)) for headers in (REFRESH, USE, OFF)] == ["miss", "hit", None]
    assert house.script.calls(words) == 5
    strange = asked({"x-bandari-cache": "perhaps"})
    assert strange.status == 400
    assert "x-bandari-cache" in strange.error["message"]


SAME = [
    {"stream": True, "stream_options": {"include_usage": True}},
    {"temperature": None, "n": 1},
    {"stop": None, "seed": None},
]
OTHER = [
    {"temperature": 0.5},
    {"temperature": 0},
    {"seed": 7},
    {"top_p": 0.5},
    {"max_tokens": 499},
    {"n": 2},
    {"stop": ["zzz"]},
    {"response_format": {"type": "json_object"}},
    {"tools": [{"type": "function", "function": {"name": "f"}}]},
    {"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "say 6 other"}]},
    {"model": "remembered"},
]


def test_what_matters_and_what_does_not(house: House, account: str, client: httpx.Client) -> None:
    words = "say 6 other"
    path, plain = SURFACES["chat_completions"].path, asking("chat_completions", words, stream=False)

    headers = USE | {"content-type": "application/json"}

    def asked(body: dict[str, Any]) -> str:
        answer = client.post(path, content=spelled(body), headers=headers)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-bandari-cache"])

    def spelled(body: dict[str, Any]) -> str:
        """Another spelling of the same: fields the other way round, and room between."""
        return json.dumps(dict(reversed(body.items())), indent=3)

    assert was(ask(client, "chat_completions", words, stream=False, headers=USE)) == "miss"
    assert [asked(plain | more) for more in ({}, *SAME)] == ["hit"] * (1 + len(SAME))
    assert [asked(plain | more) for more in OTHER] == ["miss"] * len(OTHER)
    assert [asked(plain | more) for more in OTHER] == ["hit"] * len(OTHER)
    assert house.script.calls(words) == 1 + len(OTHER)


def test_nobody_has_anybody_elses(house: House, account: str, client: httpx.Client) -> None:
    """Neither another account's nor another end user's; another key of the account does."""
    words = f"say 6 {account}"

    def asked(by: httpx.Client, **more: str) -> str | None:
        return was(ask(by, "chat_completions", words, headers=USE | more))

    on_behalf = {"x-on-behalf-of": "amina"}
    with house.client(f"{account}-other") as other:
        assert [asked(client), asked(other)] == ["miss", "miss"]
        assert [asked(client, **on_behalf), asked(client, **on_behalf)] == ["miss", "hit"]
        named = ask(client, "responses", words, headers=USE, user="amina")
        assert was(named) == "hit"
        assert [asked(client), asked(other)] == ["hit", "hit"]
    second = house.server.cli("key", "create", account).stdout.strip()
    with house.server.client(second) as sister:
        assert asked(sister) == "hit"


def test_it_expires(house: House, account: str, client: httpx.Client) -> None:
    words = f"say 6 {account}"

    def asked(headers: dict[str, str]) -> Heard:
        return ask(client, "chat_completions", words, headers=headers, model="fleeting")

    assert [was(asked({})), was(asked({}))] == ["miss", "hit"]
    wait_until(lambda: asked(ONLY).status == 404, 5, "the end of the answer's time")
    assert was(asked({})) == "miss"
    longer = KeyPolicy(cache_ttl_s=60)
    with house.client(f"{account}-longer", longer) as patient:
        options: Any = {"model": "fleeting", "headers": {}}
        assert was(ask(patient, "chat_completions", words, **options)) == "miss"

        def age() -> int:
            hit = ask(patient, "chat_completions", words, **options)
            assert was(hit) == "hit"
            return int(hit.headers["age"])

        wait_until(lambda: age() >= 2, 5, "an older answer")


@pytest.mark.parametrize("surface", STREAMS)
def test_a_stampede_is_one_answer(
    house: House, account: str, client: httpx.Client, surface: str
) -> None:
    """The first of them at that surface, the rest at all of them, in both modes."""
    words, many = f"wait {account}", 50
    kinds = [(surface, True), *KINDS] * many

    def one(number: int) -> Heard:
        name, stream = kinds[number]
        return ask(client, name, words, stream=stream, headers=USE)

    with ThreadPoolExecutor(many) as pool:
        answers = [pool.submit(one, number) for number in range(many)]
        wait_until(lambda: house.script.calls(words), what="the provider's answer")
        house.script.gates[account].set()
        heard = [answer.result(30) for answer in answers]
    assert Counter(map(was, heard)) == {"miss": 1, "hit": many - 1}
    assert {answer.text(kinds[number][0]) for number, answer in enumerate(heard)} == {text_of(HELD)}
    assert house.script.calls(words) == 1
    receipts = house.server.receipts(account)
    assert len(receipts) == many
    assert [row["repeated_tokens"] for row in receipts].count(0) == 1
    assert house.server.wallet(account) == (CREDIT - PROMPT_TOKENS - HELD, 0)


def test_where_the_first_of_a_stampede_fails_the_next_goes_on(
    house: House, account: str, client: httpx.Client
) -> None:
    words, many = f"flaky {account}", 20
    with ThreadPoolExecutor(many) as pool:
        asked = [
            pool.submit(ask, client, "chat_completions", words, headers=USE) for _ in range(many)
        ]
        wait_until(lambda: house.script.calls(words), what="the provider's answer")
        house.script.gates[account].set()
        heard = [answer.result(30) for answer in asked]
    assert Counter(answer.status for answer in heard) == {200: many - 1, 503: 1}
    made = [was(answer) for answer in heard if answer.status == 200]
    assert Counter(made) == {"miss": 1, "hit": many - 2}
    assert house.script.calls(words) == 2


def test_a_hit_may_have_a_price(house: House, account: str, client: httpx.Client) -> None:
    words, tokens = f"say 10 {account}", PROMPT_TOKENS + 10
    for expected in ("miss", "hit", "hit"):
        heard = ask(client, "messages", words, headers=USE, model="priced")
        assert was(heard) == expected
    amounts = [row["amount"] for row in house.server.receipts(account)]
    assert amounts == [tokens, 3, 3]
    assert house.server.wallet(account) == (CREDIT - tokens - 6, 0)


def test_a_hit_that_the_wallet_does_not_cover_is_refused(
    house: House, account: str, client: httpx.Client
) -> None:
    words = f"say 10 {account}"
    assert was(ask(client, "chat_completions", words, headers=USE, model="priced")) == "miss"
    too_much = CREDIT - PROMPT_TOKENS - 10 - 2
    house.server.cli("account", "adjust", account, f"-{too_much}", "--why", "test")
    assert house.server.wallet(account) == (2, 0)
    refused = ask(client, "chat_completions", words, headers=USE, model="priced")
    assert refused.status == 402
    assert len(house.server.receipts(account)) == 1


@pytest.mark.parametrize("words", ["break", "hold"])
def test_what_is_no_whole_answer_is_not_kept(
    house: House, account: str, client: httpx.Client, words: str
) -> None:
    """One that fails, and one whose client leaves."""
    name = "chat_completions"
    question = f"{words} {account}"
    ask(client, name, question, headers=USE, leave_after=3 if words == "hold" else None)
    wait_until(lambda: house.server.receipts(account), what="the end of the answer")
    assert ask(client, name, question, headers=ONLY).status == 404


def test_keys_and_models_say_what_requests_do_not(house: House, account: str) -> None:
    words = f"say 6 {account}"
    cases: list[tuple[KeyPolicy | None, str, list[str | None]]] = [
        (None, ACTED, [None, None]),
        (None, "remembered", ["miss", "hit"]),
        (KeyPolicy(cache=CacheUse.USE), ACTED, ["miss", "hit"]),
        (KeyPolicy(cache=CacheUse.OFF), "remembered", [None, None]),
        (KeyPolicy(cache=CacheUse.REFRESH), ACTED, ["miss", "miss"]),
    ]
    for number, (policy, model, expected) in enumerate(cases):
        with house.client(f"{account}-{number}", policy) as client:
            for says in expected:
                heard = ask(client, "chat_completions", words, model=model)
                assert was(heard) == says, (policy, model)
            assert was(ask(client, "chat_completions", words, model=model, headers=OFF)) is None
