"""The conversation of a Messages request: ``system`` and ``messages``, as the turns that they are.

What a request has no words for is noted by name, so that it can be said where it is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bandari.domain.chat import ImagePart, Message, OtherPart, Part, Role, TextPart, ToolCall
from bandari.domain.faults import InvalidValue, MissingField, UnsupportedField
from bandari.wire.bodies import is_null, read_value
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.field_errors import ERRORS
from bandari.wire.messages.thoughts import KINDS, read_thought

_NAMED_IDS: Final = 5
"""So many open calls are named in a complaint."""

_MAX_KIND_CHARACTERS: Final = 100
_SAYS_NOTHING: Final = frozenset({b"", b"null", b"false", b"[]", b"{}"})


class Turn(Struct):
    """An entry of ``messages``, whose content is not yet read."""

    role: Literal["user", "assistant", "system"]
    content: Raw
    clear_at: Raw = Raw()
    output_config: Raw = Raw()


class _Head(Struct):
    """What any block may have, whatever its type."""

    type: str
    cache_control: Raw = Raw()
    caller: Raw = Raw()
    citations: Raw = Raw()
    context: Raw = Raw()
    title: Raw = Raw()
    toolset_name: Raw = Raw()
    transformations: Raw = Raw()


class _Text(Struct):
    text: str


class _SystemText(Struct):
    type: Literal["text"]
    text: str


class _Source(Struct):
    type: str
    media_type: Annotated[str, Meta(pattern=r"^[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+\Z")] | None = None
    data: str | None = None
    url: str | None = None


class _Image(Struct):
    source: _Source


class _ToolUse(Struct):
    id: Annotated[str, Meta(min_length=1)]
    name: Annotated[str, Meta(min_length=1)]
    input: Raw


class _ToolResult(Struct):
    tool_use_id: str
    content: Raw = Raw()
    is_error: bool | None = None


class _CacheControl(Struct):
    ttl: str | None = None


_LIFETIMES: Final = (None, "5m")


class _AddedTool(Struct):
    type: str


class _Addition(Struct):
    tool: _AddedTool


class _Compaction(Struct):
    tool_changes: Raw = Raw()


_addition = msgspec.json.Decoder(_Addition)
_anything = msgspec.json.Decoder(Any)
_cache_control = msgspec.json.Decoder(_CacheControl | None)
_compaction = msgspec.json.Decoder(_Compaction)
_content = msgspec.json.Decoder(str | list[Raw])
_head = msgspec.json.Decoder(_Head)
_image = msgspec.json.Decoder(_Image)
_object = msgspec.json.Decoder(dict[str, Raw])
_system_text = msgspec.json.Decoder(_SystemText)
_text = msgspec.json.Decoder(_Text)
_tool_result = msgspec.json.Decoder(_ToolResult)
_tool_use = msgspec.json.Decoder(_ToolUse)


class ContentReader:
    """Reads the conversation in its order; raises the ``CallerFault`` that names what is wrong.

    ``messages`` are the turns so far, ``untold`` the names of what they have no words for,
    ``images`` how many images they show, and ``image_bytes`` the size of those that were written
    into them.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.untold: set[str] = set()
        self.images = 0
        self.image_bytes = 0
        self._is_open: dict[str, bool] = {}

    def read_system(self, system: str | Sequence[Raw]) -> None:
        """Read the instructions beside the conversation: its first turn, where there are any."""
        if isinstance(system, str):
            parts = [TextPart(system)]
        else:
            parts = [self._read_instruction(raw, at) for at, raw in enumerate(system)]
        if parts:
            self.messages.append(Message(Role.SYSTEM, tuple(parts)))

    def read_turn(self, turn: Turn, index: int) -> None:
        """Read one entry of ``messages``.

        The results of tool calls become turns of their own, before what the user says.
        """
        role = Role(turn.role)
        self.note("messages[]", turn, ("clear_at", "output_config"))
        where = f"messages[{index}].content"
        content: str | list[Raw] = read_value(where, turn.content, _content, ERRORS)
        if isinstance(content, str):
            self.messages.append(Message(role, (TextPart(content),)))
            return
        parts: list[Part] = []
        calls: list[ToolCall] = []
        results: list[Message] = []
        for position, raw in enumerate(content):
            place = f"{where}[{position}]"
            kind = self._read_head(raw, place, "messages[].content[]")
            if kind == "tool_use":
                _check_role(kind, role, Role.ASSISTANT, place)
                calls.append(self._read_call(raw, place))
            elif kind == "tool_result":
                _check_role(kind, role, Role.USER, place)
                results.append(self._read_result(raw, place))
            elif kind in KINDS:
                _check_role(kind, role, Role.ASSISTANT, place)
                parts.append(read_thought(kind, raw, place))
            else:
                parts.append(self._read_part(kind, raw, place))
        self.messages.extend(results)
        if parts or not results:
            self.messages.append(Message(role, tuple(parts), tool_calls=tuple(calls)))

    def note(self, pattern: str, block: Struct, names: Sequence[str]) -> None:
        """Note those of the fields ``names`` of a block that say something."""
        self.untold.update(
            f"{pattern}.{name}" for name in names if says_something(getattr(block, name))
        )

    def _read_instruction(self, raw: Raw, position: int) -> TextPart:
        where = f"system[{position}]"
        self._read_head(raw, where, "system[]")
        block: _SystemText = read_value(where, raw, _system_text, ERRORS)
        return TextPart(block.text)

    def _read_head(self, raw: Raw, where: str, pattern: str) -> str:
        head: _Head = read_value(where, raw, _head, ERRORS)
        self.note(pattern, head, _MARKS)
        check_cache_control(head.cache_control, where)
        return head.type

    def _read_call(self, raw: Raw, where: str) -> ToolCall:
        call: _ToolUse = read_value(where, raw, _tool_use, ERRORS)
        read_value(f"{where}.input", call.input, _object, ERRORS)
        self._is_open[call.id] = True
        return ToolCall(call.id, call.name, bytes(call.input).decode())

    def _read_result(self, raw: Raw, where: str) -> Message:
        result: _ToolResult = read_value(where, raw, _tool_result, ERRORS)
        call_id = result.tool_use_id
        if call_id not in self._is_open:
            raise InvalidValue(
                f"'{where}.tool_use_id' names no call of an earlier turn; {self._told_open()}.",
                param=f"{where}.tool_use_id",
            )
        self._is_open[call_id] = False
        if result.is_error:
            self.untold.add("messages[].content[].is_error")
        parts = self._read_result_content(result.content, f"{where}.content")
        return Message(Role.TOOL, parts, tool_call_id=call_id, is_error=result.is_error is True)

    def _read_result_content(self, raw: Raw, where: str) -> tuple[Part, ...]:
        if not len(raw) or is_null(raw):
            return ()
        content: str | list[Raw] = read_value(where, raw, _content, ERRORS)
        if isinstance(content, str):
            return (TextPart(content),)
        parts = []
        for position, block in enumerate(content):
            place = f"{where}[{position}]"
            kind = self._read_head(block, place, "messages[].content[].content[]")
            parts.append(self._read_part(kind, block, place))
        return tuple(parts)

    def _told_open(self) -> str:
        ids = list(islice((call for call, is_open in self._is_open.items() if is_open), _NAMED_IDS))
        if not ids:
            return "none waits for its result"
        return "those that wait for their result: " + ", ".join(f"'{call[:100]}'" for call in ids)

    def _read_part(self, kind: str, raw: Raw, where: str) -> Part:
        if kind == "text":
            block: _Text = read_value(where, raw, _text, ERRORS)
            return TextPart(block.text)
        if kind == "image":
            self.images += 1
            image: _Image = read_value(where, raw, _image, ERRORS)
            url = _url_of(image.source, f"{where}.source")
            if url is not None:
                self.image_bytes += len(image.source.data or "")
                return ImagePart(url)
        _check_hidden(kind, raw, where)
        return OtherPart(PROTOCOL, kind[:_MAX_KIND_CHARACTERS], raw, where)


