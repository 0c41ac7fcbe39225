"""What is allowed in a Messages request's fields, in words.

How a complaint is put is ``bandari.wire.field_errors``' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.wire.field_errors import FieldErrors

ALLOWED: Final[Mapping[str, str]] = {
    "messages[].role": "user, assistant, system",
    "output_config.effort": "low, medium, high, xhigh, max",
    "output_config.format.type": "json_schema",
    "system[].type": "text",
    "thinking.type": "enabled, disabled, adaptive, between_tools",
    "tool_choice.type": "auto, any, tool, none",
}
"""The values of fields that take one of a few."""

_MEDIA_TYPE: Final = "must be a media type such as image/png"

SPELLINGS: Final[Mapping[str, str]] = {
    "messages[].content[].content[].source.media_type": _MEDIA_TYPE,
    "messages[].content[].source.media_type": _MEDIA_TYPE,
    "metadata.user_id": "may not hold control characters",
    "model": "may not hold control characters",
    "tools[].name": "must be 1 to 128 letters, digits, '_', '.', ':' or '-'",
}
"""How the fields with a pattern are spelled."""

ERRORS: Final = FieldErrors(ALLOWED, SPELLINGS)
