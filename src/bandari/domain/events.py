"""What happens while an answer is generated, in no protocol's spelling.

A decoder turns an upstream's bytes into these; an encoder turns these into a client's bytes; the
meter folds usage from them. ``choice`` is the 0-based index of one of the ``n`` answers.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from bandari.domain.chat import Seal
from bandari.domain.usage import Usage


class FinishReason(StrEnum):
    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class TopLogprob(Struct, frozen=True, gc=False):
    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenLogprob(Struct, frozen=True):
    """A generated token's natural-log probability, and the likeliest tokens in its place."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top: tuple[TopLogprob, ...] = ()


class TextDelta(Struct, frozen=True):
    choice: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class ReasoningDelta(Struct, frozen=True, gc=False):
    choice: int
    text: str


class ReasoningSealed(Struct, frozen=True):
    """The end of one thought, with the seal that its maker wants back beside its text."""

    choice: int
    seal: Seal


class RefusalDelta(Struct, frozen=True, gc=False):
    choice: int
    text: str


class ToolCallDelta(Struct, frozen=True, gc=False):
    """A piece of a tool call; ``id`` and ``name`` come with the first piece only."""

    choice: int
    index: int
    arguments: str
    id: str | None = None
    name: str | None = None


class ChoiceFinished(Struct, frozen=True, gc=False):
    """``stop_sequence`` is the client's one that ended it, where the upstream says so."""

    choice: int
    reason: FinishReason
    stop_sequence: str | None = None


class Counted(Struct, frozen=True, gc=False):
    """An exact running count: tokens so far of one choice, and of the prompt (all of it)."""

    choice: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int


class InputCounted(Struct, frozen=True, gc=False):
    """The prompt's exact size (all of it) and its kinds, told before the answer's end.

    It is no promise of running counts: the output's size stays unknown.
    """

    input_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class UsageReported(Struct, frozen=True):
    """The upstream's own total over all choices. A later report replaces an earlier one."""

    usage: Usage


Event = (
    TextDelta
    | ReasoningDelta
    | ReasoningSealed
    | RefusalDelta
    | ToolCallDelta
    | ChoiceFinished
    | Counted
    | InputCounted
    | UsageReported
)
