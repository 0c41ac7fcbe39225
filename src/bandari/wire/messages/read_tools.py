"""The tools of a Messages request: those that the client runs.

A tool that the provider runs costs money that no usage report of an answer shows, so it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bandari.domain.chat import OtherTool, Tool, ToolChoice
from bandari.domain.faults import MissingField, UnsupportedField
from bandari.wire.bodies import read_value
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.field_errors import ERRORS
from bandari.wire.messages.read_content import ContentReader, check_cache_control

_RUN_BY_CLIENT: Final = re.compile(
    r"(?:bash|browser_toolset|computer|computer_toolset|memory|text_editor)_[0-9]{8}"
)
_CUSTOM: Final = "custom"


class _Head(Struct):
    """What any tool may have, whatever its type."""

    type: str | None = None
    name: str | None = None
    allowed_callers: Raw = Raw()
    cache_control: Raw = Raw()
    defer_loading: Raw = Raw()
    eager_input_streaming: Raw = Raw()
    input_examples: Raw = Raw()


_MARKS: Final = tuple(name for name in _Head.__struct_fields__ if name not in ("type", "name"))


class _Custom(Struct):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}\Z")]
    input_schema: Raw
    description: str | None = None
    strict: bool | None = None


class Choice(Struct):
    """The field ``tool_choice``."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


_custom = msgspec.json.Decoder(_Custom)
_head = msgspec.json.Decoder(_Head)
_object = msgspec.json.Decoder(dict[str, Raw])


def read_tools(raw_tools: Sequence[Raw], reader: ContentReader) -> tuple[Tool | OtherTool, ...]:
    """The tools; what has no words is noted with ``reader``."""
    return tuple(_read_tool(raw, f"tools[{at}]", reader) for at, raw in enumerate(raw_tools))


def _read_tool(raw: Raw, where: str, reader: ContentReader) -> Tool | OtherTool:
    head: _Head = read_value(where, raw, _head, ERRORS)
    check_cache_control(head.cache_control, where)
    reader.note("tools[]", head, _MARKS)
    kind = head.type or _CUSTOM
    if kind == _CUSTOM:
        tool: _Custom = read_value(where, raw, _custom, ERRORS)
        read_value(f"{where}.input_schema", tool.input_schema, _object, ERRORS)
        return Tool(tool.name, tool.description, tool.input_schema, tool.strict)
    if not _RUN_BY_CLIENT.fullmatch(kind):
        raise UnsupportedField(
            f"'{where}.type' is '{kind[:100]}': only tools that the client runs are supported.",
            param=f"{where}.type",
        )
    return OtherTool(PROTOCOL, head.name or kind, raw, where)


def read_choice(choice: Choice | None) -> tuple[ToolChoice | None, bool | None]:
    """The choice of a tool, and whether several may be called at once, where it is said."""
    if choice is None:
        return None, None
    parallel = False if choice.disable_parallel_tool_use else None
    match choice.type:
        case "tool":
            if not choice.name:
                raise MissingField(
                    "'tool_choice.name' is required where the type is tool.",
                    param="tool_choice.name",
                )
            return ToolChoice("named", choice.name), parallel
        case "any":
            return ToolChoice("required"), parallel
        case mode:
            return ToolChoice(mode), parallel
