"""Items of a Responses conversation, from JSON to messages.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

An assistant's turn is several items here (its thoughts, its text, its calls) and one message
elsewhere; the result of a call is an item of its own in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bandari.domain.chat import (
    ImagePart,
    Message,
    OtherPart,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCall,
)
from bandari.domain.faults import InvalidValue, MissingField, UnsupportedField
from bandari.wire.bodies import is_null, read_value
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.field_errors import ERRORS
from bandari.wire.seals import unwrap

REFERENCE: Final = "item_reference"

Place = str
"""Where an item is in the client's request, as a path: ``input[3]``."""


class _InputText(Struct, tag="input_text", tag_field="type"):
    text: str
    prompt_cache_breakpoint: Raw = Raw()


class _OutputText(Struct, tag="output_text", tag_field="type"):
    text: str


class _SummaryText(Struct, tag="summary_text", tag_field="type"):
    text: str


class _ReasoningText(Struct, tag="reasoning_text", tag_field="type"):
    text: str


class _Refusal(Struct, tag="refusal", tag_field="type"):
    refusal: str


class _InputImage(Struct, tag="input_image", tag_field="type", omit_defaults=True):
    image_url: Annotated[str, Meta(min_length=1)] | None = None
    detail: Literal["auto", "low", "high", "original"] | None = None
    file_id: Annotated[str, Meta(min_length=1)] | None = None
    prompt_cache_breakpoint: Raw = Raw()


class _InputFile(Struct, tag="input_file", tag_field="type", omit_defaults=True):
    filename: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    file_data: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: Raw = Raw()


_ResultPart = _InputText | _InputImage | _InputFile
_ContentPart = _ResultPart | _OutputText | _SummaryText | _ReasoningText | _Refusal
_CallId = Annotated[str, Meta(min_length=1)]


class _MessageItem(Struct):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[_ContentPart]
    phase: Raw = Raw()


class _Thought(Struct):
    text: str


class _ReasoningItem(Struct):
    summary: list[_Thought] | None = None
    content: list[_Thought] | None = None
    encrypted_content: str | None = None


class _CallItem(Struct):
    call_id: _CallId
    name: str
    arguments: str
    namespace: Raw = Raw()
    caller: Raw = Raw()


class _ResultItem(Struct):
    call_id: _CallId
    output: str | list[_ResultPart]
    namespace: Raw = Raw()
    caller: Raw = Raw()


class _Reference(Struct):
    id: Annotated[str, Meta(min_length=1, max_length=256)]


class _Head(Struct):
    type: str | None = None
    role: Raw = Raw()
    id: Raw = Raw()


_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(_Head)
_reference = msgspec.json.Decoder(_Reference)
_fields_of = msgspec.json.Decoder(dict[str, Raw])
_KINDS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "message": msgspec.json.Decoder(_MessageItem),
    "reasoning": msgspec.json.Decoder(_ReasoningItem),
    "function_call": msgspec.json.Decoder(_CallItem),
    "function_call_output": msgspec.json.Decoder(_ResultItem),
}


class Conversation(Struct, frozen=True):
    """``untold``: what the items say that messages have no words for (``input[].phase``)."""

    messages: tuple[Message, ...]
    untold: frozenset[str] = frozenset()


def spelled_out(raw: Raw, place: Place) -> Raw:
    """The item with its ``type``, which a message may leave out."""
    head = read_value(place, raw, _head, ERRORS)
    if head.type is not None:
        return raw
    if not _says(head.role):
        if _says(head.id):
            return Raw(_encode({**_fields_of.decode(raw), "type": REFERENCE}))
        raise MissingField(f"'{place}.type' is required.", param=f"{place}.type")
    fields = _fields_of.decode(raw)
    return Raw(_encode({**fields, "type": "message"}))


def referred_id(raw: Raw, place: Place) -> str | None:
    """The id of the stored item that this one stands for; None if it stands for itself."""
    if read_value(place, raw, _head, ERRORS).type != REFERENCE:
        return None
    item: _Reference = read_value(place, raw, _reference, ERRORS)
    return item.id


