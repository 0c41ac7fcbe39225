"""OpenAI's error envelope: written for clients, and read from upstreams."""

from __future__ import annotations

from typing import Final

import msgspec

from bandari.domain.faults import Fault
from bandari.domain.problem import Blame, Problem
from bandari.wire.upstream_errors import (
    fault_in_stream,
    fault_of_status,
    parse_body,
    parse_error,
)

_TYPE_OF_STATUS: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}

_encode = msgspec.json.Encoder().encode


def encode_problem(problem: Problem) -> bytes:
    """The JSON body of an error answer."""
    kind = _TYPE_OF_STATUS.get(problem.status)
    if kind is None:
        kind = "invalid_request_error" if problem.blame is Blame.CALLER else "server_error"
    return _encode(
        {
            "error": {
                "message": problem.message,
                "type": kind,
                "param": problem.param,
                "code": problem.code,
            }
        }
    )


def read_error(status: int, body: bytes, retry_after_ms: int | None = None) -> Fault:
    """The fault that an upstream's error answer stands for."""
    return fault_of_status(status, parse_body(body), retry_after_ms)


def read_stream_error(error: bytes) -> Fault:
    """The fault that an in-stream ``error`` object stands for."""
    parsed = parse_error(error)
    return fault_in_stream(parsed, parsed.code)
