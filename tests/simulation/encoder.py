"""The port ``FrameEncoder``, spelled so that a client can read it at a glance.

A piece of text in a stream is a dot; a good end is ``END input output``, a bad one
``PROBLEM code``.
"""

from __future__ import annotations

from collections.abc import Sequence

from bandari.domain.events import (
    Event,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage

PIECE = b"."
TEXT = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta


class SimulatedEncoder:
    def __init__(self, *, streams: bool) -> None:
        self._streams = streams

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        has_text = any(isinstance(event, TEXT) for event in events)
        return (PIECE,) if self._streams and has_text else ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        return (b"END %d %d" % (usage.input_tokens, usage.output_tokens),)

    def problem(self, problem: Problem) -> Sequence[bytes]:
        return (b"PROBLEM " + problem.code.encode(),) if self._streams else ()
