"""Messages requests, from a ``ChatRequest`` to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

Where the request came in this protocol, the client's own JSON is sent on, and only what was decided
on the way (model, limits, defaults) is written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from bandari.domain.chat import ChatRequest, Original, OtherTool, ResponseFormat, Tool, ToolChoice
from bandari.domain.faults import UnsupportedField
from bandari.wire.bodies import is_null, read_value
from bandari.wire.carrying import cannot_carry, cannot_carry_tool
from bandari.wire.dialect import Dialect
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.field_errors import ERRORS
from bandari.wire.messages.fields import is_passed_on
from bandari.wire.messages.thoughts import forwarded_thinking, has_foreign_thoughts, may_think
from bandari.wire.messages.write_content import without_foreign_thoughts, written_conversation

DEFAULT_MAX_TOKENS: Final = 8192
"""A request of this protocol has to say how long its answer may be."""

_VERBATIM: Final = (
    "system",
    "messages",
    "tools",
    "tool_choice",
    "output_config",
    "metadata",
    "cache_control",
)
"""Fields that the client's own JSON spells best; the others may have been edited on the way."""

_CHOICES: Final = {"required": "any", "named": "tool"}
_EFFORTS: Final = {"minimal": "low"}
_NO_SCHEMA: Final = Raw(b'{"type":"object"}')

_encode = msgspec.json.Encoder().encode
_raw_tools = msgspec.json.Decoder(list[Raw])
_schema = msgspec.json.Decoder(dict[str, Raw])


def encode_request(request: ChatRequest, model: str, dialect: Dialect) -> bytes:
    """Spell the request for an upstream, which knows the model as ``model``."""
    _check_sampling(request)
    body: dict[str, Any] = {"model": model}
    original = request.original
    if original is not None and original.protocol == PROTOCOL:
        body.update(_own_content(request, original, dialect))
    else:
        body.update(_written_content(request))
    if not dialect.obeys_tool_choice:
        _enforce_tool_choice(body, request)
    body.update(_written_sampling(request))
    if dialect.streams_answer_to(request):
        body["stream"] = True
    body.update(dialect.constants)
    return _encode(body)


def _check_sampling(request: ChatRequest) -> None:
    sampling = request.sampling
    for name, is_asked_for in (
        ("n", sampling.n != 1),
        ("logit_bias", bool(sampling.logit_bias)),
        ("logprobs", sampling.logprobs),
        ("top_logprobs", sampling.top_logprobs is not None),
        ("presence_penalty", bool(sampling.presence_penalty)),
        ("frequency_penalty", bool(sampling.frequency_penalty)),
    ):
        if is_asked_for:
            raise cannot_carry(name)


def _written_sampling(request: ChatRequest) -> Iterator[tuple[str, Any]]:
    sampling = request.sampling
    yield "max_tokens", DEFAULT_MAX_TOKENS if sampling.max_tokens is None else sampling.max_tokens
    for name, value in (
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("top_k", sampling.top_k),
        ("stop_sequences", sampling.stop or None),
    ):
        if value is not None:
            yield name, value


def _own_content(
    request: ChatRequest, original: Original, dialect: Dialect
) -> Iterator[tuple[str, Any]]:
    fields = original.fields
    for name in _VERBATIM:
        if name in fields and not is_null(fields[name]):
            yield name, fields[name]
    if has_foreign_thoughts(request):
        yield "messages", without_foreign_thoughts(fields["messages"])
    thinking = forwarded_thinking(request, original)
    if thinking is not None:
        yield "thinking", thinking
    for name in original.unknown:
        if is_passed_on(name, dialect):
            yield name, fields[name]


def _written_content(request: ChatRequest) -> Iterator[tuple[str, Any]]:
    system, turns = written_conversation(request.messages)
    if system is not None:
        yield "system", system
    yield "messages", turns
    if request.tools:
        yield "tools", _written_tools(request.tools)
        choice = _written_choice(request.tool_choice, request.parallel_tool_calls)
        if choice is not None:
            yield "tool_choice", choice
    config: dict[str, Any] = {}
    if request.response_format is not None and request.response_format.kind != "text":
        config["format"] = _written_format(request.response_format)
    effort = request.reasoning_effort
    if effort == "none":
        yield "thinking", {"type": "disabled"}
    elif effort is not None and may_think(request):
        yield "thinking", {"type": "adaptive"}
        config["effort"] = _EFFORTS.get(effort, effort)
    if config:
        yield "output_config", config
    if request.user is not None:
        yield "metadata", {"user_id": request.user}


def _written_tools(tools: Iterable[Tool | OtherTool]) -> list[Any]:
    written: list[Any] = []
    for tool in tools:
        if isinstance(tool, Tool):
            described: dict[str, Any] = {"name": tool.name}
            if tool.description is not None:
                described["description"] = tool.description
            described["input_schema"] = _written_schema(tool.parameters)
            if tool.strict is not None:
                described["strict"] = tool.strict
            written.append(described)
        elif tool.protocol == PROTOCOL:
            written.append(tool.encoded)
        else:
            raise cannot_carry_tool(tool)
    return written


def _written_schema(schema: Raw | None) -> Raw | dict[str, Raw]:
    """A schema of arguments; this protocol's has to say that they are an object."""
    if schema is None:
        return _NO_SCHEMA
    fields = read_value("tools", schema, _schema, ERRORS)
    return schema if "type" in fields else {"type": Raw(b'"object"')} | fields


def _written_choice(choice: ToolChoice | None, parallel: bool | None) -> dict[str, Any] | None:
    if choice is None and parallel is not False:
        return None
    mode = "auto" if choice is None else choice.mode
    written: dict[str, Any] = {"type": _CHOICES.get(mode, mode)}
    if choice is not None and choice.name is not None:
        written["name"] = choice.name
    if parallel is False and mode != "none":
        written["disable_parallel_tool_use"] = True
    return written


def _written_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.schema is None:
        raise UnsupportedField(
            "'response_format' cannot be carried to this model's provider: it needs a schema.",
            param="response_format",
        )
    return {"type": "json_schema", "schema": wanted.schema}


def _enforce_tool_choice(body: dict[str, Any], request: ChatRequest) -> None:
    choice = request.tool_choice
    if choice is None or "tools" not in body:
        return
    if choice.mode == "none":
        del body["tools"]
        body.pop("tool_choice", None)
    elif choice.name is not None:
        tools = body["tools"]
        if isinstance(tools, Raw):
            tools = _raw_tools.decode(tools)
        named = zip(tools, request.tools, strict=True)
        body["tools"] = [written for written, tool in named if tool.name == choice.name]
        body["tool_choice"] = _written_choice(ToolChoice("required"), request.parallel_tool_calls)
