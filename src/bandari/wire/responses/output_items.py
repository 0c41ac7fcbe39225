"""The output of an answer as it grows: which event belongs to which item.

Rule: how an item is spelled is ``growing_items``' business, the object around them
``response_object``'s.

Items follow one another: what belongs to another item closes the open one. Text and a refusal are
parts of one message; a thought is an item, ended by its seal; a call is an item.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from bandari.domain.chat import Seal
from bandari.domain.events import (
    Event,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
)
from bandari.domain.faults import UpstreamMalformed
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.event_log import EventLog
from bandari.wire.responses.growing_items import (
    REFUSAL,
    TEXT,
    Call,
    Item,
    Message,
    Part,
    Thought,
    encode_logprobs,
)
from bandari.wire.responses.response_object import COMPLETED, INCOMPLETE, ResponseFrame
from bandari.wire.seals import wrap

_ID_PREFIX: Final = "resp_"

_encode = msgspec.json.Encoder().encode


_I = TypeVar("_I", bound=Item)


class OutputItems:
    """Sorts events into items. With a ``log`` it also says there what happens to them."""

    __slots__ = (
        "_call_ids",
        "_calls",
        "_include_encrypted",
        "_include_logprobs",
        "_items",
        "_log",
        "_open",
        "_part",
        "_suffix",
    )

    def __init__(self, response_id: str, frame: ResponseFrame, log: EventLog | None = None) -> None:
        self._suffix = response_id.removeprefix(_ID_PREFIX)
        self._include_encrypted = frame.include_encrypted
        self._include_logprobs = frame.include_logprobs
        self._log = log
        self._items: list[Item] = []
        self._open: Item | None = None
        self._part: Part | None = None
        self._calls: dict[int, Call] = {}
        self._call_ids: set[str] = set()

    def add(self, event: Event) -> None:
        """Add what happened. With a log, ``UpstreamMalformed`` if a call goes on that was over."""
        if isinstance(event, TextDelta):
            self.add_text(event)
        elif isinstance(event, ToolCallDelta):
            self._add_call(event)
        elif isinstance(event, ReasoningDelta):
            if event.text:
                self._thought().add(event.text, self._log)
        elif isinstance(event, RefusalDelta):
            self._add_refusal(event.text)
        elif isinstance(event, ReasoningSealed):
            thought = self._thought()
            if self._include_encrypted:
                thought.sealed = _sealed(event.seal)
            self.close()

    def close(self, status: bytes = COMPLETED) -> None:
        """Close the open item, if there is one."""
        item, self._open, self._part = self._open, None, None
        if item is None:
            return
        if self._log is None:
            item.status = status
        else:
            item.close(status, self._log)

    def break_off(self) -> None:
        """Nothing more comes: an item that is still open stays incomplete."""
        if self._open is not None:
            self._open.status = INCOMPLETE

    def encode(self) -> bytes:
        """The JSON array of all items so far."""
        return b"[%b]" % b",".join(item.encoded or item.encode() for item in self._items)

    def _begin(self, kind: type[_I]) -> _I:
        self.close()
        item = kind(self._suffix, len(self._items))
        self._items.append(item)
        self._open = item
        return item

    def add_text(self, event: TextDelta) -> None:
        """The same for a piece of text, without looking what it is."""
        logprobs = event.logprobs if self._include_logprobs else ()
        if not event.text and not logprobs:
            return
        part = self._part
        if part is None or part.kind is not TEXT:
            part = self._begin_part(TEXT)
        part.pieces.append(event.text)
        encoded = b"[]"
        if logprobs:
            part.logprobs.extend(logprobs)
            encoded = encode_logprobs(logprobs)
        if self._log is not None:
            self._log.say_text(part.place, _encode(event.text), encoded)

    def _add_refusal(self, text: str) -> None:
        if not text:
            return
        part = self._part
        if part is None or part.kind is not REFUSAL:
            part = self._begin_part(REFUSAL)
        part.pieces.append(text)
        if self._log is not None:
            fields = b'%b,"delta":%b' % (part.place, _encode(text))
            self._log.say(b"response.refusal.delta", fields)

    def _begin_part(self, kind: bytes) -> Part:
        message = self._open
        if not isinstance(message, Message):
            message = self._begin(Message)
            if self._log is not None:
                message.open(self._log)
        self._part = message.add_part(kind, self._log)
        return self._part

    def _thought(self) -> Thought:
        thought = self._open
        if not isinstance(thought, Thought):
            thought = self._begin(Thought)
            if self._log is not None:
                thought.open(self._log)
        return thought

    def _add_call(self, event: ToolCallDelta) -> None:
        call = self._calls.get(event.index)
        if call is None:
            call = self._calls[event.index] = self._begin(Call)
            call.call_id = self._call_id(event.id, call.index)
        elif call.encoded is not None:
            if event.arguments:
                raise UpstreamMalformed("The model's provider went on with a tool call after it.")
            return
        call.name = call.name or event.name or ""
        if event.arguments:
            call.add(event.arguments, self._log)
        if self._log is not None and call.name and not call.is_shown:
            call.open(self._log)

    def _call_id(self, given: str | None, index: int) -> str:
        """The client sends results back under it, so each call needs its own."""
        call_id = given or ""
        if not call_id or call_id in self._call_ids:
            call_id = f"call_{self._suffix}_{index}"
        self._call_ids.add(call_id)
        return call_id


def _sealed(seal: Seal) -> str:
    return seal.data if seal.protocol == PROTOCOL and seal.is_thought else wrap(seal)
