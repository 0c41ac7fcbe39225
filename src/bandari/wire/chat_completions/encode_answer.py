"""Chat Completions answers, whole and streamed, from events to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: usage and the end wait for ``close``: the answer is paid for before it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bandari.domain.answer import Answer, AnswerFold, Choice
from bandari.domain.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.chat_completions import DONE
from bandari.wire.chat_completions.errors import encode_problem
from bandari.wire.chat_completions.fields import REASONING
from bandari.wire.envelope import Envelope
from bandari.wire.sse import data_frame

_encode = msgspec.json.Encoder().encode


class StreamEncoder:
    """Writes a streamed answer: one SSE event per frame, in the order of the events.

    ``reasoning`` is the field of a delta that has the model's thoughts.
    """

    __slots__ = (
        "_head",
        "_include_usage",
        "_named",
        "_reasoning",
        "_started",
        "_tail",
        "_unfinished",
    )

    def __init__(
        self,
        envelope: Envelope,
        *,
        choices: int = 1,
        include_usage: bool = False,
        reasoning: str = REASONING,
    ) -> None:
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
            % (_encode(envelope.id), envelope.created, _encode(envelope.model))
        )
        self._include_usage = include_usage
        self._reasoning = reasoning
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._started: set[int] = set()
        self._named: set[tuple[int, int, str]] | None = None
        self._unfinished = set(range(choices))

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """The frames for what happened; usage is held back for ``close``."""
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):
                if event.choice not in self._started:
                    self._start(frames, event.choice)
                frames.append(self._text(event))
            elif isinstance(event, ChoiceFinished):
                self._start(frames, event.choice)
                frames.append(self._finish(event.choice, event.reason))
            elif isinstance(event, ToolCallDelta):
                self._start(frames, event.choice)
                frames.append(self._delta(event.choice, {"tool_calls": [self._piece(event)]}))
            elif isinstance(event, ReasoningDelta):
                self._start(frames, event.choice)
                frames.append(self._delta(event.choice, {self._reasoning: event.text}))
            elif isinstance(event, RefusalDelta):
                self._start(frames, event.choice)
                frames.append(self._delta(event.choice, {"refusal": event.text}))
        return frames

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        """The frames that end a good answer, ``[DONE]`` last.

        ``finish`` ends the choices that the upstream left open because we stopped it.
        """
        frames: list[bytes] = []
        for choice in sorted(self._unfinished):
            self._start(frames, choice)
            frames.append(self._finish(choice, finish or FinishReason.STOP))
        if self._include_usage:
            frames.append(self._head + b'],"usage":' + _encode(_usage_fields(usage)) + b"}\n\n")
        frames.append(data_frame(DONE))
        return frames

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """The in-stream error. Nothing follows it, not even ``[DONE]``."""
        return (data_frame(encode_problem(problem)),)

    def _start(self, frames: list[bytes], choice: int) -> None:
        if choice not in self._started:
            self._started.add(choice)
            self._unfinished.add(choice)
            frames.append(self._delta(choice, {"role": "assistant", "content": ""}))

    def _text(self, event: TextDelta) -> bytes:
        logprobs = b"null"
        if event.logprobs:
            logprobs = _encode({"content": _logprob_list(event.logprobs), "refusal": None})
        return b'%b{"index":%d,"delta":{"content":%b},"logprobs":%b,"finish_reason":null}%b' % (
            self._head,
            event.choice,
            _encode(event.text),
            logprobs,
            self._tail,
        )

    def _delta(self, choice: int, delta: dict[str, Any]) -> bytes:
        return b'%b{"index":%d,"delta":%b,"logprobs":null,"finish_reason":null}%b' % (
            self._head,
            choice,
            _encode(delta),
            self._tail,
        )

    def _piece(self, event: ToolCallDelta) -> dict[str, Any]:
        """A tool call's piece. Clients join the pieces, so id and name are said once only."""
        function: dict[str, Any] = {"arguments": event.arguments}
        piece: dict[str, Any] = {"index": event.index, "function": function}
        if event.id and self._is_new(event, "id"):
            piece |= {"id": event.id, "type": "function"}
        if event.name and self._is_new(event, "name"):
            function["name"] = event.name
        return piece

    def _is_new(self, event: ToolCallDelta, what: str) -> bool:
        mark = (event.choice, event.index, what)
        if self._named is None:
            self._named = set()
        elif mark in self._named:
            return False
        self._named.add(mark)
        return True

    def _finish(self, choice: int, reason: FinishReason) -> bytes:
        self._unfinished.discard(choice)
        return b'%b{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%b"}%b' % (
            self._head,
            choice,
            reason.encode(),
            self._tail,
        )


class WholeEncoder:
    """Writes an unstreamed answer: one JSON body, when all is known and paid."""

    __slots__ = ("_envelope", "_fold", "_wants_logprobs")

    def __init__(
        self, envelope: Envelope, *, choices: int = 1, wants_logprobs: bool = False
    ) -> None:
        self._envelope = envelope
        self._fold = AnswerFold(choices)
        self._wants_logprobs = wants_logprobs

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        self._fold.add(events)
        return ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        answer = self._fold.answer(finish or FinishReason.STOP)
        return (encode_answer(answer, usage, self._envelope, self._wants_logprobs),)

    def problem(self, problem: Problem) -> Sequence[bytes]:  # noqa: ARG002 - the port's
        """None: an unstreamed answer has a status to say it with."""
        return ()


def encode_answer(
    answer: Answer, usage: Usage, envelope: Envelope, wants_logprobs: bool = False
) -> bytes:
    """The ``chat.completion`` object."""
    return _encode(
        {
            "id": envelope.id,
            "object": "chat.completion",
            "created": envelope.created,
            "model": envelope.model,
            "choices": [_choice_fields(choice, wants_logprobs) for choice in answer.choices],
            "usage": _usage_fields(usage),
        }
    )


def _choice_fields(choice: Choice, wants_logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if choice.tool_calls and not choice.text else choice.text,
        "refusal": choice.refusal or None,
    }
    if choice.reasoning:
        message[REASONING] = choice.reasoning
    if choice.tool_calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in choice.tool_calls
        ]
    logprobs = {"content": _logprob_list(choice.logprobs), "refusal": None}
    return {
        "index": choice.index,
        "message": message,
        "logprobs": logprobs if wants_logprobs else None,
        "finish_reason": choice.finish_reason,
    }


def _logprob_list(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    return [
        {
            "token": entry.token,
            "logprob": entry.logprob,
            "bytes": entry.bytes,
            "top_logprobs": [
                {"token": top.token, "logprob": top.logprob, "bytes": top.bytes}
                for top in entry.top
            ],
        }
        for entry in logprobs
    ]


def _usage_fields(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
