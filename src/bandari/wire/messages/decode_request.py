"""Messages requests, from bytes to a ``ChatRequest``.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

A body is read field by field, so that an error names its field, and each field's own JSON is kept,
so that an upstream of the same protocol gets it as the client wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.chat import ChatRequest, Original, OtherTool, ResponseFormat, Sampling
from bandari.domain.faults import InvalidValue, MissingField, UnsupportedField
from bandari.wire.bodies import is_null, read_object, read_value
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.field_errors import ERRORS
from bandari.wire.messages.fields import CARRIED, REFUSED, THREAD
from bandari.wire.messages.read_content import (
    ContentReader,
    Turn,
    check_cache_control,
    says_something,
)
from bandari.wire.messages.read_tools import Choice, read_choice, read_tools
from bandari.wire.messages.words import WORDS

TOOLS_OVERHEAD_BYTES: Final = 1024
"""What a prompt may hold around tools, beyond their JSON; and for each tool that has none."""

FORMAT_NAME: Final = "answer"
"""Other protocols want a schema to have a name; this one has none for it."""

_LOW_BUDGET: Final = 4096
_MEDIUM_BUDGET: Final = 16_384


class _Thinking(Struct):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None = None
    block_binding: Raw = Raw()
    display: Raw = Raw()


class _Format(Struct):
    type: Literal["json_schema"]
    schema: Raw


class _OutputConfig(Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None
    task_budget: Raw = Raw()


_Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class _Metadata(Struct):
    user_id: Annotated[_Name, Meta(max_length=512)] | None = None


_object = msgspec.json.Decoder(dict[str, Raw])

_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "model": msgspec.json.Decoder(Annotated[_Name, Meta(min_length=1, max_length=512)] | None),
    "messages": msgspec.json.Decoder(list[Turn] | None),
    "system": msgspec.json.Decoder(str | list[Raw] | None),
    "max_tokens": msgspec.json.Decoder(Annotated[int, Meta(ge=1, le=MAX_INTEGER)] | None),
    "stream": msgspec.json.Decoder(bool | None),
    "temperature": msgspec.json.Decoder(float | None),
    "top_p": msgspec.json.Decoder(float | None),
    "top_k": msgspec.json.Decoder(Annotated[int, Meta(ge=0, le=MAX_INTEGER)] | None),
    "stop_sequences": msgspec.json.Decoder(list[str] | None),
    "tools": msgspec.json.Decoder(list[Raw] | None),
    "tool_choice": msgspec.json.Decoder(Choice | None),
    "thinking": msgspec.json.Decoder(_Thinking | None),
    "output_config": msgspec.json.Decoder(_OutputConfig | None),
    "metadata": msgspec.json.Decoder(_Metadata | None),
}


def decode_request(
    body: bytes, *, max_messages: int = 10_000, needs_max_tokens: bool = True
) -> ChatRequest:
    """Read a client's body. Raises the ``CallerFault`` that names the field at fault.

    ``needs_max_tokens``: false where the prompt is only to be counted.
    """
    fields = read_object(body)
    _check_refused(fields)
    values: dict[str, Any] = {
        name: read_value(name, fields[name], decoder, ERRORS)
        for name, decoder in _DECODERS.items()
        if name in fields
    }
    _check_required(values, max_messages, needs_max_tokens)
    check_cache_control(fields.get("cache_control", Raw()), "")
    reader = ContentReader()
    reader.read_system(values.get("system") or ())
    for index, turn in enumerate(values["messages"]):
        reader.read_turn(turn, index)
    tools = read_tools(values.get("tools") or (), reader)
    choice, parallel = read_choice(values.get("tool_choice"))
    thinking: _Thinking | None = values.get("thinking")
    config = values.get("output_config") or _OutputConfig()
    metadata: _Metadata | None = values.get("metadata")
    untold = reader.untold | set(_untold(fields, thinking, config))
    return ChatRequest(
        model=values["model"],
        messages=tuple(reader.messages),
        sampling=Sampling(
            temperature=values.get("temperature"),
            top_p=values.get("top_p"),
            top_k=values.get("top_k"),
            max_tokens=values.get("max_tokens"),
            stop=tuple(values.get("stop_sequences") or ()),
        ),
        stream=bool(values.get("stream")),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=_read_format(config.format),
        user=None if metadata is None else metadata.user_id,
        reasoning_effort=_read_effort(thinking, config),
        input_bytes=_prompt_bytes(fields, tools) - reader.image_bytes,
        images=reader.images,
        original=Original(PROTOCOL, fields, _unknown(fields), tuple(sorted(untold)), WORDS),
    )


def _check_refused(fields: Mapping[str, Raw]) -> None:
    if THREAD in fields and says_something(fields[THREAD]):
        raise UnsupportedField(
            "'thread' is not supported: send the whole conversation.", param=THREAD
        )
    for name in REFUSED:
        if name in fields and says_something(fields[name]):
            raise UnsupportedField(
                f"'{name}' is not supported: only tools that the client runs are.", param=name
            )


def _check_required(values: Mapping[str, Any], max_messages: int, needs_max_tokens: bool) -> None:
    if values.get("model") is None:
        raise MissingField("'model' is required: the id of the model to ask.", param="model")
    turns = values.get("messages")
    if turns is None:
        raise MissingField("'messages' is required: the conversation so far.", param="messages")
    if not turns:
        raise InvalidValue("'messages' must hold at least one message.", param="messages")
    if len(turns) > max_messages:
        raise InvalidValue(
            f"'messages' may hold at most {max_messages} messages, and holds {len(turns)}.",
            param="messages",
        )
    if needs_max_tokens and values.get("max_tokens") is None:
        raise MissingField(
            "'max_tokens' is required: how long the answer may be.", param="max_tokens"
        )


def _unknown(fields: Mapping[str, Raw]) -> tuple[str, ...]:
    names = fields.keys() - CARRIED
    return tuple(sorted(name for name in names if not is_null(fields[name]))) if names else ()


def _untold(
    fields: Mapping[str, Raw], thinking: _Thinking | None, config: _OutputConfig
) -> Iterator[str]:
    if says_something(fields.get("cache_control", Raw())):
        yield "cache_control"
    if says_something(config.task_budget):
        yield "output_config.task_budget"
    if thinking is None:
        return
    if thinking.type == "disabled" and config.effort is not None:
        yield "output_config.effort"
    if thinking.type == "between_tools" or (thinking.type == "adaptive" and config.effort is None):
        yield "thinking"
    if thinking.type == "enabled":
        yield "thinking.budget_tokens"
    for name in ("block_binding", "display"):
        if says_something(getattr(thinking, name)):
            yield f"thinking.{name}"


def _prompt_bytes(fields: Mapping[str, Raw], tools: tuple[object, ...]) -> int:
    """JSON text is never shorter than the UTF-8 text that it stands for."""
    size = sum(
        len(fields[name])
        for name in ("system", "messages", "tools", "output_config")
        if name in fields
    )
    if not tools:
        return size
    undescribed = sum(isinstance(tool, OtherTool) for tool in tools)
    return size + TOOLS_OVERHEAD_BYTES * (1 + undescribed)


def _read_effort(thinking: _Thinking | None, config: _OutputConfig) -> str | None:
    if thinking is None:
        return config.effort
    if thinking.type == "disabled":
        return "none"
    if thinking.type != "enabled":
        return config.effort
    budget = thinking.budget_tokens
    if budget is None:
        raise MissingField(
            "'thinking.budget_tokens' is required where the type is enabled.",
            param="thinking.budget_tokens",
        )
    if config.effort is not None:
        return config.effort
    return "low" if budget < _LOW_BUDGET else "medium" if budget < _MEDIUM_BUDGET else "high"


def _read_format(wanted: _Format | None) -> ResponseFormat | None:
    if wanted is None:
        return None
    read_value("output_config.format.schema", wanted.schema, _object, ERRORS)
    return ResponseFormat("json_schema", FORMAT_NAME, wanted.schema, strict=True)
