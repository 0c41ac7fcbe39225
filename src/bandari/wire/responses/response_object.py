"""The response object: whole answers, the snapshots within a stream, and what is kept of them.

Rule: this file knows the object around the items; what an item looks like is ``output_items``'
business.

Clients refuse an object that lacks one of its many fields, so each is there, with the protocol's
default where the client said nothing. That goes for ``usage``, too: MKA1's client takes no null, so
an answer that was not counted (yet) has zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from bandari.domain.events import FinishReason
from bandari.domain.faults import OwnFault
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.responses.errors import encode_failure

QUEUED: Final = b"queued"
IN_PROGRESS: Final = b"in_progress"
COMPLETED: Final = b"completed"
INCOMPLETE: Final = b"incomplete"
FAILED: Final = b"failed"
CANCELLED: Final = b"cancelled"

NO_ITEMS: Final = b"[]"

_PLAIN_TEXT: Final = b'{"format":{"type":"text"}}'

LOST: Final = "The server that generated this response ended before it was finished."

_ECHOED: Final[Mapping[str, bytes]] = {
    "instructions": b"null",
    "max_output_tokens": b"null",
    "max_tool_calls": b"null",
    "metadata": b"{}",
    "parallel_tool_calls": b"true",
    "previous_response_id": b"null",
    "presence_penalty": b"0.0",
    "frequency_penalty": b"0.0",
    "prompt_cache_key": b"null",
    "reasoning": b'{"effort":null,"summary":null}',
    "safety_identifier": b"null",
    "service_tier": b'"default"',
    "temperature": b"1.0",
    "text": _PLAIN_TEXT,
    "tool_choice": b'"auto"',
    "tools": b"[]",
    "top_logprobs": b"0",
    "top_p": b"1.0",
    "truncation": b'"disabled"',
    "user": b"null",
}
"""The client's fields that an answer repeats, and what they are where it left them out."""

_REASONS: Final = {
    FinishReason.LENGTH: b'{"reason":"max_output_tokens"}',
    FinishReason.CONTENT_FILTER: b'{"reason":"content_filter"}',
}
"""What makes an answer incomplete."""

_encode = msgspec.json.Encoder().encode
_fields_of = msgspec.json.Decoder(dict[str, Raw]).decode


class ResponseFrame(Struct, frozen=True):
    """What an answer says of its request.

    ``echo`` is the client's own fields. ``include_encrypted`` and ``include_logprobs``: the client
    asked for sealed thoughts, for log-probabilities.
    """

    echo: Mapping[str, Raw] = {}
    include_encrypted: bool = False
    include_logprobs: bool = False
    background: bool = False
    store: bool = True


class ResponseObject:
    """Writes one response's object in any of its states."""

    __slots__ = ("_head", "_tail")

    def __init__(self, envelope: Envelope, frame: ResponseFrame) -> None:
        self._head = b'{"id":%b,"object":"response","created_at":%d,"status":"' % (
            _encode(envelope.id),
            envelope.created,
        )
        said = b",".join(
            b'"%b":%b' % (name.encode(), _said(name, frame.echo.get(name), default))
            for name, default in _ECHOED.items()
        )
        self._tail = b'"model":%b,"background":%b,"store":%b,%b}' % (
            _encode(envelope.model),
            _encode(frame.background),
            _encode(frame.store),
            said,
        )

    def encode(
        self,
        status: bytes,
        *,
        output: bytes = NO_ITEMS,
        usage: Usage | None = None,
        completed_at: int | None = None,
        incomplete: bytes = b"null",
        error: bytes = b"null",
    ) -> bytes:
        """``output`` is a JSON array, ``incomplete`` and ``error`` the details of such an end."""
        return (
            b'%b%b","completed_at":%b,"error":%b,"incomplete_details":%b,"output":%b,"usage":%b,%b'
        ) % (
            self._head,
            status,
            _encode(completed_at),
            error,
            incomplete,
            output,
            _encode(_usage_fields(usage or Usage())),
            self._tail,
        )

    def finished(
        self, reason: FinishReason, *, output: bytes, usage: Usage, completed_at: int
    ) -> bytes:
        """The object of an answer that ended well, whole or cut short."""
        if is_cut_short(reason):
            return self.encode(INCOMPLETE, output=output, usage=usage, incomplete=_REASONS[reason])
        return self.encode(COMPLETED, output=output, usage=usage, completed_at=completed_at)

    def failed(self, problem: Problem, *, output: bytes, usage: Usage | None = None) -> bytes:
        return self.encode(FAILED, output=output, usage=usage, error=encode_failure(problem))


def is_cut_short(reason: FinishReason) -> bool:
    return reason in _REASONS


def with_status(body: bytes, status: str) -> bytes:
    """A response object that was kept, which must not say that it goes on when it has ended."""
    try:
        fields = _fields_of(body)
        told = bytes(fields["status"])
    except (msgspec.DecodeError, KeyError, UnicodeDecodeError, RecursionError):
        raise OwnFault("A response that was kept cannot be read.") from None
    if told == _encode(status):
        return body
    lost = {"code": "server_error", "message": LOST}
    return _encode({**fields, "status": status, "error": lost if status == "failed" else None})


def encode_end(body: bytes, status: str, number: int) -> bytes:
    """The event of that number that ends the stream of a response, whose object is ``body``."""
    kind = b"response." + status.encode()
    return b'event: %b\ndata: {"type":"%b","sequence_number":%d,"response":%b}\n\n' % (
        kind,
        kind,
        number,
        body,
    )


def encode_deleted(response_id: str) -> bytes:
    """What answers the deletion of a response."""
    return _encode({"id": response_id, "object": "response", "deleted": True})


def encode_compaction(envelope: Envelope, items: Sequence[Raw], usage: Usage) -> bytes:
    """What answers ``POST /v1/responses/compact``: the items to go on with."""
    return _encode(
        {
            "id": envelope.id,
            "object": "response.compaction",
            "created_at": envelope.created,
            "output": items,
            "usage": _usage_fields(usage),
        }
    )


def _said(name: str, raw: Raw | None, default: bytes) -> bytes:
    """The client's JSON on one line, for a line is where an event's data ends."""
    value = default if raw is None else bytes(raw).replace(b"\n", b" ").replace(b"\r", b" ")
    if value == b"null":
        return default
    return _with_format(value) if name == "text" else value


def _with_format(text: bytes) -> bytes:
    try:
        fields = _fields_of(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _PLAIN_TEXT
    if bytes(fields.get("format", b"null")) == b"null":
        return _encode({**fields, "format": {"type": "text"}})
    return text


def _usage_fields(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
