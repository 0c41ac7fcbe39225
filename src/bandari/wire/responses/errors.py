"""Errors of Responses: OpenAI's envelope, the event of a stream, and a response that failed.

The envelope is the one of Chat Completions. A response that failed says why by one of the
protocol's few codes; ours stand in the envelope and in the event.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw, Struct

from bandari.domain.faults import Fault
from bandari.domain.problem import Problem
from bandari.wire.chat_completions.errors import encode_problem, read_error
from bandari.wire.upstream_errors import fault_in_stream, fault_of_status, parse_error

__all__ = [
    "encode_error_event",
    "encode_failure",
    "encode_problem",
    "read_error",
    "read_stream_error",
]

_STATUS_OF_CODE: Final = {
    "bio_policy": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "image_content_policy_violation": 400,
    "image_file_not_found": 400,
    "image_file_too_large": 400,
    "image_parse_error": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "invalid_base64_image": 400,
    "invalid_image": 400,
    "invalid_image_format": 400,
    "invalid_image_mode": 400,
    "invalid_image_url": 400,
    "invalid_prompt": 400,
    "misalignment_policy_violation": 400,
    "rate_limit_exceeded": 429,
    "unsupported_image_media_type": 400,
}
"""What the codes of a failed response would have been before the stream began."""


class _Envelope(Struct):
    error: Raw = Raw()


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_encode = msgspec.json.Encoder().encode


def encode_error_event(problem: Problem, sequence_number: int) -> bytes:
    """The data of a stream's ``error`` event.

    OpenAI's clients read the flat fields, those of the Open Responses specification ``error``.
    """
    return b'{"type":"error","sequence_number":%d,"code":%b,"message":%b,"param":%b,%b' % (
        sequence_number,
        _encode(problem.code),
        _encode(problem.message),
        _encode(problem.param),
        encode_problem(problem).removeprefix(b"{"),
    )


def error_event(problem: Problem, sequence_number: int) -> bytes:
    """The event by itself, where the response that failed cannot be told with it."""
    return b"event: error\ndata: %b\n\n" % encode_error_event(problem, sequence_number)


def encode_failure(problem: Problem) -> bytes:
    """What ``error`` is in a response that failed."""
    if problem.status in (402, 429):
        code = "rate_limit_exceeded"
    elif problem.status in (400, 404, 413, 422):
        code = "invalid_prompt"
    else:
        code = "server_error"
    return _encode({"code": code, "message": problem.message})


def read_stream_error(error: bytes) -> Fault:
    """The fault that the error of a stream, or of a response that failed, stands for.

    ``error`` is an ``error`` event's data, flat or nested, or the error by itself.
    """
    parsed = parse_error(_without_envelope(error))
    status = parsed.code
    if isinstance(status, str):
        status = _STATUS_OF_CODE.get(status)
    if status == 400:
        return fault_of_status(status, parsed)
    return fault_in_stream(parsed, status)


def _without_envelope(data: bytes) -> bytes:
    try:
        nested = bytes(_read_envelope(data).error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data
    return data if nested in (b"", b"null") else nested
