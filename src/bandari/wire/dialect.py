"""How one provider's spelling of its protocol differs from the others', and what it can do.

One value for all protocols; a codec looks at what its own protocol has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Raw, Struct

from bandari.domain.chat import ChatRequest


class Dialect(Struct, frozen=True):
    """How one provider's spelling of the protocol differs, and what it can do.

    ``extra_fields``: fields beyond the common ones that it is given. ``constants``: fields that
    every request to it carries. ``obeys_tool_choice``: false where it takes ``tool_choice`` for a
    hint; then the tools that it may not call are not sent. ``streams_logprobs_with_tools``: false
    where that combination is refused; then such an answer is asked for whole.
    """

    extra_fields: frozenset[str] = frozenset()
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    streams: bool = True
    constants: Mapping[str, Raw] = {}
    obeys_tool_choice: bool = True
    streams_logprobs_with_tools: bool = True

    def streams_answer_to(self, request: ChatRequest) -> bool:
        """Whether the answer to this request is asked for as a stream."""
        if request.sampling.logprobs and request.tools:
            return self.streams and self.streams_logprobs_with_tools
        return self.streams
