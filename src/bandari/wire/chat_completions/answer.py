"""Chat Completions answers, whole and streamed: from an upstream's bytes to events, and from events
to a client's bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: a decoder's answer has ended only when it saw the protocol's own end; the caller asks
``ended`` when the bytes stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from bandari.domain.answer import Answer, AnswerFold, Choice
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    UsageReported,
)
from bandari.domain.faults import UpstreamMalformed
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.chat_completions.errors import encode_problem, read_stream_error
from bandari.wire.sse import SseEvent, data_frame

DONE: Final = b"[DONE]"

_FINISH_REASONS: Final = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}

# -- the wire's shapes, as far as they are read ----------------------------------------------------


_Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class _InputDetails(Struct):
    cached_tokens: _Tokens | None = None
    cache_write_tokens: _Tokens | None = None


class _OutputDetails(Struct):
    reasoning_tokens: _Tokens | None = None


class _WireUsage(Struct):
    prompt_tokens: _Tokens | None = None
    completion_tokens: _Tokens | None = None
    prompt_tokens_details: _InputDetails | None = None
    completion_tokens_details: _OutputDetails | None = None


class _Timings(Struct):
    """llama.cpp's running counts; ``prompt_n`` leaves out what came from the cache."""

    prompt_n: _Tokens = 0
    cache_n: _Tokens = 0
    predicted_n: _Tokens = 0


class _WireTopLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class _WireTokenLogprob(Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_WireTopLogprob] = []


class _WireLogprobs(Struct):
    content: list[_WireTokenLogprob] | None = None


class _FunctionPiece(Struct):
    name: str | None = None
    arguments: str | None = None


class _ToolCallPiece(Struct):
    index: int | None = None
    id: str | None = None
    function: _FunctionPiece | None = None


class _Content(Struct):
    """A delta or a whole message: the same fields, in pieces or at once."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCallPiece] | None = None


class _WireChoice(Struct):
    index: int = 0
    delta: _Content | None = None
    message: _Content | None = None
    finish_reason: str | None = None
    logprobs: _WireLogprobs | None = None


class _Chunk(Struct):
    choices: list[_WireChoice] = []
    usage: _WireUsage | None = None
    timings: _Timings | None = None
    error: Raw | UnsetType = UNSET


_read_chunk = msgspec.json.Decoder(_Chunk).decode
_encode = msgspec.json.Encoder().encode


# -- reading ---------------------------------------------------------------------------------------


class AnswerDecoder:
    """Reads one upstream's answer, as a stream of SSE events or as one body."""

    __slots__ = (
        "_choices",
        "_cut",
        "_finished",
        "_saw_done",
        "_single_call",
        "_top_logprobs",
    )

    def __init__(
        self, choices: int = 1, top_logprobs: int = 0, *, single_call: bool = False
    ) -> None:
        """What was asked for; what an upstream gives beyond is cut.

        ``single_call``: a choice ends with its first tool call (``parallel_tool_calls`` is false).
        """
        self._choices = choices
        self._top_logprobs = top_logprobs
        self._single_call = single_call
        self._cut: set[int] = set()
        self._finished: set[int] = set()
        self._saw_done = False

    @property
    def ended(self) -> bool:
        """Whether the upstream said that it is done: ``[DONE]``, or a finish for every choice."""
        return self._saw_done or len(self._finished) >= self._choices

    @property
    def has_enough(self) -> bool:
        """Whether the rest of the stream would be cut away, so that it need not be read."""
        return bool(self._cut) and len(self._finished) >= self._choices

    def stream_event(self, event: SseEvent) -> Sequence[Event]:
        """What one SSE event says. An error event raises the ``Fault`` that it stands for."""
        if event.data == DONE:
            self._saw_done = True
            return ()
        chunk = _parse(event.data)
        return self._events(chunk) if chunk.choices or chunk.usage or chunk.timings else ()

    def body(self, body: bytes) -> Sequence[Event]:
        """What a whole, unstreamed answer says."""
        chunk = _parse(body)
        if not chunk.choices:
            raise UpstreamMalformed("The model's provider sent an answer without choices.")
        return self._events(chunk)

    def _events(self, chunk: _Chunk) -> list[Event]:
        events: list[Event] = []
        for choice in chunk.choices:
            if choice.index in self._cut:
                continue
            content = choice.delta or choice.message
            if content is not None:
                self._content_events(events, choice, content)
            if choice.index in self._cut:
                self._finished.add(choice.index)
                events.append(ChoiceFinished(choice.index, FinishReason.TOOL_CALLS))
            elif choice.finish_reason:
                self._finished.add(choice.index)
                reason = _FINISH_REASONS.get(choice.finish_reason, FinishReason.STOP)
                events.append(ChoiceFinished(choice.index, reason))
        timings = chunk.timings
        if timings is not None and len(chunk.choices) == 1:
            events.append(
                Counted(
                    chunk.choices[0].index,
                    timings.prompt_n + timings.cache_n,
                    timings.cache_n,
                    timings.predicted_n,
                )
            )
        if chunk.usage is not None:
            events.extend(_read_usage(chunk.usage))
        return events

    def _content_events(self, events: list[Event], choice: _WireChoice, content: _Content) -> None:
        index = choice.index
        thought = content.reasoning_content or content.reasoning
        if thought:
            events.append(ReasoningDelta(index, thought))
        logprobs = choice.logprobs.content if choice.logprobs is not None else None
        if content.content or logprobs:
            entries = (_read_logprob(entry, self._top_logprobs) for entry in logprobs or ())
            events.append(TextDelta(index, content.content or "", tuple(entries)))
        if content.refusal:
            events.append(RefusalDelta(index, content.refusal))
        for position, piece in enumerate(content.tool_calls or ()):
            function = piece.function
            number = position if piece.index is None else piece.index
            if number > 0 and self._single_call:
                self._cut.add(index)
                return
            events.append(
                ToolCallDelta(
                    index,
                    number,
                    (function.arguments or "") if function is not None else "",
                    piece.id,
                    function.name if function is not None else None,
                )
            )


