"""Anthropic's error envelope, written for clients and read from upstreams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.feeding import transcript

from bandari.domain import problem
from bandari.domain.faults import (
    ContextLengthExceeded,
    Draining,
    Fault,
    InvalidValue,
    MethodNotAllowed,
    ModelNotFound,
    OwnFault,
    RequestTimeout,
    RequestTooLarge,
    UnsupportedField,
    UpstreamFault,
    UpstreamInvalidRequest,
    UpstreamNotReady,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from bandari.domain.outcome import Deny, Reason
from bandari.domain.problem import Blame, Problem
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.decode_request import decode_request
from bandari.wire.messages.errors import encode_problem, read_error, read_stream_error
from bandari.wire.upstream_errors import MAX_UPSTREAM_MESSAGE

SECRET = "sk-ant-ours-1234"
NO_IMAGES = (
    "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
)
TOO_LONG = "The prompt has 10008 tokens; the model's context window holds 2048."


def error(kind: str | None = None, message: str = "bad", **fields: Any) -> bytes:
    inner = {"type": kind, "message": message, **fields}
    return json.dumps({"type": "error", "error": inner, "request_id": "req_1"}).encode()


# -- written --------------------------------------------------------------------------------------


def test_an_error_byte_for_byte() -> None:
    told = problem.of_fault(InvalidValue("'top_k' must be at least 0.", param="top_k"))
    assert encode_problem(told) == (
        b'{"type":"error","error":{"type":"invalid_request_error",'
        b'"message":"\'top_k\' must be at least 0."}}'
    )
    assert encode_problem(told, "req_1") == (
        b'{"type":"error","error":{"type":"invalid_request_error",'
        b'"message":"\'top_k\' must be at least 0."},"request_id":"req_1"}'
    )


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.MISSING_KEY, "authentication_error"),
        (Reason.REVOKED_KEY, "authentication_error"),
        (Reason.INSUFFICIENT_BALANCE, "billing_error"),
        (Reason.RATE_LIMIT, "rate_limit_error"),
        (Reason.CONCURRENCY_LIMIT, "rate_limit_error"),
    ],
)
def test_types_of_refusals(reason: Reason, kind: str) -> None:
    written = json.loads(encode_problem(problem.of_refusal(Deny(reason, "No."))))
    assert written["error"] == {"type": kind, "message": "No."}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ContextLengthExceeded(), "invalid_request_error"),
        (MethodNotAllowed(), "invalid_request_error"),
        (ModelNotFound(), "not_found_error"),
        (RequestTimeout(), "timeout_error"),
        (RequestTooLarge(), "request_too_large"),
        (OwnFault(), "api_error"),
        (UpstreamRefused(), "api_error"),
        (Draining(), "overloaded_error"),
        (UpstreamOverloaded(), "overloaded_error"),
        (UpstreamTimeout(), "timeout_error"),
    ],
)
def test_types_of_faults(fault: Fault, kind: str) -> None:
    written = json.loads(encode_problem(problem.of_fault(fault)))
    assert written["error"] == {"type": kind, "message": fault.message}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, "permission_error"), (422, "invalid_request_error"), (529, "overloaded_error")],
)
def test_types_of_other_problems(status: int, kind: str) -> None:
    written = json.loads(encode_problem(Problem(status, "x", "No.", Blame.CALLER)))
    assert written["error"]["type"] == kind


# -- read -----------------------------------------------------------------------------------------


def test_clients_that_would_have_us_keep_the_conversation_are_told_in_their_code() -> None:
    thread = b'{"model":"m","max_tokens":5,"messages":[],"thread":{"type":"create"}}'
    with pytest.raises(UnsupportedField) as caught:
        decode_request(thread)
    error = json.loads(encode_problem(problem.of_fault(caught.value)))["error"]
    assert error["type"] == "invalid_request_error"
    assert error["details"] == {
        "error_code": "thread_unsupported_request",
        "unsupported": ["thread"],
    }
    assert (
        "details" not in json.loads(encode_problem(problem.of_fault(UnsupportedField())))["error"]
    )


@pytest.mark.parametrize(
    ("status", "kind", "fault"),
    [
        (400, "invalid_request_error", UpstreamInvalidRequest),
        (401, "authentication_error", UpstreamRefused),
        (402, "billing_error", UpstreamRefused),
        (403, "permission_error", UpstreamRefused),
        (404, "not_found_error", UpstreamRefused),
        (413, "request_too_large", UpstreamInvalidRequest),
        (429, "rate_limit_error", UpstreamOverloaded),
        (500, "api_error", UpstreamFault),
        (504, "timeout_error", UpstreamTimeout),
        (529, "overloaded_error", UpstreamOverloaded),
        (529, "api_error", UpstreamOverloaded),
        (503, "unavailable_error", UpstreamOverloaded),
    ],
)
def test_a_fault_for_every_status(status: int, kind: str, fault: type[Fault]) -> None:
    assert type(read_error(status, error(kind))) is fault
    assert type(read_error(status, b"")) is fault


@pytest.mark.parametrize("status", [400, 422, 500, 502])
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("invalid_request_error", UpstreamInvalidRequest),
        ("request_too_large", UpstreamInvalidRequest),
        ("authentication_error", UpstreamRefused),
        ("billing_error", UpstreamRefused),
        ("permission_error", UpstreamRefused),
        ("not_found_error", UpstreamRefused),
        ("rate_limit_error", UpstreamOverloaded),
        ("overloaded_error", UpstreamOverloaded),
        ("timeout_error", UpstreamTimeout),
    ],
)
def test_the_type_says_more_than_a_vague_status(status: int, kind: str, fault: type[Fault]) -> None:
    assert type(read_error(status, error(kind))) is fault


@pytest.mark.parametrize(
    ("status", "fault"),
    [(401, UpstreamRefused), (404, UpstreamRefused), (429, UpstreamOverloaded)],
)
def test_a_clear_status_says_more_than_the_type(status: int, fault: type[Fault]) -> None:
    assert type(read_error(status, error("invalid_request_error"))) is fault


def test_a_failure_names_the_status_and_not_what_was_said() -> None:
    assert read_error(502, error("api_error", "in /srv/secret.py")).message == (
        "The model's provider failed with status 502."
    )


@pytest.mark.parametrize(
    ("name", "status", "fault", "message"),
    [
        (
            "anthropic_error.json",
            400,
            ContextLengthExceeded,
            "prompt is too long: 210000 tokens > 200000 maximum",
        ),
        ("llama_cpp_too_long.json", 400, ContextLengthExceeded, TOO_LONG),
        (
            "llama_cpp_image.json",
            500,
            UpstreamInvalidRequest,
            NO_IMAGES,
        ),
        ("llama_cpp_key.json", 401, UpstreamRefused, UpstreamRefused.__doc__),
    ],
)
def test_transcripts(name: str, status: int, fault: type[Fault], message: str) -> None:
    body = transcript(PROTOCOL, name)
    read = read_error(status, body)
    assert (type(read), read.message) == (fault, message)
    read = read_stream_error(body)
    assert (type(read), read.message) == (fault, message)


@pytest.mark.parametrize(
    "message",
    [
        "prompt is too long: 5 tokens > 4 maximum",
        "input length and `max_tokens` exceed context limit: 3 + 2 > 4, decrease one of them",
    ],
)
def test_the_context_is_told_in_words_only(message: str) -> None:
    for read in (
        read_error(400, error("invalid_request_error", message)),
        read_stream_error(error("invalid_request_error", message)),
    ):
        assert (type(read), read.message, read.param) == (
            ContextLengthExceeded,
            message,
            "messages",
        )


def test_an_invalid_request_says_what_the_upstream_said() -> None:
    message = "max_tokens: 100000 > 64000, which is the maximum allowed"
    assert read_error(400, error("invalid_request_error", message)).message == message
    assert read_stream_error(error("invalid_request_error", message)).message == message


def test_a_long_message_is_cut() -> None:
    fault = read_error(400, error("invalid_request_error", "x" * 100_000))
    assert fault.message == "x" * MAX_UPSTREAM_MESSAGE + "…"
    fault = read_stream_error(error("api_error", "x" * 100_000))
    assert len(fault.message) == MAX_UPSTREAM_MESSAGE + 1


ABOUT_OUR_ACCOUNT = [
    error("authentication_error", f"invalid x-api-key {SECRET}"),
    error("permission_error", SECRET),
    error("billing_error", SECRET),
    error("invalid_request_error", f"Your credit balance is too low. Upgrade {SECRET}"),
    error("invalid_request_error", f"This organization has been disabled: {SECRET}"),
    error("invalid_request_error", f"You have reached your specified API usage limits: {SECRET}"),
    error("invalid_request_error", SECRET, details={"error_code": "organization_on_hold"}),
    error("invalid_request_error", SECRET, details={"error_code": "cmek_key_disabled"}),
    error("rate_limit_error", SECRET, details={"error_code": "contract_spend_limit_reached"}),
    error("rate_limit_error", SECRET, details={"error_code": "enforced_spend_limit_reached"}),
]


@pytest.mark.parametrize("body", ABOUT_OUR_ACCOUNT)
def test_what_an_upstream_says_about_our_account_is_not_passed_on(body: bytes) -> None:
    faults = [read_error(status, body) for status in (400, 401, 403, 429, 500, 529)]
    for fault in (*faults, read_stream_error(body)):
        assert type(fault) is UpstreamRefused
        assert fault.message == UpstreamRefused.__doc__


@pytest.mark.parametrize("details", [None, 5, [], {}, {"error_code": 5}, {"error_code": "image_x"}])
def test_other_details_are_about_the_request(details: Any) -> None:
    assert type(read_error(400, error(details=details))) is UpstreamInvalidRequest


def test_a_wait_is_passed_on() -> None:
    assert read_error(429, error("rate_limit_error"), 1500).retry_after_ms == 1500
    loading = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'
    assert type(read_error(503, loading)) is UpstreamNotReady


# -- read in-stream -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "fault", "message"),
    [
        (error("overloaded_error"), UpstreamOverloaded, UpstreamOverloaded.__doc__),
        (error("rate_limit_error"), UpstreamOverloaded, UpstreamOverloaded.__doc__),
        (error("timeout_error"), UpstreamTimeout, UpstreamTimeout.__doc__),
        (error("not_found_error", SECRET), UpstreamRefused, UpstreamRefused.__doc__),
        (error("invalid_request_error"), UpstreamInvalidRequest, "bad"),
        (error("request_too_large"), UpstreamInvalidRequest, "bad"),
        (error("api_error"), UpstreamFault, "The model's provider failed: bad"),
        (error("something_new"), UpstreamFault, "The model's provider failed: bad"),
        (b'{"error":"bad"}', UpstreamFault, "The model's provider failed: bad"),
        (
            b'{"error":{"code":500,"message":"bad"}}',
            UpstreamFault,
            "The model's provider failed: bad",
        ),
        (b'{"code":500,"message":"bad"}', UpstreamFault, "The model's provider failed: bad"),
        (b'{"code":503,"message":"bad"}', UpstreamOverloaded, UpstreamOverloaded.__doc__),
        (b'{"code":400,"message":"bad"}', UpstreamInvalidRequest, "bad"),
        (b'{"code":{},"message":"bad"}', UpstreamFault, "The model's provider failed: bad"),
        (b'"bad"', UpstreamFault, "The model's provider failed: bad"),
    ],
)
def test_errors_in_a_stream(said: bytes, fault: type[Fault], message: str) -> None:
    read = read_stream_error(said)
    assert (type(read), read.message) == (fault, message)


GARBAGE = [
    b"",
    b"<html>502 Bad Gateway</html>",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"5",
    b"{}",
    b'{"error":null}',
    b'{"error":5}',
    b'{"error":[]}',
    b'{"error":{"message":5}}',
    b'{"error":{"type":{}}}',
    b'{"error":{"message":"\\ud800"}}',
    b'{"error":{"message":"\xff"}}',
    b"[" * 10_000,
    b'{"error":' + b'{"details":' * 10_000,
    b'{"error":{"details":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
]


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_judged_by_its_status(body: bytes) -> None:
    assert type(read_error(400, body)) is UpstreamInvalidRequest
    assert type(read_error(401, body)) is UpstreamRefused
    assert type(read_error(500, body)) is UpstreamFault
    read = read_stream_error(body)
    assert (type(read), read.message) == (UpstreamFault, UpstreamFault.__doc__)


@given(st.integers(100, 599), st.binary(max_size=50))
def test_any_error_is_a_fault(status: int, body: bytes) -> None:
    assert isinstance(read_error(status, body), Fault)
    assert isinstance(read_stream_error(body), Fault)
