"""Messages answers, whole and streamed, from bytes to events.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: blocks need not come one after the other, nor be stopped before the end: llama.cpp's are
not. Rule 4: the prompt's count waits for the first event that was generated, because until then
another upstream may be asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Raw, Struct

from bandari.domain.chat import Seal
from bandari.domain.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    InputCounted,
    ReasoningDelta,
    ReasoningSealed,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.faults import UpstreamMalformed
from bandari.domain.usage import Usage
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.errors import read_stream_error
from bandari.wire.messages.read_answer import (
    NULL,
    Block,
    Delta,
    OutputDetails,
    WireUsage,
    parse_arguments,
    parse_block,
    parse_event,
    parse_message,
    read_prompt,
)
from bandari.wire.sse import SseEvent

_FINISH_REASONS: Final = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


class _OpenBlock(Struct):
    """A block that has begun: a thought, or the tool call with the number ``call``.

    ``unsaid`` is what a call's arguments are if no piece of them comes.
    """

    signature: str = ""
    call: int | None = None
    id: str | None = None
    unsaid: str = ""


class AnswerDecoder:
    """Reads one upstream's answer, as a stream of SSE events or as one body."""

    __slots__ = (
        "_calls",
        "_counted",
        "_cut",
        "_finished",
        "_first_usage",
        "_open",
        "_saw_stop",
        "_single_call",
    )

    def __init__(self, *, single_call: bool = False) -> None:
        """``single_call``: the answer ends with its first tool call, and what follows is cut."""
        self._single_call = single_call
        self._open: dict[int, _OpenBlock] = {}
        self._calls = 0
        self._first_usage = WireUsage()
        self._counted: InputCounted | None = None
        self._cut = False
        self._finished = False
        self._saw_stop = False

    @property
    def ended(self) -> bool:
        """Whether the upstream said that it is done: ``message_stop``, or why it stopped."""
        return self._saw_stop or self._finished

    @property
    def is_over(self) -> bool:
        """Whether the protocol's last event has come: nothing follows but the end of the body."""
        return self._saw_stop

    @property
    def has_enough(self) -> bool:
        """Whether the rest of the stream would be cut away, so that it need not be read."""
        return self._cut

    def stream_event(self, event: SseEvent) -> Sequence[Event]:
        """What one SSE event says. An error event raises the ``Fault`` that it stands for."""
        if self._saw_stop:
            return ()
        if event.name == "error":
            raise read_stream_error(event.data)
        read = parse_event(event.data)
        events: list[Event] = []
        kind = read.type or event.name
        if kind == "content_block_delta":
            self._block_goes_on(events, read.index, read.delta)
        elif kind == "content_block_start":
            self._block_begins(events, read.index, read.content_block)
        elif kind == "content_block_stop":
            self._block_ends(events, read.index)
        elif kind == "message_delta":
            if read.delta is not None:
                self._finish(events, read.delta.stop_reason, read.delta.stop_sequence)
            self._report(events, read.usage)
        elif kind == "message_start":
            if read.message is not None and read.message.usage is not None:
                self._first_usage = read.message.usage
                self._counted = read_prompt(self._first_usage, self._first_usage)
        elif kind == "message_stop":
            self._all_blocks_end(events)
            self._saw_stop = True
        elif kind == "error" or (not kind and read.error != NULL):
            raise read_stream_error(event.data)
        if events and self._counted is not None:
            events.insert(0, self._counted)
            self._counted = None
        return events

    def body(self, body: bytes) -> Sequence[Event]:
        """What a whole, unstreamed answer says."""
        message = parse_message(body)
        if message.type == "error" or message.error != NULL:
            raise read_stream_error(body)
        if message.content is None:
            raise UpstreamMalformed("The model's provider sent an answer without content.")
        events: list[Event] = []
        for index, block in enumerate(message.content):
            self._block_begins(events, index, block)
            self._block_ends(events, index)
        self._finish(events, message.stop_reason, message.stop_sequence)
        self._report(events, message.usage)
        return events

    # -- blocks ------------------------------------------------------------------------------------

    def _block_begins(self, events: list[Event], index: int, raw: Raw) -> None:
        block = parse_block(raw)
        if block is None or self._cut:
            return
        before = self._open.get(index)
        if before is not None and before.id != block.id:
            self._block_ends(events, index)
            before = None
        if block.type == "tool_use":
            if before is None:  # llama.cpp may begin a call twice
                self._call_begins(events, index, block)
        elif block.type == "text":
            if block.text:
                events.append(TextDelta(0, block.text))
        elif block.type == "thinking":
            if block.thinking:
                events.append(ReasoningDelta(0, block.thinking))
            self._signed(index, block.signature)
        elif block.data:
            events.append(ReasoningSealed(0, Seal(PROTOCOL, block.data, is_thought=True)))

    def _call_begins(self, events: list[Event], index: int, block: Block) -> None:
        if self._single_call and self._calls:
            self._cut = True
            self._finish(events, "tool_use", None)
            return
        if not block.name:
            raise UpstreamMalformed("The model's provider sent a tool call without a name.")
        arguments = parse_arguments(block.input)
        self._open[index] = _OpenBlock(call=self._calls, id=block.id, unsaid=arguments)
        events.append(ToolCallDelta(0, self._calls, "", block.id or None, block.name))
        self._calls += 1

    def _block_goes_on(self, events: list[Event], index: int, delta: Delta | None) -> None:
        if self._cut:
            return
        if delta is None:
            raise UpstreamMalformed
        if delta.type == "text_delta":
            if delta.text:
                events.append(TextDelta(0, delta.text))
        elif delta.type == "input_json_delta":
            block = self._open.get(index)  # none where the provider itself runs the tool
            if delta.partial_json and block is not None and block.call is not None:
                block.unsaid = ""
                events.append(ToolCallDelta(0, block.call, delta.partial_json))
        elif delta.type == "thinking_delta":
            if delta.thinking:
                events.append(ReasoningDelta(0, delta.thinking))
        elif delta.type == "signature_delta":
            self._signed(index, delta.signature)

    def _signed(self, index: int, signature: str | None) -> None:
        if signature:
            self._open.setdefault(index, _OpenBlock()).signature = signature

    def _block_ends(self, events: list[Event], index: int) -> None:
        block = self._open.pop(index, None)
        if block is None:
            return
        if block.signature:
            events.append(ReasoningSealed(0, Seal(PROTOCOL, block.signature)))
        if block.call is not None and block.unsaid:
            events.append(ToolCallDelta(0, block.call, block.unsaid))

    def _all_blocks_end(self, events: list[Event]) -> None:
        for index in sorted(self._open):
            self._block_ends(events, index)

    # -- the end -----------------------------------------------------------------------------------

    def _finish(self, events: list[Event], reason: str | None, sequence: str | None) -> None:
        if not reason or self._finished:
            return
        self._all_blocks_end(events)
        self._finished = True
        meant = _FINISH_REASONS.get(reason, FinishReason.STOP)
        events.append(ChoiceFinished(0, meant, sequence))

    def _report(self, events: list[Event], usage: WireUsage | None) -> None:
        """Half a report is none, or the other half would be free of charge."""
        if usage is None or usage.output_tokens is None:
            return
        prompt = read_prompt(usage, self._first_usage)
        if prompt is None:
            return
        details = usage.output_tokens_details or OutputDetails()
        events.append(
            UsageReported(
                Usage(
                    input_tokens=prompt.input_tokens,
                    output_tokens=usage.output_tokens,
                    cached_tokens=prompt.cached_tokens,
                    cache_write_tokens=prompt.cache_write_tokens,
                    reasoning_tokens=details.thinking_tokens or 0,
                )
            )
        )
