"""The tools of a Responses request, and the choice among them.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

Only functions are carried. Every other tool (web search, a shell, a namespace, …) is left out and
named: some cost money when they run, and no request may fail for having one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct, field

from bandari.domain.chat import Tool, ToolChoice
from bandari.domain.faults import InvalidValue, MissingField, UnsupportedField
from bandari.wire.bodies import is_null, read_value
from bandari.wire.responses.field_errors import ERRORS


class _Head(Struct):
    type: str


class _Function(Struct):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
    description: str | None = None
    parameters: dict[str, Raw] | None = None
    strict: bool | None = None
    is_async: Raw = field(default=Raw(), name="async")
    allowed_callers: Raw = Raw()
    defer_loading: Raw = Raw()
    output_schema: Raw = Raw()


class _Allowed(Struct):
    type: str
    name: str | None = None


class _Chosen(Struct):
    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[_Allowed] | None = None


Choice = Literal["none", "auto", "required"] | _Chosen
"""``tool_choice`` as the client writes it."""

_encode = msgspec.json.Encoder().encode
_head = msgspec.json.Decoder(_Head)
_function = msgspec.json.Decoder(_Function)
_UNTOLD: Final = (
    ("async", "is_async"),
    ("allowed_callers", "allowed_callers"),
    ("defer_loading", "defer_loading"),
    ("output_schema", "output_schema"),
)


class Offer(Struct, frozen=True):
    """The functions that the model may call, each beside its own JSON, and which it must call.

    ``left_out`` names the tools that are no functions (``tools[2]``); ``untold`` what the functions
    say that a ``Tool`` has no words for.
    """

    tools: tuple[Tool, ...] = ()
    encoded: tuple[Raw, ...] = ()
    left_out: tuple[str, ...] = ()
    untold: frozenset[str] = frozenset()
    choice: ToolChoice | None = None


def read_offer(tools: Sequence[Raw], choice: Choice | None) -> Offer:
    """Read both fields. Raises the ``CallerFault`` that names what is wrong."""
    functions: list[Tool] = []
    encoded: list[Raw] = []
    left_out: list[str] = []
    untold: set[str] = set()
    for index, raw in enumerate(tools):
        place = f"tools[{index}]"
        if read_value(place, raw, _head, ERRORS).type != "function":
            left_out.append(place)
            continue
        function: _Function = read_value(place, raw, _function, ERRORS)
        functions.append(_read_function(function))
        encoded.append(raw)
        untold.update(f"tools[].{name}" for name, key in _UNTOLD if _says(getattr(function, key)))
    offer = Offer(tuple(functions), tuple(encoded), tuple(left_out), frozenset(untold))
    return _chosen(offer, choice)


def _says(raw: Raw) -> bool:
    return len(raw) > 0 and not is_null(raw) and bytes(raw) != b"false"


def _read_function(function: _Function) -> Tool:
    parameters = function.parameters
    return Tool(
        function.name,
        function.description,
        None if parameters is None else Raw(_encode(parameters)),
        function.strict,
    )


def _chosen(offer: Offer, choice: Choice | None) -> Offer:
    if isinstance(choice, _Chosen):
        if choice.type == "function":
            if choice.name is None:
                raise _missing("tool_choice.name")
            return msgspec.structs.replace(offer, choice=ToolChoice("named", choice.name))
        if choice.type == "allowed_tools":
            return _allowed(offer, choice)
        raise UnsupportedField(
            f"'tool_choice.type' is '{choice.type[:100]}', which is not supported: function and "
            "allowed_tools are.",
            param="tool_choice.type",
        )
    if choice is None or (offer.left_out and not offer.tools and choice != "required"):
        return offer
    if offer.left_out and not offer.tools:
        raise UnsupportedField(
            "'tool_choice' asks for a call, but none of 'tools' is a function: only functions are "
            "supported.",
            param="tool_choice",
        )
    return msgspec.structs.replace(offer, choice=ToolChoice(choice))


def _allowed(offer: Offer, choice: _Chosen) -> Offer:
    """Allowing some tools is offering those only: the meaning is the same."""
    if choice.mode is None:
        raise _missing("tool_choice.mode")
    if choice.tools is None:
        raise _missing("tool_choice.tools")
    names = set()
    for index, allowed in enumerate(choice.tools):
        if allowed.type != "function":
            continue  # one of those that are left out
        if allowed.name is None:
            raise _missing(f"tool_choice.tools[{index}].name")
        names.add(allowed.name)
    if not names:
        raise UnsupportedField(
            "'tool_choice.tools' names no function: only functions are supported.",
            param="tool_choice.tools",
        )
    unknown = names - {tool.name for tool in offer.tools}
    if unknown:
        raise InvalidValue(
            f"'tool_choice.tools' names the tool '{min(unknown)[:100]}', which is not among "
            "'tools'.",
            param="tool_choice.tools",
        )
    kept = [
        (tool, raw)
        for tool, raw in zip(offer.tools, offer.encoded, strict=True)
        if tool.name in names
    ]
    return Offer(
        tuple(tool for tool, _ in kept),
        tuple(raw for _, raw in kept),
        offer.left_out,
        offer.untold,
        ToolChoice(choice.mode),
    )


def _missing(name: str) -> MissingField:
    return MissingField(f"'{name}' is required.", param=name)
