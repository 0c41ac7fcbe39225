"""The fields of a Messages request by what may become of them.

Every field is carried, refused, given to the providers that name it, or ignored and said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from bandari.domain.chat import ChatRequest, ImagePart
from bandari.wire.bodies import is_null
from bandari.wire.dialect import Dialect
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.thoughts import forwarded_thinking, has_foreign_thoughts, may_think

CARRIED: Final = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "stream",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "metadata",
        "cache_control",
    }
)
"""Fields that every provider of this protocol is given. All others go to those that name them."""

THREAD: Final = "thread"
"""A conversation that the server keeps; clients that are told so send all of it themselves."""

REFUSED: Final = frozenset({"mcp_servers"})
"""Fields without which the model would lack tools that the client counts on."""

COSTLY: Final = REFUSED | {
    "best_of",
    "billing_policy",
    "compaction",
    "container",
    "fallback_credit_token",
    "fallbacks",
    "inference_geo",
    "n",
    "n_cmpl",
    "n_predict",
    "service_tier",
    "speed",
    THREAD,
    "user_profile_id",
    "workspace_id",
}
"""Fields that change what a call costs, or who is paid for it: no provider is given them."""

NAMES: Final[Mapping[str, str]] = {
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "reasoning_effort": "output_config.effort",
    "response_format": "output_config.format",
    "stop": "stop_sequences",
    "user": "metadata.user_id",
}
"""Words of a request that this protocol's clients spell differently."""


def is_passed_on(name: str, dialect: Dialect) -> bool:
    """Whether the client's own field, which the request has no words for, is sent on."""
    return name in dialect.extra_fields and name not in COSTLY


def ignored_fields(request: ChatRequest, dialect: Dialect) -> tuple[str, ...]:
    """The names of the client's fields that an upstream of this dialect is not given, sorted."""
    return tuple(sorted(set(_ignored(request, dialect))))


def _ignored(request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    original = request.original
    if request.sampling.seed is not None:
        yield "seed"
    if has_foreign_thoughts(request):
        yield "reasoning"
    if original is not None and original.protocol == PROTOCOL:
        yield from (name for name in original.unknown if not is_passed_on(name, dialect))
        thinking = original.fields.get("thinking")
        said = thinking is not None and not is_null(thinking)
        if said and forwarded_thinking(request, original) is None:
            yield "thinking"
        return
    if original is not None:
        yield from original.unknown
        yield from original.untold
    if request.reasoning_effort not in (None, "none") and not may_think(request):
        yield "reasoning_effort"
    for message in request.messages:
        if message.name is not None:
            yield "messages[].name"
        if any(isinstance(part, ImagePart) and part.detail for part in message.parts):
            yield "messages[].content[].image_url.detail"
