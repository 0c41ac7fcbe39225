"""Messages answers, whole and streamed, from events to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: why it stopped, usage and the end wait for ``close``: the answer is paid for before it ends.
Rule 4: a stream's blocks come one after the other, each with a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from bandari.domain.chat import Seal
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    InputCounted,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.faults import UpstreamMalformed
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.messages.errors import encode_problem
from bandari.wire.messages.write_answer import (
    NOT_STOPPED,
    call_id,
    frame,
    is_apart,
    message_fields,
    prompt_fields,
    spelled,
    stop_fields,
    usage_fields,
)

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
"""What keeps a silent stream alive."""

_CUTS: Final = (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
"""Why an answer may end in the middle of a call."""

_encode = msgspec.json.Encoder().encode
_read_object = msgspec.json.Decoder(dict[str, Raw]).decode

_MESSAGE_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def error_event(problem: Problem) -> bytes:
    """The event that ends a stream badly."""
    return frame(b"error", encode_problem(problem))


class StreamEncoder:
    """Writes a streamed answer: one SSE event per frame, in the order of the events.

    ``message_start`` waits for the first block, and tells the best count of the prompt until then.
    """

    __slots__ = (
        "_block",
        "_blocks",
        "_calls",
        "_envelope",
        "_finished",
        "_go_on",
        "_is_started",
        "_prompt",
    )

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._prompt = InputCounted(envelope.input_tokens)
        self._is_started = False
        self._blocks = 0
        self._block: str | int | None = None
        """What the open block is: ``text``, ``thinking``, or the call with this number."""
        self._go_on = b""
        """How a delta of the open block begins."""
        self._calls: set[int] = set()
        self._finished: ChoiceFinished | None = None

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """The frames for what happened; usage and the end are held back for ``close``.

        Raises ``UpstreamMalformed`` for a call without a name, and for one that goes on when the
        next has begun: this protocol cannot say either.
        """
        if not self._is_started:
            self._count_prompt(events)
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, (TextDelta, RefusalDelta)):
                if event.text:
                    if self._block != "text":
                        self._begin(frames, "text", b'{"type":"text","text":""}')
                    frames.append(
                        b'%b"text_delta","text":%b}}\n\n' % (self._go_on, _encode(event.text))
                    )
            elif isinstance(event, ToolCallDelta):
                self._call(frames, event)
            elif isinstance(event, ReasoningDelta):
                if event.text:
                    self._think(frames)
                    frames.append(
                        b'%b"thinking_delta","thinking":%b}}\n\n'
                        % (self._go_on, _encode(event.text))
                    )
            elif isinstance(event, ReasoningSealed):
                self._seal(frames, event.seal)
            elif isinstance(event, ChoiceFinished):
                self._finished = event
        return frames

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        """The frames that end a good answer, ``message_stop`` last.

        ``finish`` is why it ends where the upstream did not say, because we stopped it.
        """
        frames: list[bytes] = []
        self._start(frames)
        self._end(frames)
        delta = stop_fields(self._finished, finish, called=bool(self._calls))
        fields = {"type": "message_delta", "delta": delta, "usage": usage_fields(usage)}
        frames.append(frame(b"message_delta", _encode(fields)))
        frames.append(_MESSAGE_STOP)
        return frames

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """The in-stream error. Nothing follows it, and open blocks stay open."""
        return (error_event(problem),)

    def _count_prompt(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, InputCounted):
                self._prompt = event
            elif isinstance(event, Counted):
                self._prompt = InputCounted(event.input_tokens, event.cached_tokens)
            elif isinstance(event, UsageReported):
                usage = event.usage
                self._prompt = InputCounted(
                    usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens
                )

    def _start(self, frames: list[bytes]) -> None:
        if self._is_started:
            return
        self._is_started = True
        usage = prompt_fields(self._prompt) | {"output_tokens": 0}
        message = message_fields(self._envelope, [], NOT_STOPPED, usage)
        fields = {"type": "message_start", "message": message}
        frames.append(frame(b"message_start", _encode(fields)))

    def _begin(self, frames: list[bytes], block: str | int, content: bytes) -> None:
        """Open a block, when all before it have ended."""
        self._start(frames)
        self._end(frames)
        number = self._blocks
        self._blocks += 1
        self._block = block
        self._go_on = (
            b"event: content_block_delta\n"
            b'data: {"type":"content_block_delta","index":%d,"delta":{"type":' % number
        )
        frames.append(
            b"event: content_block_start\n"
            b'data: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
            % (number, content)
        )

    def _end(self, frames: list[bytes]) -> None:
        if self._block is None:
            return
        self._block = None
        frames.append(
            b"event: content_block_stop\n"
            b'data: {"type":"content_block_stop","index":%d}\n\n' % (self._blocks - 1)
        )

    def _call(self, frames: list[bytes], event: ToolCallDelta) -> None:
        if self._block != event.index:
            if event.index in self._calls:
                if not event.arguments:
                    return
                raise UpstreamMalformed(
                    "The model's provider went on with a tool call after the next had begun."
                )
            if not event.name:
                raise UpstreamMalformed("The model's provider sent a tool call without a name.")
            self._calls.add(event.index)
            its_id = event.id or call_id(self._envelope, event.index)
            content = {"type": "tool_use", "id": its_id, "name": event.name, "input": {}}
            self._begin(frames, event.index, _encode(content))
        if event.arguments:
            frames.append(
                b'%b"input_json_delta","partial_json":%b}}\n\n'
                % (self._go_on, _encode(event.arguments))
            )

    def _think(self, frames: list[bytes]) -> None:
        if self._block != "thinking":
            self._begin(frames, "thinking", b'{"type":"thinking","thinking":"","signature":""}')

    def _seal(self, frames: list[bytes], seal: Seal) -> None:
        """End a thought; one that is all sealed is a block of its own."""
        if is_apart(seal, of_open_thought=self._block == "thinking"):
            content = {"type": "redacted_thinking", "data": spelled(seal)}
            self._begin(frames, "thinking", _encode(content))
        else:
            self._think(frames)
            frames.append(
                b'%b"signature_delta","signature":%b}}\n\n' % (self._go_on, _encode(spelled(seal)))
            )
        self._end(frames)


class _Block(Struct):
    """A block in the making. ``sealed`` is a thought's seal: nothing is added to it any more."""

    kind: str
    pieces: list[str]
    sealed: str = ""
    id: str = ""
    name: str = ""


