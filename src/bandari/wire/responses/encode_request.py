"""Responses requests, from a ``ChatRequest`` to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

Where the request came in this protocol, the client's own JSON is sent on, and only what was decided
on the way (model, limits, defaults) is written anew. An upstream is never asked to keep anything:
the whole conversation goes with every request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from bandari.domain.chat import ChatRequest, Original, OtherTool, Sampling, Tool
from bandari.wire.bodies import is_null
from bandari.wire.carrying import cannot_carry, cannot_carry_tool
from bandari.wire.dialect import Dialect
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.encode_items import relayed_items, split_instructions, written_items
from bandari.wire.responses.fields import (
    ENCRYPTED_THOUGHTS,
    LOGPROBS,
    SIDE_VALUES,
    is_passed_on,
)

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Raw])
_objects = msgspec.json.Decoder(list[dict[str, Raw]])
_text_of = msgspec.json.Decoder(str)
_names = msgspec.json.Decoder(list[str])

_VERBATIM: Final = frozenset(
    {
        "instructions",
        "parallel_tool_calls",
        "safety_identifier",
        "text",
        "tool_choice",
        "tools",
        "truncation",
        "user",
    }
)
"""Fields that the client's own JSON spells best; the others may have been edited on the way."""

_REASONING: Final = ("effort", "summary", "generate_summary", "context")
"""What of ``reasoning`` is passed on: nothing that changes what a token costs."""

_NO_PARAMETERS: Final = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')


def encode_request(request: ChatRequest, model: str, dialect: Dialect) -> bytes:
    """Spell the request for an upstream, which knows the model as ``model``."""
    body: dict[str, Any] = {"model": model}
    original = request.original
    if original is not None and original.protocol == PROTOCOL:
        body.update(_relayed_content(original, dialect))
    else:
        body.update(_written_content(request))
    if not dialect.obeys_tool_choice:
        _enforce_tool_choice(body, request)
    body.update(_written_sampling(request.sampling))
    for name, value in _unspeakable(request.sampling, dialect):
        body.setdefault(name, value)
    if request.reasoning_effort is not None:
        body["reasoning"] = body.get("reasoning", {}) | {"effort": request.reasoning_effort}
    includes = _includes(request)
    if includes:
        body["include"] = includes
    body["store"] = False
    if dialect.streams_answer_to(request):
        body["stream"] = True
    body.update(dialect.constants)
    return _encode(body)


def _relayed_content(original: Original, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    yield "input", list(relayed_items(original.fields["input"]))
    for name, raw in original.fields.items():
        if (name in _VERBATIM or is_passed_on(name, dialect)) and not is_null(raw):
            yield name, raw
    reasoning = original.fields.get("reasoning")
    if reasoning is not None and not is_null(reasoning):
        given = _object.decode(reasoning)
        yield "reasoning", {name: given[name] for name in _REASONING if name in given}


def _written_content(request: ChatRequest) -> Iterator[tuple[str, Any]]:
    instructions, conversation = split_instructions(request.messages)
    if instructions:
        yield "instructions", instructions
    yield "input", list(written_items(conversation))
    if request.tools:
        yield "tools", _written_tools(request.tools)
    choice = request.tool_choice
    if choice is not None:
        yield (
            "tool_choice",
            choice.mode if choice.name is None else {"type": "function", "name": choice.name},
        )
    if request.parallel_tool_calls is not None:
        yield "parallel_tool_calls", request.parallel_tool_calls
    wanted = request.response_format
    if wanted is not None:
        described: dict[str, Any] = {"type": wanted.kind}
        if wanted.kind == "json_schema":
            described |= _without_none(name=wanted.name, schema=wanted.schema, strict=wanted.strict)
        yield "text", {"format": described}
    if request.user is not None:
        yield "user", request.user


def _written_tools(tools: Iterable[Tool | OtherTool]) -> list[dict[str, Any]]:
    """Functions; one that does not say so is not strict, which is this protocol's default."""
    written = []
    for tool in tools:
        if isinstance(tool, OtherTool):
            raise cannot_carry_tool(tool)
        described = _without_none(name=tool.name, description=tool.description)
        written.append(
            {
                "type": "function",
                **described,
                "parameters": _NO_PARAMETERS if tool.parameters is None else tool.parameters,
                "strict": tool.strict is True,
            }
        )
    return written


def _enforce_tool_choice(body: dict[str, Any], request: ChatRequest) -> None:
    choice = request.tool_choice
    if choice is None:
        return
    if choice.mode == "none":
        body.pop("tools", None)
        body.pop("tool_choice", None)
    elif choice.name is not None:
        body["tools"] = _named(body.get("tools", []), choice.name)
        body["tool_choice"] = "required"


def _named(tools: Raw | list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    if isinstance(tools, Raw):
        return [tool for tool in _objects.decode(tools) if _text_of.decode(tool["name"]) == name]
    return [tool for tool in tools if tool["name"] == name]


def _written_sampling(sampling: Sampling) -> dict[str, Any]:
    return _without_none(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_logprobs=sampling.top_logprobs,
        max_output_tokens=sampling.max_tokens,
    )


def _unspeakable(sampling: Sampling, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    """The values that this protocol has no words for, for an upstream that knows them anyway."""
    if sampling.n != 1:
        raise cannot_carry("n")
    for name in SIDE_VALUES:
        value = getattr(sampling, name)
        if value is not None and name in dialect.extra_fields:
            yield name, value
    for name in ("stop", "logit_bias", "presence_penalty", "frequency_penalty"):
        value = getattr(sampling, name)
        if value:  # a penalty of zero, or a bias of nothing, asks for nothing
            if name not in dialect.extra_fields:
                raise cannot_carry(name)
            yield name, value


def _includes(request: ChatRequest) -> list[str]:
    """What the answer shall hold besides; a thought is only of use later if it is sealed."""
    effort = request.reasoning_effort
    wanted = []
    if effort not in (None, "none") or _asks_for_sealed_thoughts(request.original):
        wanted.append(ENCRYPTED_THOUGHTS)
    if request.sampling.logprobs:
        wanted.append(LOGPROBS)
    return wanted


def _asks_for_sealed_thoughts(original: Original | None) -> bool:
    if original is None or original.protocol != PROTOCOL:
        return False
    include = original.fields.get("include")
    return (
        include is not None
        and not is_null(include)
        and (ENCRYPTED_THOUGHTS in _names.decode(include))
    )


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