_MARKS: Final = tuple(name for name in _Head.__struct_fields__ if name != "type")


def says_something(raw: Raw) -> bool:
    """Whether a field is there, and not with the value that stands for its absence."""
    return bytes(raw) not in _SAYS_NOTHING


def check_cache_control(raw: Raw, where: str) -> None:
    """Refuse a ``cache_control`` that asks for dearer caching than every cache write costs."""
    if not len(raw):
        return
    where = f"{where}.cache_control" if where else "cache_control"
    control: _CacheControl | None = read_value(where, raw, _cache_control, ERRORS)
    if control is not None and control.ttl not in _LIFETIMES:
        raise UnsupportedField(
            f"'{where}.ttl' may only be '5m': to keep a prompt longer costs more.",
            param=f"{where}.ttl",
        )


def _check_role(kind: str, role: Role, needed: Role, where: str) -> None:
    if role is not needed:
        raise InvalidValue(
            f"'{where}' is of type '{kind}', which is only allowed where the role is {needed}.",
            param=where,
        )


def _url_of(source: _Source, where: str) -> str | None:
    """The image's URL; ``None`` where only Anthropic can get at it."""
    if source.type == "base64":
        for name in ("media_type", "data"):
            if not getattr(source, name):
                raise MissingField(f"'{where}.{name}' is required.", param=f"{where}.{name}")
        return f"data:{source.media_type};base64,{source.data}"
    if source.type == "url":
        if not source.url:
            raise MissingField(f"'{where}.url' is required.", param=f"{where}.url")
        return source.url
    return None


def _check_hidden(kind: str, raw: Raw, where: str) -> None:
    """Refuse what would change the call's cost from within a block that is passed on as it is."""
    if kind == "tool_addition":
        added: _Addition = read_value(where, raw, _addition, ERRORS)
        if added.tool.type != "tool_reference":
            place = f"{where}.tool.type"
            raise UnsupportedField(
                f"'{place}' may only be 'tool_reference': tools are declared in 'tools'.",
                param=place,
            )
    elif kind == "compaction":
        compaction: _Compaction = read_value(where, raw, _compaction, ERRORS)
        if says_something(compaction.tool_changes):
            place = f"{where}.tool_changes"
            raise UnsupportedField(
                f"'{place}' is not supported: tools are declared in 'tools'.", param=place
            )
    text = bytes(raw)
    if b"ttl" in text or b"\\u00" in text:
        _check_lifetimes_within(read_value(where, raw, _anything, ERRORS), where)


def _check_lifetimes_within(block: Any, where: str) -> None:
    waiting = [block]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            control = value.get("cache_control")
            if isinstance(control, dict) and control.get("ttl") not in _LIFETIMES:
                raise UnsupportedField(
                    f"'{where}' has a 'cache_control.ttl' that is not '5m': to keep a prompt "
                    "longer costs more.",
                    param=where,
                )
            waiting += value.values()
