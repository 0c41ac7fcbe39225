"""The fields of a Chat Completions request by what may become of them.

Every field is carried, refused, given to the providers that name it, or ignored and said so.
"""

from __future__ import annotations

from typing import Final

from bandari.domain.chat import ChatRequest, ReasoningPart
from bandari.wire.chat_completions import PROTOCOL
from bandari.wire.dialect import Dialect

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

TOP_K: Final = "top_k"
"""Not OpenAI's, but a value of the request: other protocols have it, and some providers."""

REASONING: Final = "reasoning_content"
"""Where an assistant's message keeps its thoughts, with providers that name this field."""

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


def ignored_fields(request: ChatRequest, dialect: Dialect) -> tuple[str, ...]:
    """The names of the client's fields that an upstream of this dialect is not given, sorted."""
    original = request.original
    names: set[str] = set()
    if original is not None:
        names.update(original.unknown)
        if original.protocol == PROTOCOL:
            names -= dialect.extra_fields
        else:
            names.update(original.untold)
            if REASONING not in dialect.extra_fields and _has_thoughts(request):
                names.add("reasoning")
    if request.sampling.top_k is not None and TOP_K not in dialect.extra_fields:
        names.add(TOP_K)
    return tuple(sorted(names)) if names else ()


def _has_thoughts(request: ChatRequest) -> bool:
    return any(isinstance(part, ReasoningPart) for turn in request.messages for part in turn.parts)
