"""The keys of a Messages request that its values stand for, wherever they are in it.

Whatever else a client writes is passed on to upstreams of this protocol, and nobody here knows what
it means: a request with it is not the same as one without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.wire.messages.fields import CARRIED

WORDS: Final[Mapping[str, frozenset[str] | None]] = {
    "": CARRIED,
    "system": frozenset({"type", "text"}),
    "messages": frozenset({"role", "content"}),
    "content": frozenset(
        {
            "type",
            "text",
            "source",
            "id",
            "name",
            "input",
            "tool_use_id",
            "content",
            "is_error",
            "thinking",
            "signature",
            "data",
        }
    ),
    "source": frozenset({"type", "media_type", "data", "url"}),
    "input": None,
    "tools": frozenset({"type", "name", "description", "input_schema", "strict"}),
    "input_schema": None,
    "tool_choice": frozenset({"type", "name", "disable_parallel_tool_use"}),
    "metadata": frozenset({"user_id"}),
}
"""The parts of ``output_config`` and ``thinking`` are missing: several of them are one value."""
