"""Anthropic's error envelope: written for clients, and read from upstreams.

Upstreams that speak Messages do not all have it: llama.cpp answers with OpenAI's.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from bandari.domain.faults import Fault
from bandari.domain.problem import Problem
from bandari.wire.messages.fields import THREAD
from bandari.wire.upstream_errors import (
    fault_in_stream,
    fault_of_status,
    parse_body,
    parse_error,
)

_TYPE_OF_STATUS: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

_STATUS_OF_TYPE: Final = {
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "invalid_request_error": 400,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}

_VAGUE: Final = (400, 422, 500, 502)
"""Statuses that some servers give to anything; the type says more."""


class _Envelope(Struct):
    error: Raw | UnsetType = UNSET


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_encode = msgspec.json.Encoder().encode


def encode_problem(problem: Problem, request_id: str | None = None) -> bytes:
    """The JSON body of an error answer, and the data of an ``error`` event."""
    other = "invalid_request_error" if problem.status < 500 else "api_error"
    kind = _TYPE_OF_STATUS.get(problem.status, other)
    fields: dict[str, Any] = {
        "type": "error",
        "error": {"type": kind, "message": problem.message},
    }
    if problem.param == THREAD:
        fields["error"]["details"] = {
            "error_code": "thread_unsupported_request",
            "unsupported": [THREAD],
        }
    if request_id is not None:
        fields["request_id"] = request_id
    return _encode(fields)


def read_error(status: int, body: bytes, retry_after_ms: int | None = None) -> Fault:
    """The fault that an upstream's error answer stands for."""
    error = parse_body(body)
    if status in _VAGUE:
        status = _STATUS_OF_TYPE.get(error.type or "", status)
    return fault_of_status(status, error, retry_after_ms)


def read_stream_error(error: bytes) -> Fault:
    """The fault that an ``error`` event's data stands for: the envelope, or the error by itself."""
    parsed = parse_error(_without_envelope(error))
    status = _STATUS_OF_TYPE.get(parsed.type or "", parsed.code)
    if status in (400, 404, 413, 504):
        return fault_of_status(status, parsed)
    return fault_in_stream(parsed, status)


def _without_envelope(data: bytes) -> bytes:
    try:
        error = _read_envelope(data).error
    except (msgspec.DecodeError, RecursionError):
        return data
    return data if error is UNSET else bytes(error)
