"""oRPC's error envelope, as a whole body and as the data of an event.

Its reader takes exactly these keys for an error of its own kind: one more, and it does not.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bandari.domain.problem import Problem
from bandari.wire.sse import data_frame

_CODE_OF_STATUS: Final = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    402: "PAYMENT_REQUIRED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_SUPPORTED",
    408: "TIMEOUT",
    409: "CONFLICT",
    413: "PAYLOAD_TOO_LARGE",
    422: "UNPROCESSABLE_CONTENT",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_SERVER_ERROR",
    502: "BAD_GATEWAY",
    503: "SERVICE_UNAVAILABLE",
    504: "GATEWAY_TIMEOUT",
}

_encode = msgspec.json.Encoder().encode


def encode_problem(problem: Problem) -> bytes:
    """The JSON of an error. ``data`` says what the code and the field are called everywhere."""
    other = "BAD_REQUEST" if problem.status < 500 else "INTERNAL_SERVER_ERROR"
    return _encode(
        {
            "defined": False,
            "code": _CODE_OF_STATUS.get(problem.status, other),
            "status": problem.status,
            "message": problem.message,
            "data": {"code": problem.code, "param": problem.param},
        }
    )


def error_event(problem: Problem) -> bytes:
    """The event that ends a stream badly."""
    return b"event: error\n" + data_frame(encode_problem(problem))
