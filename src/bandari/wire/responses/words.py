"""The keys of a Responses request that its values stand for, wherever they are in it.

Whatever else a client writes is passed on to upstreams of this protocol, and nobody here knows what
it means: a request with it is not the same as one without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.wire.responses.fields import CARRIED

WORDS: Final[Mapping[str, frozenset[str] | None]] = {
    "": CARRIED - {"include", "truncation"},
    "input": frozenset(
        {
            "type",
            "role",
            "content",
            "id",
            "call_id",
            "name",
            "arguments",
            "output",
            "summary",
            "encrypted_content",
        }
    ),
    "content": frozenset({"type", "text", "image_url", "detail"}),
    "output": frozenset({"type", "text", "image_url", "detail"}),
    "summary": frozenset({"type", "text"}),
    "tools": frozenset({"type", "name", "description", "parameters", "strict"}),
    "parameters": None,
    "tool_choice": frozenset({"type", "name", "mode", "tools"}),
    "text": frozenset({"format"}),
    "format": frozenset({"type", "name", "schema", "strict"}),
    "schema": None,
    "reasoning": frozenset({"effort"}),
    "metadata": None,
    "stream_options": None,
}
"""``include`` and ``truncation`` are missing: values stand for a part of what they say."""
