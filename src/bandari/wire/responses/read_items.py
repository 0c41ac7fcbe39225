"""Output items of a Responses answer, whole and in pieces, from their JSON to events.

Rule: this file knows items; how an answer begins and ends is ``decode_answer``'s business.

An event's item is found by whatever names it, because servers differ in what they leave out
(llama.cpp: indices) and in what they change on the way (ids). A text is taken once, from its pieces
or from the event that has all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from bandari.domain.events import (
    Event,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
)
from bandari.domain.faults import UpstreamMalformed
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.answer_shapes import (
    WireCall,
    WireEvent,
    WireKind,
    WireLogprob,
    WireMessage,
    WireReasoning,
)
from bandari.wire.seals import unwrap

_T = TypeVar("_T")

_TEXT: Final = "text"
_REFUSAL: Final = "refusal"
_SUMMARY: Final = "summary"
_THOUGHT: Final = "thought"

_Mark = tuple[str, int | None]
"""A text of an item: which kind, and which of its parts."""

_read_kind = msgspec.json.Decoder(WireKind | None).decode
_read_message = msgspec.json.Decoder(WireMessage).decode
_read_reasoning = msgspec.json.Decoder(WireReasoning).decode
_read_call = msgspec.json.Decoder(WireCall).decode


def decode(read: Callable[[Raw | bytes], _T], data: Raw | bytes) -> _T:
    """What the JSON says, or ``UpstreamMalformed``."""
    try:
        return read(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamMalformed from None


class _Item:
    """What has been said of one item.

    ``call`` is its number among the calls; ``thinks_in`` says whether its thoughts are taken as
    they are or in summary, and ``part`` which part of them came last.
    """

    __slots__ = ("call", "part", "said", "thinks_in")

    def __init__(self) -> None:
        self.call: int | None = None
        self.said: set[_Mark] = set()
        self.thinks_in: str | None = None
        self.part: int | None = None


class ItemReader:
    """Turns the events about items into ours."""

    __slots__ = (
        "_items",
        "_last",
        "_silent_calls",
        "_single_call",
        "_top_logprobs",
        "calls",
        "is_cut",
    )

    def __init__(self, top_logprobs: int, *, single_call: bool) -> None:
        self._top_logprobs = top_logprobs
        self._single_call = single_call
        self._items: dict[int | str, _Item] = {}
        self._last: _Item | None = None
        self._silent_calls: set[int] = set()
        self.calls = 0
        self.is_cut = False
        """Whether a call came that was not asked for: nothing from there on is read."""

    @property
    def has_seen_items(self) -> bool:
        return self._last is not None

    def read(self, events: list[Event], wire: WireEvent) -> None:
        """Append what one event of a stream says. Of an unknown type it says nothing."""
        handle = _HANDLERS.get(wire.type)
        if handle is not None and not self.is_cut:
            handle(self, events, wire)

    def read_output(self, events: list[Event], output: Sequence[Raw]) -> None:
        """Append what the items of a whole answer say."""
        for raw in output:
            kind = decode(_read_kind, raw)
            if kind is not None and not self.is_cut:
                self._read_whole(events, self._begin(()), kind.type, raw)

    def end_calls(self, events: list[Event]) -> None:
        """Append empty arguments to the calls that came without any."""
        events.extend(ToolCallDelta(0, call, "{}") for call in sorted(self._silent_calls))
        self._silent_calls.clear()

    # -- items ---------------------------------------------------------------------------------

    def _item(self, wire: WireEvent, *ids: str | None) -> _Item:
        """The item that an event is about; a new one if it names one that was not announced."""
        names = [name for name in (wire.output_index, wire.item_id, *ids) if name is not None]
        for name in names:
            known = self._items.get(name)
            if known is not None:
                return known
        if not names and self._last is not None:
            return self._last
        return self._begin(names)

    def _begin(self, names: Sequence[int | str]) -> _Item:
        item = self._last = _Item()
        for name in names:
            self._items[name] = item
        return item

    def item_added(self, events: list[Event], wire: WireEvent) -> None:
        kind = decode(_read_kind, wire.item)
        if kind is None:
            return
        names = (wire.output_index, kind.id, kind.call_id)
        item = self._begin([name for name in names if name is not None])
        if kind.type == "function_call":
            self._open_call(events, item, decode(_read_call, wire.item))

    def item_done(self, events: list[Event], wire: WireEvent) -> None:
        kind = decode(_read_kind, wire.item)
        if kind is not None:
            item = self._item(wire, kind.id, kind.call_id)
            self._read_whole(events, item, kind.type, wire.item)

    def _read_whole(self, events: list[Event], item: _Item, kind: str, raw: Raw) -> None:
        """What a complete item says beyond its pieces: all of it where there were none."""
        if kind == "message":
            message = decode(_read_message, raw)
            if not item.said:
                self._read_message(events, message)
        elif kind == "reasoning":
            self._read_thought(events, item, decode(_read_reasoning, raw))
        elif kind == "function_call":
            call = decode(_read_call, raw)
            if item.call is None:
                self._open_call(events, item, call)
            self._complete_call(events, item.call, call.arguments or "{}")

    def _read_message(self, events: list[Event], message: WireMessage) -> None:
        for part in message.content or ():
            if part.refusal:
                events.append(RefusalDelta(0, part.refusal))
            elif part.text or part.logprobs:
                events.append(self._text(part.text or "", part.logprobs))

    def _read_thought(self, events: list[Event], item: _Item, thought: WireReasoning) -> None:
        if not item.said:
            channel = _THOUGHT if thought.content else _SUMMARY
            for number, part in enumerate(thought.content or thought.summary or ()):
                self._think(events, item, (channel, number), part.text)
        if thought.encrypted_content:
            seal = unwrap(thought.encrypted_content, PROTOCOL, is_thought=True)
            events.append(ReasoningSealed(0, seal))

    # -- text and refusals -----------------------------------------------------------------------

    def text_delta(self, events: list[Event], wire: WireEvent) -> None:
        item = self._item(wire)
        if wire.delta or wire.logprobs:
            item.said.add((_TEXT, wire.content_index))
            events.append(self._text(wire.delta or "", wire.logprobs))

    def text_done(self, events: list[Event], wire: WireEvent) -> None:
        item, mark = self._item(wire), (_TEXT, wire.content_index)
        if mark not in item.said and (wire.text or wire.logprobs):
            item.said.add(mark)
            events.append(self._text(wire.text or "", wire.logprobs))

    def refusal_delta(self, events: list[Event], wire: WireEvent) -> None:
        item = self._item(wire)
        if wire.delta:
            item.said.add((_REFUSAL, wire.content_index))
            events.append(RefusalDelta(0, wire.delta))

    def refusal_done(self, events: list[Event], wire: WireEvent) -> None:
        item, mark = self._item(wire), (_REFUSAL, wire.content_index)
        if mark not in item.said and wire.refusal:
            item.said.add(mark)
            events.append(RefusalDelta(0, wire.refusal))

    def _text(self, text: str, logprobs: Sequence[WireLogprob] | None) -> TextDelta:
        if not logprobs:
            return TextDelta(0, text)
        top_count = self._top_logprobs
        return TextDelta(0, text, tuple(_read_logprob(entry, top_count) for entry in logprobs))

    # -- thoughts --------------------------------------------------------------------------------

    def summary_delta(self, events: list[Event], wire: WireEvent) -> None:
        self._think(events, self._item(wire), (_SUMMARY, wire.summary_index), wire.delta)

    def summary_done(self, events: list[Event], wire: WireEvent) -> None:
        item, mark = self._item(wire), (_SUMMARY, wire.summary_index)
        if mark not in item.said:
            self._think(events, item, mark, wire.text)

    def thought_delta(self, events: list[Event], wire: WireEvent) -> None:
        self._think(events, self._item(wire), (_THOUGHT, wire.content_index), wire.delta)

    def thought_done(self, events: list[Event], wire: WireEvent) -> None:
        item, mark = self._item(wire), (_THOUGHT, wire.content_index)
        if mark not in item.said:
            self._think(events, item, mark, wire.text)

    def _think(self, events: list[Event], item: _Item, mark: _Mark, text: str | None) -> None:
        """A thought may be told as it is and in summary: what comes first is taken."""
        channel, part = mark
        if not text or item.thinks_in not in (None, channel):
            return
        item.thinks_in = channel
        item.said.add(mark)
        is_next = item.part not in (None, part)
        item.part = part
        events.append(ReasoningDelta(0, "\n\n" + text if is_next else text))

    # -- calls -----------------------------------------------------------------------------------

    def _open_call(self, events: list[Event], item: _Item, call: WireCall) -> None:
        if self.calls and self._single_call:
            self.is_cut = True
            return
        item.call = self.calls
        self.calls += 1
        self._silent_calls.add(item.call)
        events.append(ToolCallDelta(0, item.call, "", call.call_id or call.id, call.name))

    def arguments_delta(self, events: list[Event], wire: WireEvent) -> None:
        call = self._called(wire)
        if wire.delta:
            self._silent_calls.discard(call)
            events.append(ToolCallDelta(0, call, wire.delta))

    def arguments_done(self, events: list[Event], wire: WireEvent) -> None:
        call = self._called(wire)
        if wire.arguments:
            self._complete_call(events, call, wire.arguments)

    def _complete_call(self, events: list[Event], call: int | None, arguments: str) -> None:
        if call in self._silent_calls:
            self._silent_calls.remove(call)
            events.append(ToolCallDelta(0, call, arguments))

    def _called(self, wire: WireEvent) -> int:
        call = self._item(wire).call
        if call is None:
            raise UpstreamMalformed("The model's provider sent arguments of no tool call.")
        return call


def _read_logprob(wire: WireLogprob, top_count: int) -> TokenLogprob:
    tops = wire.top_logprobs or ()
    return TokenLogprob(
        wire.token,
        wire.logprob,
        wire.bytes or None,
        tuple(
            TopLogprob(top.token, top.logprob, top.bytes or None)
            for top in tops[:top_count]
            if top.token is not None and top.logprob is not None
        ),
    )


_HANDLERS: Final[Mapping[str, Callable[[ItemReader, list[Event], WireEvent], None]]] = {
    "response.output_text.delta": ItemReader.text_delta,
    "response.output_text.done": ItemReader.text_done,
    "response.refusal.delta": ItemReader.refusal_delta,
    "response.refusal.done": ItemReader.refusal_done,
    "response.reasoning_summary_text.delta": ItemReader.summary_delta,
    "response.reasoning_summary_text.done": ItemReader.summary_done,
    "response.reasoning_text.delta": ItemReader.thought_delta,
    "response.reasoning_text.done": ItemReader.thought_done,
    "response.reasoning.delta": ItemReader.thought_delta,
    "response.reasoning.done": ItemReader.thought_done,
    "response.function_call_arguments.delta": ItemReader.arguments_delta,
    "response.function_call_arguments.done": ItemReader.arguments_done,
    "response.output_item.added": ItemReader.item_added,
    "response.output_item.done": ItemReader.item_done,
}

EVENT_TYPES: Final = frozenset(_HANDLERS)
