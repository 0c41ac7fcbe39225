"""Which thoughts a Messages server takes back, and when it lets the model think.

It reads only what it sealed itself, and refuses to think on about a call that it made without a
thought of its own. Reading a request, writing one, and telling what was left out agree here.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from bandari.domain.chat import ChatRequest, Message, Original, ReasoningPart, Role
from bandari.wire.bodies import is_null, read_value
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.field_errors import ERRORS
from bandari.wire.seals import unwrap

KINDS: Final = frozenset({"thinking", "redacted_thinking"})
"""The types of the blocks that hold thoughts."""

LEAST_BUDGET: Final = 1024
"""The fewest tokens that a server is ever told to think with."""


class _Thinking(Struct):
    thinking: str
    signature: str | None = None


class _Redacted(Struct):
    data: str


_thinking = msgspec.json.Decoder(_Thinking)
_redacted = msgspec.json.Decoder(_Redacted)
_fields_of = msgspec.json.Decoder(dict[str, Raw])
_integer = msgspec.json.Decoder(int)


def read_thought(kind: str, raw: Raw, where: str) -> ReasoningPart:
    """The thought in a block of ``kind``, which is one of ``KINDS``, at ``where``."""
    if kind == "thinking":
        block: _Thinking = read_value(where, raw, _thinking, ERRORS)
        text, sealed = block.thinking, block.signature
    else:
        text, sealed = "", read_value(where, raw, _redacted, ERRORS).data
    if not sealed:
        return ReasoningPart(text)
    return ReasoningPart(text, unwrap(sealed, PROTOCOL, is_thought=kind != "thinking"))


def is_own(thought: ReasoningPart) -> bool:
    """Whether a Messages server sealed this thought."""
    return thought.seal is not None and thought.seal.protocol == PROTOCOL


def written_thought(thought: ReasoningPart) -> dict[str, Any] | None:
    """The thought as a block; ``None`` where no Messages server would take it."""
    seal = thought.seal
    if seal is None or seal.protocol != PROTOCOL:
        return None
    if seal.is_thought:
        return {"type": "redacted_thinking", "data": seal.data}
    return {"type": "thinking", "thinking": thought.text, "signature": seal.data}


def has_foreign_thoughts(request: ChatRequest) -> bool:
    """Whether the request holds a thought that no Messages server sealed."""
    return any(
        isinstance(part, ReasoningPart) and not is_own(part)
        for message in request.messages
        for part in message.parts
    )


def may_think(request: ChatRequest) -> bool:
    """Whether a server would let the model think, in a request from another protocol."""
    choice = request.tool_choice
    if request.tools and choice is not None and choice.forces_call:
        return False
    return not _is_in_thoughtless_call(request)


def forwarded_thinking(request: ChatRequest, original: Original) -> Raw | dict[str, Any] | None:
    """The client's own ``thinking``, as far as a server would take it; ``None`` is left out.

    What the client wrote stands, except where the request was changed on the way: thoughts were
    taken out, or the answer was shortened to fewer tokens than were to be thought.
    """
    raw = original.fields.get("thinking")
    if raw is None or is_null(raw):
        return None
    if request.reasoning_effort == "none":
        return raw
    if has_foreign_thoughts(request) and _is_in_thoughtless_call(request):
        return None
    limit = request.sampling.max_tokens
    fields = _fields_of.decode(raw)
    budget = fields.get("budget_tokens")
    asked = original.fields.get("max_tokens")
    if limit is None or budget is None or asked is None or is_null(budget) or is_null(asked):
        return raw
    if limit >= _integer.decode(asked) or limit > _integer.decode(budget):
        return raw
    return fields | {"budget_tokens": limit - 1} if limit > LEAST_BUDGET else None


def _is_in_thoughtless_call(request: ChatRequest) -> bool:
    """Whether the model is to go on after a call that it made without a thought of its own."""
    for message in reversed(request.messages):
        if message.role is Role.USER:
            return False
        if message.role is Role.ASSISTANT and message.tool_calls:
            return not _has_own_thought(message)
    return False


def _has_own_thought(message: Message) -> bool:
    return any(isinstance(part, ReasoningPart) and is_own(part) for part in message.parts)
