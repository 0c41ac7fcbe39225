"""The fields of a Responses request by what may become of them.

Every field is carried, refused, given to the providers that name it, or ignored and said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.domain.chat import ChatRequest, ReasoningPart
from bandari.wire.dialect import Dialect
from bandari.wire.responses import PROTOCOL

CARRIED: Final = frozenset(
    {
        "model",
        "input",
        "instructions",
        "previous_response_id",
        "store",
        "background",
        "metadata",
        "include",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_logprobs",
        "max_output_tokens",
        "text",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "truncation",
        "user",
        "safety_identifier",
    }
)
"""Fields that have their effect here or with every upstream. Others go to those that name them."""

INSTEAD: Final[Mapping[str, str]] = {
    "conversation": "is not supported yet: use 'previous_response_id'",
    "prompt": "is not supported: send 'instructions' and 'input' themselves",
    "n_predict": "is not supported: use 'max_output_tokens'",
    "num_predict": "is not supported: use 'max_output_tokens'",
    "n_cmpl": "is not supported: a request gets one answer",
    "best_of": "is not supported: a request gets one answer",
    "use_beam_search": "is not supported: a request gets one answer",
}
"""What to tell those who send a field that is refused."""

REFUSED: Final = frozenset(INSTEAD)
"""Fields that change what the prompt is or what an answer costs, as no limit of ours would see."""

COSTLY: Final = REFUSED | {
    "audio",
    "cache_prompt",
    "context_management",
    "enable_search",
    "extra_body",
    "fallback_models",
    "max_completion_tokens",
    "max_new_tokens",
    "max_tokens",
    "min_tokens",
    "modalities",
    "models",
    "moderation",
    "n",
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

ECHOED: Final = frozenset(
    {
        "background",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
"""Fields that an answer repeats."""

NAMES: Final[Mapping[str, str]] = {
    "logprobs": "include",
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "reasoning_effort": "reasoning.effort",
    "response_format": "text.format",
}
"""What clients of this protocol call the values of a request."""

ENCRYPTED_THOUGHTS: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
INCLUDABLE: Final = frozenset({ENCRYPTED_THOUGHTS, LOGPROBS})
"""What ``include`` may ask for, and gets."""

SIDE_VALUES: Final = ("seed", "top_k")
"""Values that only tune, and that the protocol has no words for: for providers that name them."""


def is_passed_on(name: str, dialect: Dialect) -> bool:
    """Whether a field that no value of a request stands for goes to an upstream of this dialect."""
    return name in dialect.extra_fields and name not in CARRIED and name not in COSTLY


def ignored_fields(request: ChatRequest, dialect: Dialect) -> tuple[str, ...]:
    """The names of the client's fields that an upstream of this dialect is not given, sorted."""
    original = request.original
    names: set[str] = set()
    if original is not None:
        if original.protocol == PROTOCOL:
            names.update(name for name in original.unknown if not is_passed_on(name, dialect))
        else:
            names.update(original.unknown)
            names.update(original.untold)
    for name in SIDE_VALUES:
        if getattr(request.sampling, name) is not None and name not in dialect.extra_fields:
            names.add(name)
    for turn in request.messages:
        if turn.name is not None:
            names.add("messages[].name")
        if any(isinstance(part, ReasoningPart) and not is_ours(part) for part in turn.parts):
            names.add("reasoning")
    return tuple(sorted(names)) if names else ()


def is_ours(thought: ReasoningPart) -> bool:
    """Whether a server of this protocol can read the thought: only its seal tells it."""
    return thought.seal is not None and thought.seal.protocol == PROTOCOL
