from __future__ import annotations

import json

import pytest
from tests.support.client import Client
from tests.support.recorded_metrics import RecordedMetrics

from bandari.domain.faults import (
    ContextLengthExceeded,
    InvalidValue,
    MethodNotAllowed,
    OwnFault,
    RequestTimeout,
    StoreUnavailable,
    UpstreamOverloaded,
    UpstreamRefused,
)
from bandari.domain.outcome import Deny, Reason
from bandari.domain.problem import of_fault
from bandari.web import problems


async def told(what, metrics=None) -> Client:
    client = Client(b"")
    await problems.tell(client.exchange("POST"), what, metrics or RecordedMetrics())
    assert client.ended
    return client


def deny(reason: Reason, retry_after_ms: int | None = None) -> Deny:
    return Deny(reason, "Because.", retry_after_ms)


@pytest.mark.parametrize(
    ("what", "status", "retry"),
    [
        (InvalidValue(), 400, None),
        (ContextLengthExceeded(), 400, None),
        (RequestTimeout(), 408, "false"),
        (deny(Reason.UNKNOWN_KEY), 401, "false"),
        (deny(Reason.INSUFFICIENT_BALANCE), 402, "false"),
        (deny(Reason.RATE_LIMIT, 500), 429, "true"),
        (deny(Reason.KEY_QUOTA), 429, "false"),
        (deny(Reason.CONCURRENCY_LIMIT, 500), 429, "true"),
        (OwnFault(), 500, "true"),
        (UpstreamRefused(), 502, "false"),
        (UpstreamOverloaded(), 503, "true"),
        (StoreUnavailable(), 503, "true"),
    ],
)
async def test_the_status_and_whether_an_sdk_should_try_again(what, status, retry):
    client = await told(what)
    assert client.status == status
    assert client.headers.get("x-should-retry") == retry
    assert client.headers["content-type"] == "application/json"


async def test_the_body_is_openais_envelope():
    client = await told(InvalidValue("'n' must be 1.", param="n"))
    assert json.loads(client.body) == {
        "error": {
            "message": "'n' must be 1.",
            "type": "invalid_request_error",
            "param": "n",
            "code": "invalid_value",
        }
    }


@pytest.mark.parametrize(
    ("milliseconds", "seconds"), [(1, "1"), (999, "1"), (1000, "1"), (1001, "2"), (0, "0")]
)
async def test_when_to_come_back_is_said_in_milliseconds_and_in_seconds_rounded_up(
    milliseconds, seconds
):
    client = await told(deny(Reason.RATE_LIMIT, milliseconds))
    assert client.headers["retry-after-ms"] == str(milliseconds)
    assert client.headers["retry-after"] == seconds


async def test_where_nobody_knows_when_it_is_not_said():
    client = await told(OwnFault())
    assert not {"retry-after", "retry-after-ms", "allow", "www-authenticate"} & set(client.headers)


async def test_a_missing_key_says_how_to_give_one():
    assert (await told(deny(Reason.MISSING_KEY))).headers["www-authenticate"] == "Bearer"


async def test_a_wrong_method_says_which_are_right():
    problem = of_fault(MethodNotAllowed())
    allowed = type(problem)(
        status=405, code=problem.code, message="No.", blame=problem.blame, allow="GET, POST"
    )
    assert (await told(allowed)).headers["allow"] == "GET, POST"


async def test_metrics_hear_of_every_problem():
    metrics = RecordedMetrics()
    await told(deny(Reason.RATE_LIMIT), metrics)
    await told(UpstreamOverloaded(), metrics)
    await told(OwnFault(), metrics)
    assert metrics.of("problem_told") == [
        ("rate_limit_exceeded", "caller"),
        ("upstream_overloaded", "upstream"),
        ("internal_error", "ours"),
    ]
