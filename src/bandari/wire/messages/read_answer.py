"""The pieces of a Messages answer as they stand on the wire, as far as they are read.

Kinds of events, blocks and deltas that are not known are passed over, whatever their shape is; what
is known and has a wrong shape is ``UpstreamMalformed``.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from bandari.domain.events import InputCounted
from bandari.domain.faults import UpstreamMalformed

MAX_TOKENS: Final = 1_000_000_000

_EVENTS: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)
_BLOCKS: Final = frozenset({"text", "thinking", "redacted_thinking", "tool_use"})
_DELTAS: Final = frozenset({"text_delta", "thinking_delta", "signature_delta", "input_json_delta"})

NULL: Final = Raw(b"null")

_Tokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]


class OutputDetails(Struct):
    thinking_tokens: _Tokens | None = None


class WireUsage(Struct):
    """``input_tokens`` leaves out what was read from the cache and written to it."""

    input_tokens: _Tokens | None = None
    cache_creation_input_tokens: _Tokens | None = None
    cache_read_input_tokens: _Tokens | None = None
    output_tokens: _Tokens | None = None
    output_tokens_details: OutputDetails | None = None


class Block(Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = NULL


class Delta(Struct):
    """What the deltas of blocks have, and that of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Message(Struct):
    type: str = ""
    content: list[Raw] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: WireUsage | None = None
    error: Raw = NULL


class StreamEvent(Struct):
    type: str = ""
    index: int = 0
    delta: Delta | None = None
    content_block: Raw = NULL
    message: Message | None = None
    usage: WireUsage | None = None
    error: Raw = NULL


_read_event = msgspec.json.Decoder(StreamEvent).decode
_read_message = msgspec.json.Decoder(Message).decode
_read_block = msgspec.json.Decoder(Block).decode
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode
_read_anything = msgspec.json.Decoder().decode

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_IGNORED: Final = StreamEvent(type="ping")


def parse_event(data: bytes) -> StreamEvent:
    """The data of one event of a stream."""
    try:
        return _read_event(data)
    except msgspec.ValidationError:
        if _is_of_another_kind(data):
            return _IGNORED
        raise UpstreamMalformed from None
    except _UNREADABLE:
        raise UpstreamMalformed from None


def parse_message(data: bytes) -> Message:
    """A whole answer, or what takes its place."""
    try:
        return _read_message(data)
    except _UNREADABLE:
        raise UpstreamMalformed from None


def parse_block(raw: Raw) -> Block | None:
    """The block; none where it is of a kind that only its own protocol knows."""
    try:
        block = _read_block(raw)
    except msgspec.ValidationError:
        kind = _kind_of(_parse_anything(raw))
        if kind is None or kind in _BLOCKS:
            raise UpstreamMalformed from None
        return None
    except _UNREADABLE:
        raise UpstreamMalformed from None
    return block if block.type in _BLOCKS else None


def parse_arguments(raw: Raw) -> str:
    """The JSON text of a call's input; an empty object where there is none."""
    if raw == NULL:
        return "{}"
    try:
        _read_object(raw)
        return bytes(raw).decode()
    except _UNREADABLE:
        raise UpstreamMalformed from None


def _parse_anything(data: bytes | Raw) -> Any:
    try:
        return _read_anything(data)
    except _UNREADABLE:
        raise UpstreamMalformed from None


def _is_of_another_kind(data: bytes) -> bool:
    """Whether an event that is not as expected is one that we do not know."""
    event = _parse_anything(data)
    kind = _kind_of(event)
    if kind == "content_block_delta":
        kind = _kind_of(event.get("delta"))
        return kind is not None and kind not in _DELTAS
    return kind is not None and kind not in _EVENTS


def _kind_of(value: Any) -> str | None:
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else None


def read_prompt(last: WireUsage, first: WireUsage) -> InputCounted | None:
    """The whole prompt, as far as the last report tells it, then the first.

    None where its size was not told. No prompt has no token: some servers say 0 at first, and some
    at the end.
    """
    plain = first.input_tokens if last.input_tokens is None else last.input_tokens
    if plain is None:
        return None
    written, cached = last.cache_creation_input_tokens, last.cache_read_input_tokens
    if written is None:
        written = first.cache_creation_input_tokens or 0
    if cached is None:
        cached = first.cache_read_input_tokens or 0
    whole = plain + written + cached
    if whole > MAX_TOKENS:
        raise UpstreamMalformed("The model's provider reported an impossible usage.")
    if whole == 0:
        return None if last is first else read_prompt(first, first)
    return InputCounted(whole, cached, written)
