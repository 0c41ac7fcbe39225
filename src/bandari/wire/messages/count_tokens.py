"""``POST /v1/messages/count_tokens``: asked of upstreams, and answered to clients."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw

from bandari.domain.chat import ChatRequest
from bandari.wire.dialect import Dialect
from bandari.wire.messages.encode_request import encode_request

_COUNTED: Final = ("model", "messages", "system", "tools", "tool_choice", "thinking")
"""What makes a prompt. Any other field is refused there."""

_encode = msgspec.json.Encoder().encode
_fields_of = msgspec.json.Decoder(dict[str, Raw]).decode


def encode_count_request(request: ChatRequest, model: str, dialect: Dialect) -> bytes:
    """Ask an upstream for the size of a prompt. Raises like ``encode_request``."""
    fields = _fields_of(encode_request(request, model, dialect))
    return _encode({name: fields[name] for name in _COUNTED if name in fields})


def encode_count(tokens: int) -> bytes:
    """The one field that an answer has; ``tokens`` is the whole prompt."""
    return _encode({"input_tokens": tokens})
