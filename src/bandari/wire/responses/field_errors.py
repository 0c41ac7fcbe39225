"""What is allowed in a Responses request's fields, in words.

How a complaint is put is ``bandari.wire.field_errors``' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.wire.field_errors import FieldErrors

_DETAILS: Final = "auto, low, high, original"
_NO_CONTROLS: Final = "may not hold control characters"

ALLOWED: Final[Mapping[str, str]] = {
    "input[].role": "user, assistant, system, developer",
    "input[].content[].type": (
        "input_text, input_image, input_file, output_text, refusal, reasoning_text, summary_text"
    ),
    "input[].content[].detail": _DETAILS,
    "input[].output[].type": "input_text, input_image, input_file",
    "input[].output[].detail": _DETAILS,
    "reasoning.effort": "none, minimal, low, medium, high, xhigh, max",
    "text.format.type": "text, json_object, json_schema",
    "tool_choice": "none, auto, required",
    "tool_choice.mode": "auto, required",
    "truncation": "auto, disabled",
}
"""The values of fields that take one of a few."""

SPELLINGS: Final[Mapping[str, str]] = {
    "model": _NO_CONTROLS,
    "previous_response_id": _NO_CONTROLS,
    "safety_identifier": _NO_CONTROLS,
    "user": _NO_CONTROLS,
    "text.format.name": "must be 1 to 64 letters, digits, '_' or '-'",
    "tools[].name": "must be 1 to 128 letters, digits, '_', '.', ':' or '-'",
}
"""How the fields with a pattern are spelled."""

ERRORS: Final = FieldErrors(ALLOWED, SPELLINGS)
