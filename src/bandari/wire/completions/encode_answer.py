"""Legacy Completions answers, whole and streamed, from events to bytes.

Rule 1: no I/O. Rule 2: usage and the end wait for ``close``: the answer is paid for before it ends.
Rule 3: there is only text. A refusal is text too; what a model thinks has no place here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bandari.domain.answer import AnswerFold, Choice
from bandari.domain.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
)
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.chat_completions import DONE
from bandari.wire.chat_completions.errors import encode_problem
from bandari.wire.envelope import Envelope
from bandari.wire.sse import data_frame

_encode = msgspec.json.Encoder().encode


class StreamEncoder:
    """Writes a streamed answer: one SSE event per frame, in the order of the events."""

    __slots__ = ("_head", "_include_usage", "_offsets", "_tail", "_unfinished")

    def __init__(
        self, envelope: Envelope, *, choices: int = 1, include_usage: bool = False
    ) -> None:
        self._head = (
            b'data: {"id":%b,"object":"text_completion","created":%d,"model":%b,"choices":['
            % (_encode(envelope.id), envelope.created, _encode(envelope.model))
        )
        self._include_usage = include_usage
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._offsets = dict.fromkeys(range(choices), 0)
        self._unfinished = set(range(choices))

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """The frames for what happened; usage is held back for ``close``."""
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):
                frames.append(self._text(event.choice, event.text, event.logprobs))
            elif isinstance(event, RefusalDelta):
                frames.append(self._text(event.choice, event.text))
            elif isinstance(event, ChoiceFinished):
                frames.append(self._finish(event.choice, event.reason))
        return frames

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        """The frames that end a good answer, ``[DONE]`` last.

        ``finish`` ends the choices that the upstream left open because we stopped it.
        """
        reason = finish or FinishReason.STOP
        frames = [self._finish(choice, reason) for choice in sorted(self._unfinished)]
        if self._include_usage:
            frames.append(self._head + b'],"usage":' + _encode(_usage_fields(usage)) + b"}\n\n")
        frames.append(data_frame(DONE))
        return frames

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """The in-stream error. Nothing follows it, not even ``[DONE]``."""
        return (data_frame(encode_problem(problem)),)

    def _text(self, choice: int, text: str, logprobs: Sequence[TokenLogprob] = ()) -> bytes:
        self._unfinished.add(choice)
        offset = self._offsets.get(choice, 0)
        self._offsets[choice] = offset + len(text)
        return self._chunk(choice, text, _logprob_fields(logprobs, offset), None)

    def _finish(self, choice: int, reason: FinishReason) -> bytes:
        self._unfinished.discard(choice)
        return self._chunk(choice, "", None, _spelled(reason))

    def _chunk(
        self, choice: int, text: str, logprobs: dict[str, Any] | None, finish: str | None
    ) -> bytes:
        return b'%b{"text":%b,"index":%d,"logprobs":%b,"finish_reason":%b}%b' % (
            self._head,
            _encode(text),
            choice,
            _encode(logprobs),
            _encode(finish),
            self._tail,
        )


class WholeEncoder:
    """Writes an unstreamed answer: one JSON body, when all is known and paid."""

    __slots__ = ("_envelope", "_fold")

    def __init__(self, envelope: Envelope, *, choices: int = 1) -> None:
        self._envelope = envelope
        self._fold = AnswerFold(choices)

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        self._fold.add(events)
        return ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        answer = self._fold.answer(finish or FinishReason.STOP)
        body = {
            "id": self._envelope.id,
            "object": "text_completion",
            "created": self._envelope.created,
            "model": self._envelope.model,
            "choices": [_choice_fields(choice) for choice in answer.choices],
            "usage": _usage_fields(usage),
        }
        return (_encode(body),)

    def problem(self, problem: Problem) -> Sequence[bytes]:  # noqa: ARG002 - the port's
        """None: an unstreamed answer has a status to say it with."""
        return ()


def _choice_fields(choice: Choice) -> dict[str, Any]:
    return {
        "text": choice.text + choice.refusal,
        "index": choice.index,
        "logprobs": _logprob_fields(choice.logprobs, 0),
        "finish_reason": _spelled(choice.finish_reason),
    }


def _spelled(reason: FinishReason) -> str:
    """Calls have no name here; a model that makes one has stopped."""
    return FinishReason.STOP if reason is FinishReason.TOOL_CALLS else reason


def _logprob_fields(logprobs: Sequence[TokenLogprob], offset: int) -> dict[str, Any] | None:
    """Lists side by side. ``offset`` is where the first token begins in its choice's text."""
    if not logprobs:
        return None
    offsets = []
    for entry in logprobs:
        offsets.append(offset)
        offset += len(entry.token)
    # Two likely tokens may be spelled alike (halves of a character): the likelier counts.
    likeliest = [{top.token: top.logprob for top in reversed(entry.top)} for entry in logprobs]
    return {
        "tokens": [entry.token for entry in logprobs],
        "token_logprobs": [entry.logprob for entry in logprobs],
        "top_logprobs": likeliest if any(likeliest) else None,
        "text_offset": offsets,
    }


def _usage_fields(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
