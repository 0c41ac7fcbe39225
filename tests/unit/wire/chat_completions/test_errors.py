"""OpenAI's error envelope, written for clients and read from upstreams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain import problem
from bandari.domain.faults import (
    CallerFault,
    ContextLengthExceeded,
    Fault,
    InvalidValue,
    ModelNotFound,
    OwnFault,
    RequestTooLarge,
    UpstreamFault,
    UpstreamInvalidRequest,
    UpstreamNotReady,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from bandari.domain.outcome import Deny, Reason
from bandari.wire.chat_completions.errors import (
    encode_problem,
    read_error,
    read_stream_error,
)
from bandari.wire.upstream_errors import MAX_UPSTREAM_MESSAGE

SECRET = "sk-ours-1234"


def error(**fields: Any) -> bytes:
    return json.dumps({"error": fields}).encode()


# -- written --------------------------------------------------------------------------------------


def test_an_error_byte_for_byte() -> None:
    told = problem.of_fault(InvalidValue("'n' must be at least 1.", param="n"))
    assert encode_problem(told) == (
        b'{"error":{"message":"\'n\' must be at least 1.","type":"invalid_request_error",'
        b'"param":"n","code":"invalid_value"}}'
    )


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (Reason.MISSING_KEY, "authentication_error"),
        (Reason.UNKNOWN_KEY, "authentication_error"),
        (Reason.INSUFFICIENT_BALANCE, "insufficient_quota"),
        (Reason.RATE_LIMIT, "rate_limit_error"),
        (Reason.CONCURRENCY_LIMIT, "rate_limit_error"),
    ],
)
def test_types_of_refusals(reason: Reason, kind: str) -> None:
    written = json.loads(encode_problem(problem.of_refusal(Deny(reason, "No."))))
    assert written["error"]["type"] == kind
    assert written["error"]["param"] is None


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (ModelNotFound(), "invalid_request_error"),
        (RequestTooLarge(), "invalid_request_error"),
        (ContextLengthExceeded(), "invalid_request_error"),
        (UpstreamTimeout(), "server_error"),
        (UpstreamRefused(), "server_error"),
        (OwnFault(), "server_error"),
    ],
)
def test_types_of_faults(fault: Fault, kind: str) -> None:
    assert json.loads(encode_problem(problem.of_fault(fault)))["error"] == {
        "message": fault.message,
        "type": kind,
        "param": None,
        "code": fault.code,
    }


def test_a_forbidden_request_has_a_type_of_its_own() -> None:
    told = problem.Problem(403, "forbidden", "No.", problem.Blame.CALLER)
    assert json.loads(encode_problem(told))["error"]["type"] == "permission_error"


# -- read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (400, error(message="bad"), UpstreamInvalidRequest),
        (413, error(message="bad"), UpstreamInvalidRequest),
        (422, error(message="bad"), UpstreamInvalidRequest),
        (401, error(message="bad"), UpstreamRefused),
        (402, error(message="bad"), UpstreamRefused),
        (403, error(message="bad"), UpstreamRefused),
        (404, error(message="bad"), UpstreamRefused),
        (405, error(message="bad"), UpstreamRefused),
        (408, error(message="bad"), UpstreamTimeout),
        (504, error(message="bad"), UpstreamTimeout),
        (429, error(message="bad"), UpstreamOverloaded),
        (503, error(message="bad"), UpstreamOverloaded),
        (529, error(message="bad"), UpstreamOverloaded),
        (503, error(message="Loading model", type="unavailable_error"), UpstreamNotReady),
        (500, error(message="bad"), UpstreamFault),
        (501, error(message="bad"), UpstreamFault),
        (502, error(message="bad"), UpstreamFault),
        (302, b"", UpstreamFault),
        (204, b"", UpstreamFault),
    ],
)
def test_a_fault_for_every_status(status: int, body: bytes, fault: type[Fault]) -> None:
    assert type(read_error(status, body)) is fault


def test_the_context_is_told_with_both_numbers() -> None:
    body = (
        b'{"error":{"code":400,"message":"request (9008 tokens) exceeds the available context size '
        b'(8192 tokens), try increasing it","type":"exceed_context_size_error",'
        b'"n_prompt_tokens":9008,"n_ctx":8192}}'
    )
    for fault in (read_error(400, body), read_stream_error(body[9:-1])):
        assert type(fault) is ContextLengthExceeded
        assert fault.param == "messages"
        assert fault.message == (
            "The prompt has 9008 tokens; the model's context window holds 8192."
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "exceed_context_size_error", "message": "too long: 5"},
        {"code": "context_length_exceeded", "message": "too long: 5"},
        {"code": 400, "message": "This model's maximum context length is 4, too long: 5"},
    ],
)
def test_the_context_is_told_by_every_upstream_in_its_own_way(fields: dict[str, Any]) -> None:
    fault = read_error(400, error(**fields))
    assert type(fault) is ContextLengthExceeded
    assert fault.message.endswith("too long: 5")
    assert fault.code == "context_length_exceeded"


def test_a_long_prompt_is_the_callers_whatever_the_status() -> None:
    assert type(read_error(500, error(type="exceed_context_size_error"))) is ContextLengthExceeded
    assert read_error(400, error(code="context_length_exceeded")).message == (
        ContextLengthExceeded.__doc__
    )


def test_an_image_that_the_model_cannot_read_is_the_callers() -> None:
    message = "image input is not supported - hint: start it with a projector"
    fault = read_error(500, error(code=500, message=message, type="server_error"))
    assert type(fault) is UpstreamInvalidRequest
    assert fault.message == message


def test_an_invalid_request_says_what_the_upstream_said() -> None:
    fault = read_error(400, error(message="Field 'x' is bad", param="x", code=400))
    assert (fault.message, fault.param) == ("Field 'x' is bad", "x")
    assert read_error(400, error(message="bad", param=["x"])).param is None
    assert read_error(400, b"").message == UpstreamInvalidRequest.__doc__


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error":"bad"}', "bad"),
        (b'{"object":"error","message":"bad","type":"BadRequestError","code":400}', "bad"),
        (b'{"detail":"bad"}', "bad"),
        (b'{"detail":[{"loc":["body"],"msg":"bad"}]}', UpstreamInvalidRequest.__doc__),
        (b'{"error":null,"message":"bad"}', "bad"),
    ],
)
def test_other_shapes_of_errors(body: bytes, message: str) -> None:
    assert read_error(400, body).message == message


def test_a_long_message_is_cut() -> None:
    fault = read_error(400, error(message="x" * 100_000))
    assert fault.message == "x" * MAX_UPSTREAM_MESSAGE + "…"
    exact = read_error(400, error(message="x" * MAX_UPSTREAM_MESSAGE))
    assert exact.message == "x" * MAX_UPSTREAM_MESSAGE


@pytest.mark.parametrize("status", [401, 402, 403, 404, 405])
def test_what_an_upstream_says_about_our_account_is_not_passed_on(status: int) -> None:
    fault = read_error(status, error(message=f"Incorrect API key provided: {SECRET}", param=SECRET))
    assert not isinstance(fault, CallerFault)
    assert fault.message == UpstreamRefused.__doc__
    assert fault.param is None


@pytest.mark.parametrize("status", [400, 413, 422, 429, 500, 503])
@pytest.mark.parametrize(
    "body",
    [
        error(message=SECRET, code="invalid_api_key"),
        error(message=SECRET, code="insufficient_quota", type="insufficient_quota"),
        error(message=SECRET, type="authentication_error", code=401),
        error(message=SECRET, type="permission_error"),
        error(message=f"Incorrect API key provided: {SECRET}"),
        json.dumps({"error": f"API key not valid: {SECRET}"}).encode(),
    ],
)
def test_nor_is_it_under_another_status(status: int, body: bytes) -> None:
    fault = read_error(status, body)
    assert type(fault) is UpstreamRefused
    assert SECRET not in fault.message


def test_a_wait_is_passed_on() -> None:
    assert read_error(429, b"", 1500).retry_after_ms == 1500
    assert read_error(429, b"").retry_after_ms is None
    loading = error(message="Loading model")
    assert read_error(503, loading, 2000).retry_after_ms == 2000
    assert read_error(503, loading).retry_after_ms == 1000


GARBAGE = [
    b"",
    b"<html>502 Bad Gateway</html>",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"5",
    b'"x"',
    b'{"error":5}',
    b'{"error":[]}',
    b'{"error":{"message":5}}',
    b'{"error":{"n_ctx":"x"}}',
    b'{"error":{"message":"\\ud800"}}',
    b'[{"error":{"message":"x"}}]',
    b"[" * 10_000,
    b'{"error":' + b'{"code":' * 10_000,
]


@pytest.mark.parametrize("body", GARBAGE)
@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, UpstreamInvalidRequest),
        (401, UpstreamRefused),
        (429, UpstreamOverloaded),
        (500, UpstreamFault),
    ],
)
def test_garbage_is_judged_by_its_status(body: bytes, status: int, fault: type[Fault]) -> None:
    assert type(read_error(status, body)) is fault


def test_a_failure_names_the_status_and_not_what_was_said() -> None:
    assert read_error(500, error(message="Traceback in /srv/secret.py")).message == (
        "The model's provider failed with status 500."
    )


@given(st.integers(100, 599), st.binary(max_size=50))
def test_any_error_is_a_fault(status: int, body: bytes) -> None:
    assert isinstance(read_error(status, body), Fault)


# -- read in-stream -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "fault", "message"),
    [
        (b'"bad"', UpstreamFault, "The model's provider failed: bad"),
        (b'{"message":"bad"}', UpstreamFault, "The model's provider failed: bad"),
        (b'{"message":"bad","code":500}', UpstreamFault, "The model's provider failed: bad"),
        (b'{"message":"bad","code":"x"}', UpstreamFault, "The model's provider failed: bad"),
        (b'{"message":"bad","code":{"a":1}}', UpstreamFault, "The model's provider failed: bad"),
        (b"{}", UpstreamFault, UpstreamFault.__doc__),
        (b'{"message":""}', UpstreamFault, UpstreamFault.__doc__),
        (b"5", UpstreamFault, UpstreamFault.__doc__),
        (b"[]", UpstreamFault, UpstreamFault.__doc__),
        (b'{"message":"bad","code":429}', UpstreamOverloaded, UpstreamOverloaded.__doc__),
        (b'{"message":"bad","code":503}', UpstreamOverloaded, UpstreamOverloaded.__doc__),
        (b'{"message":"sk-ours","code":401}', UpstreamRefused, UpstreamRefused.__doc__),
        (b'{"message":"sk-ours","code":402}', UpstreamRefused, UpstreamRefused.__doc__),
        (
            b'{"message":"sk-ours","type":"insufficient_quota"}',
            UpstreamRefused,
            UpstreamRefused.__doc__,
        ),
        (b'"Invalid API key sk-ours"', UpstreamRefused, UpstreamRefused.__doc__),
        (
            b'{"message":"image input is not supported"}',
            UpstreamInvalidRequest,
            "image input is not supported",
        ),
    ],
)
def test_errors_in_a_stream(said: bytes, fault: type[Fault], message: str) -> None:
    read = read_stream_error(said)
    assert type(read) is fault
    assert read.message == message


def test_a_long_message_in_a_stream_is_cut() -> None:
    read = read_stream_error(json.dumps({"message": "x" * 100_000}).encode())
    assert len(read.message) == MAX_UPSTREAM_MESSAGE + 1
