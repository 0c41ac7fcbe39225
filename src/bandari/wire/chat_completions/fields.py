"""The fields of a Chat Completions request by what may become of them, and how providers differ.

Every field is carried, refused, given to the providers that name it, or ignored and said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Raw, Struct

from bandari.domain.chat import ChatRequest
from bandari.wire.chat_completions import PROTOCOL

CARRIED: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "n",
        "seed",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "user",
        "reasoning_effort",
    }
)
"""Fields that have their effect with every upstream. All others go to those that name them."""

REFUSED: Final = frozenset({"n_predict", "num_predict", "n_cmpl", "best_of", "use_beam_search"})
"""Fields that change what an answer costs in a way that no limit of ours would see."""

COSTLY: Final = REFUSED | {
    "audio",
    "cache_prompt",
    "enable_search",
    "max_new_tokens",
    "max_output_tokens",
    "min_tokens",
    "modalities",
    "models",
    "n_discard",
    "n_keep",
    "plugins",
    "prediction",
    "provider",
    "route",
    "search_parameters",
    "service_tier",
    "transforms",
    "web_search",
    "web_search_options",
}
"""Fields that change what a call costs, or who is paid for it: no provider may be given them."""


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


def ignored_fields(request: ChatRequest, dialect: Dialect) -> tuple[str, ...]:
    """The names of the client's fields that an upstream of this dialect is not given, sorted."""
    original = request.original
    if original is None or original.protocol != PROTOCOL:
        return ()
    names = [
        name
        for name, raw in original.fields.items()
        if name not in CARRIED and name not in dialect.extra_fields and not is_null(raw)
    ]
    return tuple(sorted(names))


def is_null(raw: Raw) -> bool:
    """Whether a field is there and says nothing: ``null`` is the same as absent."""
    return len(raw) == 4 and bytes(raw) == b"null"