def _parse(data: bytes) -> _Chunk:
    try:
        chunk = _read_chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamMalformed from None
    if chunk.error is not UNSET and bytes(chunk.error) != b"null":
        raise read_stream_error(bytes(chunk.error))
    return chunk


def _read_logprob(wire: _WireTokenLogprob, top_count: int) -> TokenLogprob:
    return TokenLogprob(
        wire.token,
        wire.logprob,
        wire.bytes,
        tuple(
            TopLogprob(top.token, top.logprob, top.bytes) for top in wire.top_logprobs[:top_count]
        ),
    )


def _read_usage(wire: _WireUsage) -> Sequence[UsageReported]:
    """What was reported; half a report is none, or the other half would be free of charge."""
    if wire.prompt_tokens is None or wire.completion_tokens is None:
        return ()
    given = wire.prompt_tokens_details or _InputDetails()
    made = wire.completion_tokens_details or _OutputDetails()
    try:
        usage = Usage(
            input_tokens=wire.prompt_tokens,
            output_tokens=wire.completion_tokens,
            cached_tokens=given.cached_tokens or 0,
            cache_write_tokens=given.cache_write_tokens or 0,
            reasoning_tokens=made.reasoning_tokens or 0,
        )
    except ValueError:
        raise UpstreamMalformed("The model's provider reported an impossible usage.") from None
    return (UsageReported(usage),)


# -- writing ---------------------------------------------------------------------------------------


class Envelope(Struct, frozen=True):
    """What every chunk of one answer repeats.

    ``model`` is the public id; ``created`` is in seconds.
    """

    id: str
    created: int
    model: str


class StreamEncoder:
    """Writes a streamed answer: one SSE event per frame, in the order of the events."""

    __slots__ = ("_head", "_include_usage", "_named", "_started", "_tail", "_unfinished")

    def __init__(
        self, envelope: Envelope, *, choices: int = 1, include_usage: bool = False
    ) -> None:
        self._head = (
            b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":['
            % (_encode(envelope.id), envelope.created, _encode(envelope.model))
        )
        self._include_usage = include_usage
        self._tail = b'],"usage":null}\n\n' if include_usage else b"]}\n\n"
        self._started: set[int] = set()
        self._named: set[tuple[int, int, str]] = set()
        self._unfinished = set(range(choices))

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """The frames for what happened; usage is held back for ``close``."""
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, TextDelta):
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
                frames.append(self._delta(event.choice, {"reasoning_content": event.text}))
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
        if mark in self._named:
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
        message["reasoning_content"] = choice.reasoning
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
