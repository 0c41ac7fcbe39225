"""What is left of limits, in headers: as each protocol's SDKs read them, and of all surfaces."""

from __future__ import annotations

import json

import pytest
from tests.support.client import Client, start
from tests.support.gates import Gate, until
from tests.support.key_ring import KEY
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer
from tests.support.small_house import SmallHouse

from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits, Quota
from bandari.domain.keys import KeyPolicy
from bandari.domain.outcome import Allow, Deny, Reason, Standing
from bandari.web.limit_headers import duration, tell_limits
from bandari.web.surface import CHAT_COMPLETIONS, MESSAGES

REQUESTS = Standing("key.requests_per_minute", 60, 59, 1000)
TOKENS = Standing("account.tokens_per_day", 10_000, 0, 5_400_001)


class Told:
    """As much of an exchange as headers need."""

    def __init__(self, surface=CHAT_COMPLETIONS) -> None:
        self.spell = surface.spell
        self.headers: list[tuple[bytes, bytes]] = [(b"x-request-id", b"req_1")]


def told(outcome, surface=CHAT_COMPLETIONS, now_s: float = 1_700_000_000) -> dict[str, str]:
    exchange = Told(surface)
    tell_limits(exchange, outcome, now_s)
    assert exchange.headers.pop(0) == (b"x-request-id", b"req_1")
    names = [name for name, _ in exchange.headers]
    assert len(names) == len(set(names)), "a header is told once"
    return {name.decode(): value.decode() for name, value in exchange.headers}


def test_nothing_is_told_where_nothing_is_limited():
    assert told(Allow()) == {}
    assert told(Deny(Reason.INSUFFICIENT_BALANCE, "No money.")) == {}


def test_what_is_left_as_openais_clients_read_it():
    assert told(Allow(REQUESTS, TOKENS)) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "10000",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "1h30m0.001s",
    }


def test_what_is_left_as_anthropics_clients_read_it():
    headers = told(Allow(REQUESTS, TOKENS), MESSAGES)
    assert headers["x-ratelimit-limit-tokens"] == "10000"
    assert {name: value for name, value in headers.items() if name.startswith("anthropic")} == {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "59",
        "anthropic-ratelimit-requests-reset": "2023-11-14T22:13:21Z",
        "anthropic-ratelimit-tokens-limit": "10000",
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2023-11-14T23:43:21Z",
    }


@pytest.mark.parametrize("now_s", [1_700_000_000, 1_700_000_000.001, 1_700_000_000.999])
def test_a_reset_is_never_told_too_early(now_s):
    reset = told(Allow(REQUESTS), MESSAGES, now_s)["anthropic-ratelimit-requests-reset"]
    assert reset == f"2023-11-14T22:13:{21 if now_s == 1_700_000_000 else 22}Z"


def test_a_refusal_names_its_limit():
    headers = told(Deny(Reason.RATE_LIMIT, "No.", 5, "account.tokens_per_day", None, TOKENS))
    assert headers["x-bandari-limit"] == "account.tokens_per_day"
    assert headers["x-ratelimit-remaining-tokens"] == "0"


def test_a_name_that_no_header_can_hold_is_spelled_without_it():
    deny = Deny(Reason.SPEND_LIMIT, "No.", limit="key.spend_per_day.€\r\nset-cookie: a")
    assert told(deny)["x-bandari-limit"] == "key.spend_per_day.???set-cookie:?a"


@pytest.mark.parametrize("surface", [CHAT_COMPLETIONS, MESSAGES])
def test_what_was_told_before_is_replaced(surface):
    exchange = Told(surface)
    for left in (5, 4):
        tell_limits(exchange, Allow(Standing("key", 9, left, 0), Standing("key", 99, left, 0)))
    tell_limits(exchange, Allow(Standing("key", 9, 3, 0)))
    tell_limits(exchange, Deny(Reason.RATE_LIMIT, "No.", 5, "key"))
    names = [name for name, _ in exchange.headers]
    assert len(names) == len(set(names))
    headers = dict(exchange.headers)
    assert headers[b"x-ratelimit-remaining-requests"] == b"3"
    assert headers[b"x-ratelimit-remaining-tokens"] == b"4"


@pytest.mark.parametrize(
    ("milliseconds", "spelled"),
    [
        (0, "0ms"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1500, "1.5s"),
        (59_999, "59.999s"),
        (60_000, "1m0s"),
        (360_000, "6m0s"),
        (61_250, "1m1.25s"),
        (3_600_000, "1h0m0s"),
        (86_400_000, "24h0m0s"),
    ],
)
def test_a_duration_is_spelled_as_openai_does(milliseconds, spelled):
    assert duration(milliseconds) == spelled


# Over the whole application.

SURFACES = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Habari?"}]},
    "/v1/completions": {"prompt": "Habari?"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Habari?"}], "max_tokens": 50},
    "/v1/responses": {"input": "Habari?", "store": False},
    "/api/v1/llm/chat": {"messages": [{"role": "user", "content": "Habari?"}]},
}


