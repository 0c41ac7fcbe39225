"""A long conversation made short: ``POST /v1/responses/compact``.

The model that is named writes a summary, which stands for the conversation from then on. It comes
as an ordinary message of the user's, so that any model and any provider can go on from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from bandari.domain.answer import AnswerFold
from bandari.domain.chat import ChatRequest, Message, Role, TextPart
from bandari.domain.events import Event, FinishReason
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.responses.response_object import encode_compaction

ASKING: Final = (
    "Write a summary of our conversation so far, from which it can be continued without anything "
    "else: what was asked for, what was found and decided, facts, names, numbers and code that "
    "will be needed, and what is still to be done. Write only the summary."
)

_BEFORE: Final = "Summary of the conversation so far:\n\n"
_encode = msgspec.json.Encoder().encode


def summary_of(request: ChatRequest) -> ChatRequest:
    """The request for a summary of the conversation that ``request`` would continue."""
    return ChatRequest(
        model=request.model,
        messages=(*request.messages, Message(Role.USER, (TextPart(ASKING),))),
        sampling=replace(request.sampling, logprobs=False, top_logprobs=None),
        user=request.user,
        reasoning_effort=request.reasoning_effort,
        input_bytes=request.input_bytes + len(ASKING),
        images=request.images,
    )


class CompactionEncoder:
    """Writes the compacted conversation: one JSON body, when all is known and paid."""

    __slots__ = ("_envelope", "_fold")

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._fold = AnswerFold(1)

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        self._fold.add(events)
        return ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        del finish  # a summary that was cut is still one
        text = self._fold.answer().choices[0].text
        item = {
            "id": f"msg_{self._envelope.id.partition('_')[2]}_0",
            "type": "message",
            "role": "user",
            "status": "completed",
            "content": [{"type": "input_text", "text": _BEFORE + text}],
        }
        return (encode_compaction(self._envelope, [Raw(_encode(item))], usage),)

    def problem(self, problem: Problem) -> Sequence[bytes]:  # noqa: ARG002 - the port's
        """None: an unstreamed answer has a status to say it with."""
        return ()
