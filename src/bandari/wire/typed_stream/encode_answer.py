"""Answers as a typed stream: each chunk of Chat Completions is a ``message`` event with its index.

Field order within a block: comments, ``event``, ``id``, ``data``; every block names its event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bandari.domain.events import Event, FinishReason
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.chat_completions.encode_answer import StreamEncoder
from bandari.wire.envelope import Envelope
from bandari.wire.typed_stream.errors import error_event

EMPTY_COMMENT: Final = b": \n\n"
"""What the stream begins with, and what it says while there is nothing to say."""

KEEPALIVE_MS: Final = 5_000

_DONE: Final = b"event: done\ndata: null\n\n"


class TypedStreamEncoder:
    """Ids count the chunks from 0: the last one that a client has received is where it goes on."""

    __slots__ = ("_chunks", "_next_id")

    def __init__(
        self, envelope: Envelope, *, choices: int = 1, include_usage: bool = False
    ) -> None:
        self._chunks = StreamEncoder(
            envelope, choices=choices, include_usage=include_usage, reasoning="reasoning"
        )
        self._next_id = 0

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        return self._messages(self._chunks.events(events))

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        *chunks, _ = self._chunks.close(usage, finish)  # without that protocol's own end
        return [*self._messages(chunks), _DONE]

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """Nothing follows it."""
        return (error_event(problem),)

    def _messages(self, frames: Iterable[bytes]) -> list[bytes]:
        messages = [
            b"event: message\nid: %d\n%b" % (number, frame)
            for number, frame in enumerate(frames, self._next_id)
        ]
        self._next_id += len(messages)
        return messages
