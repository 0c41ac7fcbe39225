"""Chat Completions answers, whole and streamed, from bytes to events.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: a decoder's answer has ended only when it saw the protocol's own end; the caller asks
``ended`` when the bytes stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

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
from bandari.wire.chat_completions import DONE
from bandari.wire.chat_completions.errors import read_stream_error
from bandari.wire.reported import reported_usage
from bandari.wire.sse import SseEvent

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
    def is_over(self) -> bool:
        """Whether the protocol's last event has come: nothing follows but the end of the body."""
        return self._saw_done

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
        if logprobs:
            entries = tuple(_read_logprob(entry, self._top_logprobs) for entry in logprobs)
            events.append(TextDelta(index, content.content or "", entries))
        elif content.content:
            events.append(TextDelta(index, content.content))
        if content.refusal:
            events.append(RefusalDelta(index, content.refusal))
        if not content.tool_calls:
            return
        for position, piece in enumerate(content.tool_calls):
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
    return (
        reported_usage(
            wire.prompt_tokens,
            wire.completion_tokens,
            cached=given.cached_tokens,
            cache_write=given.cache_write_tokens,
            reasoning=made.reasoning_tokens,
        ),
    )