def read_conversation(items: Iterable[tuple[Place, Raw]], *, is_whole: bool = True) -> Conversation:
    """The turns that the items are. Raises the ``CallerFault`` that names what is wrong with one.

    ``is_whole``: no items come before these, so that every result has its call among them.
    """
    turns = _Turns(is_whole=is_whole)
    for place, raw in items:
        kind = read_value(place, raw, _head, ERRORS).type or "message"
        decoder = _KINDS.get(kind)
        if decoder is None:
            raise _unsupported(kind, place)
        turns.add(read_value(place, raw, decoder, ERRORS), place)
    return turns.end()


class _Turns:
    """Joins an assistant's items that follow one another into one turn."""

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._messages: list[Message] = []
        self._untold: set[str] = set()
        self._called: set[str] = set()
        self._assistant = False
        self._parts: list[Part] = []
        self._calls: list[ToolCall] = []

    def add(self, item: Any, place: Place) -> None:
        match item:
            case _MessageItem(role="assistant"):
                self._assistant = True
                self._parts += self._contents(item.content, f"{place}.content")
            case _ReasoningItem():
                thought = _thought(item)
                if thought is not None:
                    self._assistant = True
                    self._parts.append(thought)
            case _CallItem():
                self._assistant = True
                self._called.add(item.call_id)
                self._calls.append(ToolCall(item.call_id, item.name, item.arguments))
            case _MessageItem():
                parts = self._contents(item.content, f"{place}.content")
                self._turn(Message(Role(item.role), parts))
            case _ResultItem():
                if self._is_whole and item.call_id not in self._called:
                    raise InvalidValue(
                        f"No tool call with that id comes before it: '{place}.call_id' is "
                        f"'{item.call_id[:100]}'.",
                        param=f"{place}.call_id",
                    )
                parts = self._contents(item.output, f"{place}.output")
                self._turn(Message(Role.TOOL, parts, tool_call_id=item.call_id))
        for name in ("phase", "namespace", "caller"):
            if _says(getattr(item, name, _NOTHING)):
                self._untold.add(f"input[].{name}")

    def end(self) -> Conversation:
        self._end_assistant()
        return Conversation(tuple(self._messages), frozenset(self._untold))

    def _turn(self, message: Message) -> None:
        self._end_assistant()
        self._messages.append(message)

    def _end_assistant(self) -> None:
        if self._assistant:
            self._messages.append(
                Message(Role.ASSISTANT, tuple(self._parts), tool_calls=tuple(self._calls))
            )
            self._assistant, self._parts, self._calls = False, [], []

    def _contents(self, content: str | Sequence[_ContentPart], place: Place) -> tuple[Part, ...]:
        if isinstance(content, str):
            return (TextPart(content),)
        if any(_says(getattr(part, "prompt_cache_breakpoint", _NOTHING)) for part in content):
            field = place.rsplit(".", 1)[1]
            self._untold.add(f"input[].{field}[].prompt_cache_breakpoint")
        return tuple(_read_part(part, f"{place}[{index}]") for index, part in enumerate(content))


_NOTHING: Final = Raw()


def _says(raw: Raw) -> bool:
    return len(raw) > 0 and not is_null(raw)


def _thought(item: _ReasoningItem) -> ReasoningPart | None:
    text = "\n\n".join(thought.text for thought in item.content or item.summary or ())
    sealed = item.encrypted_content
    if not text and not sealed:
        return None
    return ReasoningPart(text, unwrap(sealed, PROTOCOL, is_thought=True) if sealed else None)


def _read_part(part: _ContentPart, place: Place) -> Part:
    match part:
        case _Refusal(refusal=text):
            return TextPart(text)
        case _InputImage(image_url=str(url)):
            return ImagePart(url, part.detail)
        case _InputImage(file_id=None):
            raise MissingField(f"'{place}.image_url' is required.", param=f"{place}.image_url")
        case _InputImage():
            return OtherPart(PROTOCOL, "input_image", Raw(_encode(part)), place)
        case _InputFile():
            return OtherPart(PROTOCOL, "input_file", Raw(_encode(part)), place)
        case _:
            return TextPart(part.text)


def _unsupported(kind: str, place: Place) -> UnsupportedField:
    return UnsupportedField(
        f"'{place}.type' is '{kind[:100]}', which is not supported: {', '.join(_KINDS)} are.",
        param=f"{place}.type",
    )
