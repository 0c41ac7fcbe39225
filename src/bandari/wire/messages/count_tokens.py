"""The answer of ``POST /v1/messages/count_tokens``."""

from __future__ import annotations

import msgspec

_encode = msgspec.json.Encoder().encode


def encode_count(tokens: int) -> bytes:
    """The one field that it has; ``tokens`` is the whole prompt."""
    return _encode({"input_tokens": tokens})