async def ask(made, path: str = "/v1/chat/completions", **fields) -> Client:
    body = {"model": "bandari-1", "max_tokens": 50} | SURFACES[path] | fields
    if path == "/v1/responses":
        body["max_output_tokens"] = body.pop("max_tokens")
    client = Client(json.dumps(body).encode())
    headers = [("authorization", f"Bearer {KEY}")]
    if path == "/v1/messages":
        headers.append(("anthropic-version", "2023-06-01"))
    await start(made.app, client, "POST", path, tuple(headers))
    return client


def limited(front, house: SmallHouse | None = None, quota: Quota | None = None, **limits):
    house = house or SmallHouse(ScriptedUpstream(Script(*answer("Hi"))))
    made = front(house)
    made.ring.add(policy=KeyPolicy(limits=Limits(**limits), quota=quota or Quota()))
    return made


def surfaces(made) -> list[str]:
    known = [path for path in SURFACES if made.app._find(path) is not None]
    assert len(known) >= 4
    return known


@pytest.mark.parametrize("stream", [True, False])
async def test_every_surface_tells_what_is_left(front, stream):
    made = limited(front, requests_per_minute=60, tokens_per_minute=100_000)
    for number, path in enumerate(surfaces(made), 1):
        client = await ask(made, path, stream=stream)
        assert client.status == 200, client.body
        assert client.headers["x-ratelimit-limit-requests"] == "60"
        assert client.headers["x-ratelimit-remaining-requests"] == str(60 - number)
        assert client.headers["x-ratelimit-limit-tokens"] == "100000"
        left = int(client.headers["x-ratelimit-remaining-tokens"])
        assert left < 100_000 - 12 * (number - 1)
        is_anthropics = path == "/v1/messages"
        assert ("anthropic-ratelimit-tokens-remaining" in client.headers) == is_anthropics


async def test_a_whole_answer_tells_what_is_left_after_it(front):
    client = await ask(limited(front, tokens_per_minute=1000))
    assert client.headers["x-ratelimit-remaining-tokens"] == "988"
    assert "x-ratelimit-limit-requests" not in client.headers


async def test_a_stream_tells_what_is_left_while_it_is_made(front):
    gate = Gate()
    house = SmallHouse(ScriptedUpstream(Script(*answer("Hi")[:1], gate, *answer("!"))))
    made = limited(front, house, tokens_per_minute=1000)
    client, task = made.start(stream=True, max_tokens=50)
    await gate.reached.wait()
    await until(lambda: client.status)
    reserved = 1000 - int(client.headers["x-ratelimit-remaining-tokens"])
    assert reserved > 50 + 64
    gate.open()
    await task


@pytest.mark.parametrize(
    ("quota", "limits", "status", "code", "limit", "retry"),
    [
        (None, {"requests_per_minute": 1}, 429, "rate_limit_exceeded", "requests_per_minute", True),
        (None, {"tokens_per_minute": 40}, 429, "rate_limit_exceeded", "tokens_per_minute", False),
        (Quota(lifetime=40), {}, 429, "insufficient_quota", "quota.lifetime", False),
        (Quota(lifetime=400), {}, 200, "", "", False),
        (
            None,
            {"spend_per_day": {"TOKEN": 40}},
            429,
            "spend_limit_exceeded",
            "spend_per_day.TOKEN",
            False,
        ),
    ],
)
async def test_every_surface_tells_which_limit_refuses(
    front, quota, limits, status, code, limit, retry
):
    for path in surfaces(limited(front)):
        made = limited(front, quota=quota, **limits)
        if "requests_per_minute" in limits:
            await ask(made, path)
        client = await ask(made, path)
        assert client.status == status, client.body
        if status == 200:
            continue
        assert client.headers["x-bandari-limit"] == f"key.{limit}"
        assert client.headers["x-should-retry"] == str(retry).lower()
        assert ("retry-after" in client.headers) == retry
        assert f"key.{limit}" in client.body.decode()


async def test_when_to_come_back_is_told_exactly_and_in_whole_seconds(front):
    made = limited(front, requests_per_minute=7)
    for _ in range(7):
        await ask(made)
    client = await ask(made)
    assert client.headers["retry-after-ms"] == "8572"
    assert client.headers["retry-after"] == "9"
    made.house.clock.pass_ms(8571)
    assert (await ask(made)).status == 429
    made.house.clock.pass_ms(1)
    assert (await ask(made)).status == 200


async def test_an_end_users_limits_are_told_in_place_of_wider_ones(front):
    made = limited(front)
    policy = AccountPolicy(end_user_limits=Limits(requests_per_minute=3, tokens_per_minute=500))
    made.ring.add(policy=KeyPolicy(limits=Limits(requests_per_minute=60)), account_policy=policy)
    client = await ask(made, user="asha")
    assert client.headers["x-ratelimit-limit-requests"] == "3"
    assert client.headers["x-ratelimit-remaining-requests"] == "2"
    assert client.headers["x-ratelimit-limit-tokens"] == "500"


async def test_a_quota_that_shortens_an_answer_says_so(front):
    made = limited(front, quota=Quota(lifetime=160))
    client = await ask(made, max_tokens=1000)
    assert client.status == 200
    assert 0 < int(client.headers["x-bandari-max-tokens"]) < 100
