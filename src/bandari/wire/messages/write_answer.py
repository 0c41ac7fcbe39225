"""The pieces of a Messages answer as they are written, the same in a stream and in one body."""

from __future__ import annotations

from typing import Any, Final

from bandari.domain.chat import Seal
from bandari.domain.events import ChoiceFinished, FinishReason, InputCounted
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.messages import PROTOCOL
from bandari.wire.seals import unwrap, wrap

_STOP_REASONS: Final[dict[FinishReason, str]] = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}
NOT_STOPPED: Final[dict[str, str | None]] = {"stop_reason": None, "stop_sequence": None}


def call_id(envelope: Envelope, number: int) -> str:
    """For a call that its upstream gave none."""
    return f"toolu_{envelope.id.removeprefix('msg_')}_{number}"


def is_apart(seal: Seal, *, of_open_thought: bool) -> bool:
    """Whether a sealed thought is a block of its own. This protocol's have no text."""
    return seal.is_thought and (seal.protocol == PROTOCOL or not of_open_thought)


def spelled(seal: Seal) -> str:
    """The seal as it is, where it will be read back as the same; else wrapped."""
    if seal == unwrap(seal.data, PROTOCOL, is_thought=seal.is_thought):
        return seal.data
    return wrap(seal)


def message_fields(
    envelope: Envelope,
    content: list[dict[str, Any]],
    stop: dict[str, str | None],
    usage: dict[str, Any],
) -> dict[str, Any]:
    return {
        "id": envelope.id,
        "type": "message",
        "role": "assistant",
        "model": envelope.model,
        "content": content,
        **stop,
        "usage": usage,
    }


def stop_fields(
    finished: ChoiceFinished | None, otherwise: FinishReason | None, *, called: bool
) -> dict[str, str | None]:
    """Why it stopped. A call is a reason here, also where the upstream's protocol says "stop"."""
    if finished is None:
        finished = ChoiceFinished(0, otherwise or FinishReason.STOP)
    reason, sequence = _STOP_REASONS[finished.reason], finished.stop_sequence
    if finished.reason is FinishReason.STOP:
        if sequence is not None:
            reason = "stop_sequence"
        elif called:
            reason = "tool_use"
    return {"stop_reason": reason, "stop_sequence": sequence}


def prompt_fields(prompt: InputCounted | Usage) -> dict[str, Any]:
    apart = prompt.cached_tokens + prompt.cache_write_tokens
    return {
        "input_tokens": max(0, prompt.input_tokens - apart),
        "cache_creation_input_tokens": prompt.cache_write_tokens,
        "cache_read_input_tokens": prompt.cached_tokens,
    }


def usage_fields(usage: Usage) -> dict[str, Any]:
    return prompt_fields(usage) | {
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.reasoning_tokens},
    }


def frame(name: bytes, data: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, data)
