"""Errors, told to clients of the protocol and read from its servers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meetkai_mka1 import models as mka1
from openai.types.responses import ResponseErrorEvent
from openai.types.responses.response_error import ResponseError
from tests.unit.wire.feeding import transcript

from bandari.domain import problem
from bandari.domain.faults import (
    Cancelled,
    ContextLengthExceeded,
    Draining,
    Fault,
    InvalidValue,
    ModelNotFound,
    RequestTooLarge,
    UpstreamFault,
    UpstreamInvalidRequest,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from bandari.domain.outcome import Deny, Reason
from bandari.wire.chat_completions import errors as chat_errors
from bandari.wire.responses import PROTOCOL, errors

WRONG = problem.of_fault(InvalidValue('Not "that".', param="input[0].content"))


def test_the_envelope_is_that_of_chat_completions() -> None:
    assert errors.encode_problem is chat_errors.encode_problem
    assert errors.read_error is chat_errors.read_error


def test_a_prompt_that_llama_cpp_finds_too_long() -> None:
    fault = errors.read_error(400, transcript(PROTOCOL, "llama_cpp_too_long.json"))
    assert isinstance(fault, ContextLengthExceeded)
    assert fault.message == ("The prompt has 1208 tokens; the model's context window holds 512.")


def test_the_data_of_an_error_event() -> None:
    data = errors.encode_error_event(WRONG, 7)
    assert json.loads(data) == {
        "type": "error",
        "sequence_number": 7,
        "code": "invalid_value",
        "message": 'Not "that".',
        "param": "input[0].content",
        "error": {
            "type": "invalid_request_error",
            "code": "invalid_value",
            "message": 'Not "that".',
            "param": "input[0].content",
        },
    }
    assert ResponseErrorEvent.model_validate_json(data).code == "invalid_value"
    assert mka1.ErrorEvent.model_validate_json(data).message == 'Not "that".'


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (WRONG, "invalid_prompt"),
        (problem.of_fault(ModelNotFound()), "invalid_prompt"),
        (problem.of_fault(RequestTooLarge()), "invalid_prompt"),
        (problem.of_refusal(Deny(Reason.INSUFFICIENT_BALANCE, "x")), "rate_limit_exceeded"),
        (problem.of_refusal(Deny(Reason.RATE_LIMIT, "x")), "rate_limit_exceeded"),
        (problem.of_refusal(Deny(Reason.REVOKED_KEY, "x")), "server_error"),
        (problem.of_fault(Cancelled()), "server_error"),
        (problem.of_fault(UpstreamTimeout()), "server_error"),
        (problem.of_fault(UpstreamOverloaded()), "server_error"),
        (problem.of_fault(Draining()), "server_error"),
    ],
)
def test_a_response_that_failed_says_why_in_the_protocols_words(
    told: problem.Problem, code: str
) -> None:
    failure = errors.encode_failure(told)
    assert json.loads(failure) == {"code": code, "message": told.message}
    ResponseError.model_validate_json(failure)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", UpstreamFault),
        ("vector_store_timeout", UpstreamFault),
        ("some_new_code", UpstreamFault),
        (None, UpstreamFault),
        (500, UpstreamFault),
        ([], UpstreamFault),
        ("rate_limit_exceeded", UpstreamOverloaded),
        (429, UpstreamOverloaded),
        (503, UpstreamOverloaded),
        ("invalid_prompt", UpstreamInvalidRequest),
        ("invalid_image_url", UpstreamInvalidRequest),
        (400, UpstreamInvalidRequest),
        ("context_length_exceeded", ContextLengthExceeded),
        ("insufficient_quota", UpstreamRefused),
        ("invalid_api_key", UpstreamRefused),
        (401, UpstreamRefused),
    ],
)
def test_what_the_codes_of_a_failure_mean(code: object, kind: type[Fault]) -> None:
    failure = {"code": code, "message": "Too bad."}
    flat = {"type": "error", **failure, "param": None, "sequence_number": 3}
    nested = {"type": "error", "error": {"type": "x", **failure}}
    both = {**flat, "code": "x", "message": "y", "error": failure}
    for said in (failure, flat, nested, both):
        fault = errors.read_stream_error(json.dumps(said).encode())
        assert type(fault) is kind
        if kind is UpstreamFault:
            assert fault.message == "The model's provider failed: Too bad."
        if kind is UpstreamInvalidRequest:
            assert fault.message == "Too bad."


def test_what_is_said_of_our_account_is_not_told() -> None:
    said = {"code": "invalid_prompt", "message": "Incorrect API key provided: sk-123."}
    fault = errors.read_stream_error(json.dumps(said).encode())
    assert isinstance(fault, UpstreamRefused)
    assert "sk-123" not in fault.message


def test_a_long_message_is_cut() -> None:
    said = {"code": "invalid_prompt", "message": "x" * 100_000}
    assert len(errors.read_stream_error(json.dumps(said).encode()).message) < 1100


@pytest.mark.parametrize(
    "error",
    [
        *(b"", b"null", b"{", b"[]", b"5", b'{"error":5}', b'{"error":"\xff"}', b'{"\xff":5}'),
        *(b"[" * 10_000, b'{"x":' + b"[" * 10_000, b'{"error":' + b"[" * 10_000),
    ],
)
def test_what_cannot_be_read_is_a_failure_still(error: bytes) -> None:
    fault = errors.read_stream_error(error)
    assert type(fault) is UpstreamFault
    assert fault.message == "The model's provider failed."


@given(st.binary(max_size=100))
def test_any_bytes_are_a_fault(data: bytes) -> None:
    assert isinstance(errors.read_stream_error(data), Fault)
