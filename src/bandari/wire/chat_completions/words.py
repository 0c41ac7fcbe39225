"""The keys of a Chat Completions request that its values stand for, wherever they are in it.

Whatever else a client writes is passed on to upstreams of this protocol, and nobody here knows what
it means: a request with it is not the same as one without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.wire.chat_completions.fields import CARRIED, REASONING, TOP_K

WORDS: Final[Mapping[str, frozenset[str] | None]] = {
    "": CARRIED | {TOP_K},
    "messages": frozenset({"role", "content", "name", REASONING, "tool_calls", "tool_call_id"}),
    "content": frozenset({"type", "text", "image_url", "input_audio", "file"}),
    "image_url": frozenset({"url", "detail"}),
    "input_audio": None,
    "file": None,
    "tool_calls": frozenset({"id", "type", "function"}),
    "tools": frozenset({"type", "function"}),
    "function": frozenset({"name", "arguments", "description", "parameters", "strict"}),
    "parameters": None,
    "tool_choice": frozenset({"type", "function"}),
    "response_format": frozenset({"type", "json_schema"}),
    "json_schema": frozenset({"name", "schema", "strict"}),
    "schema": None,
    "logit_bias": None,
    "stream_options": None,
}
"""A refusal that is said again is missing: a value has its text, and not that it was one."""
