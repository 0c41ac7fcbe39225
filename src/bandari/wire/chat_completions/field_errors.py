"""What is allowed in a Chat Completions request's fields, in words.

How a complaint is put is ``bandari.wire.field_errors``' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.domain.chat import Role
from bandari.wire.field_errors import FieldErrors

ALLOWED: Final[Mapping[str, str]] = {
    "messages[].role": ", ".join(Role),
    "messages[].content[].type": "text, image_url, input_audio, file, refusal",
    "messages[].content[].image_url.detail": "auto, low, high, original",
    "messages[].tool_calls[].type": "function",
    "reasoning_effort": "none, minimal, low, medium, high, xhigh, max",
    "response_format.type": "text, json_object, json_schema",
    "tool_choice": "none, auto, required",
    "tool_choice.type": "function",
    "tools[].type": "function",
}
"""The values of fields that take one of a few."""

SPELLINGS: Final[Mapping[str, str]] = {
    "model": "may not hold control characters",
    "user": "may not hold control characters",
    "safety_identifier": "may not hold control characters",
    "logit_bias": "may only have token ids as its keys",
    "response_format.json_schema.name": "must be 1 to 64 letters, digits, '_' or '-'",
    "tools[].function.name": "must be 1 to 128 letters, digits, '_', '.', ':' or '-'",
}
"""How the fields with a pattern are spelled."""

ERRORS: Final = FieldErrors(ALLOWED, SPELLINGS)