class WholeEncoder:
    """Writes an unstreamed answer: one JSON body, when all is known and paid."""

    __slots__ = ("_blocks", "_calls", "_envelope", "_finished")

    def __init__(self, envelope: Envelope) -> None:
        self._envelope = envelope
        self._blocks: list[_Block] = []
        self._calls: dict[int, _Block] = {}
        self._finished: ChoiceFinished | None = None

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """None. Raises ``UpstreamMalformed`` at the answer's end for a call that cannot be told.

        In ``close`` it would be our own failure.
        """
        for event in events:
            if isinstance(event, (TextDelta, RefusalDelta)):
                self._add("text", event.text)
            elif isinstance(event, ToolCallDelta):
                self._call(event)
            elif isinstance(event, ReasoningDelta):
                self._add("thinking", event.text)
            elif isinstance(event, ReasoningSealed):
                self._seal(event.seal)
            elif isinstance(event, ChoiceFinished):
                self._finished = event
                self._content(event.reason)
        return ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        """The body. A call is left out where the answer was cut before its arguments were whole."""
        reason = self._finished.reason if self._finished is not None else finish
        content = self._content(reason or FinishReason.STOP)
        stop = stop_fields(self._finished, finish, called=bool(self._calls))
        return (_encode(message_fields(self._envelope, content, stop, usage_fields(usage))),)

    def problem(self, problem: Problem) -> Sequence[bytes]:  # noqa: ARG002 - the port's
        """None: an unstreamed answer has a status to say it with."""
        return ()

    def _add(self, kind: str, text: str) -> None:
        if text:
            self._open(kind).pieces.append(text)

    def _open(self, kind: str) -> _Block:
        """The last block if it is of this kind and goes on, else a new one."""
        last = self._blocks[-1] if self._blocks else None
        if last is None or last.kind != kind or last.sealed:
            last = _Block(kind, [])
            self._blocks.append(last)
        return last

    def _call(self, event: ToolCallDelta) -> None:
        block = self._calls.get(event.index)
        if block is None:
            block = _Block("tool_use", [], id=call_id(self._envelope, event.index))
            self._calls[event.index] = block
            self._blocks.append(block)
        block.id = event.id or block.id
        block.name = event.name or block.name
        block.pieces.append(event.arguments)

    def _seal(self, seal: Seal) -> None:
        last = self._blocks[-1] if self._blocks else None
        thinks = last is not None and last.kind == "thinking" and not last.sealed
        if is_apart(seal, of_open_thought=thinks):
            self._blocks.append(_Block("redacted_thinking", [], spelled(seal)))
        else:
            self._open("thinking").sealed = spelled(seal)

    def _content(self, reason: FinishReason) -> list[dict[str, Any]]:
        content = []
        for block in self._blocks:
            fields: dict[str, Any] = {"type": block.kind}
            text = "".join(block.pieces)
            if block.kind == "text":
                fields["text"] = text
            elif block.kind == "thinking":
                fields |= {"thinking": text, "signature": block.sealed}
            elif block.kind == "redacted_thinking":
                fields["data"] = block.sealed
            else:
                arguments = _parse_object(text or "{}")
                if block.name and arguments is not None:
                    fields |= {"id": block.id, "name": block.name, "input": arguments}
                elif reason in _CUTS:
                    continue
                else:
                    raise UpstreamMalformed(
                        "The model's provider sent a tool call that is not complete."
                    )
            content.append(fields)
        return content


def _parse_object(text: str) -> Raw | None:
    try:
        _read_object(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    return Raw(text.encode())
