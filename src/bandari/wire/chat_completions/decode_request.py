"""Chat Completions requests, from bytes to a ``ChatRequest``.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

A body is read field by field, so that an error names its field, and each field's own JSON is kept,
so that an upstream of the same protocol gets it as the client wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Original,
    OtherPart,
    Part,
    ReasoningPart,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from bandari.domain.faults import (
    InvalidRequest,
    InvalidValue,
    MissingField,
    UnsupportedField,
)
from bandari.wire.bodies import is_null, read_object, read_value
from bandari.wire.chat_completions import PROTOCOL
from bandari.wire.chat_completions.field_errors import ERRORS
from bandari.wire.chat_completions.fields import CARRIED, REFUSED, TOP_K
from bandari.wire.chat_completions.words import WORDS

TOOLS_OVERHEAD_BYTES: Final = 1024
"""What a chat template may write around tools, beyond their JSON."""


class _Text(Struct, tag="text", tag_field="type"):
    text: str


class _ImageUrl(Struct):
    url: Annotated[str, Meta(min_length=1)]
    detail: Literal["auto", "low", "high", "original"] | None = None


class _Image(Struct, tag="image_url", tag_field="type"):
    image_url: _ImageUrl


class _Refusal(Struct, tag="refusal", tag_field="type"):
    refusal: str


class _Audio(Struct, tag="input_audio", tag_field="type"):
    input_audio: dict[str, Any]


class _File(Struct, tag="file", tag_field="type"):
    file: dict[str, Any]


_WirePart = _Text | _Image | _Refusal | _Audio | _File


class _CalledFunction(Struct):
    name: str
    arguments: str | None = None


class _WireToolCall(Struct):
    id: str
    function: _CalledFunction
    type: Literal["function"] | None = None


class _WireMessage(Struct):
    role: Role
    content: str | list[_WirePart] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_WireToolCall] | None = None
    tool_call_id: str | None = None


class _WireFunction(Struct):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,128}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _WireTool(Struct):
    type: Literal["function"]
    function: _WireFunction


class _ChosenFunction(Struct):
    name: str


class _ChosenTool(Struct):
    type: Literal["function"]
    function: _ChosenFunction


class _TextFormat(Struct, tag="text", tag_field="type"):
    pass


class _JsonObjectFormat(Struct, tag="json_object", tag_field="type"):
    pass


class _JsonSchema(Struct):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class _JsonSchemaFormat(Struct, tag="json_schema", tag_field="type"):
    json_schema: _JsonSchema


class _StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


_Bias = Annotated[float, Meta(ge=-100, le=100)]
_Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*$")]
_OutputLimit = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
_TopK = Annotated[int, Meta(ge=-1, le=MAX_INTEGER)]
_TokenId = Annotated[str, Meta(pattern=r"^[0-9]{1,9}$")]

_anything = msgspec.json.Decoder(Any)
_encode = msgspec.json.Encoder().encode

_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "model": msgspec.json.Decoder(Annotated[_Name, Meta(min_length=1, max_length=512)] | None),
    "messages": msgspec.json.Decoder(list[_WireMessage] | None),
    "stream": msgspec.json.Decoder(bool | None),
    "stream_options": msgspec.json.Decoder(_StreamOptions | None),
    "temperature": msgspec.json.Decoder(float | None),
    "top_p": msgspec.json.Decoder(float | None),
    "top_k": msgspec.json.Decoder(_TopK | None),
    "max_tokens": msgspec.json.Decoder(_OutputLimit | None),
    "max_completion_tokens": msgspec.json.Decoder(_OutputLimit | None),
    "stop": msgspec.json.Decoder(str | list[str] | None),
    "n": msgspec.json.Decoder(int | None),
    "seed": msgspec.json.Decoder(int | None),
    "logit_bias": msgspec.json.Decoder(dict[_TokenId, _Bias] | None),
    "logprobs": msgspec.json.Decoder(bool | None),
    "top_logprobs": msgspec.json.Decoder(int | None),
    "presence_penalty": msgspec.json.Decoder(float | None),
    "frequency_penalty": msgspec.json.Decoder(float | None),
    "response_format": msgspec.json.Decoder(
        _TextFormat | _JsonObjectFormat | _JsonSchemaFormat | None
    ),
    "tools": msgspec.json.Decoder(list[_WireTool] | None),
    "tool_choice": msgspec.json.Decoder(Literal["none", "auto", "required"] | _ChosenTool | None),
    "parallel_tool_calls": msgspec.json.Decoder(bool | None),
    "user": msgspec.json.Decoder(Annotated[_Name, Meta(max_length=512)] | None),
    "safety_identifier": msgspec.json.Decoder(Annotated[_Name, Meta(max_length=512)] | None),
    "reasoning_effort": msgspec.json.Decoder(
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    ),
}


def decode_request(
    body: bytes, *, max_messages: int = 10_000, always_streams: bool = False
) -> ChatRequest:
    """Read a client's body. Raises the ``CallerFault`` that names the field at fault.

    ``always_streams``: the answer is a stream, whatever the body says.
    """
    return read_request(read_object(body), max_messages=max_messages, always_streams=always_streams)


def read_request(
    fields: Mapping[str, Raw], *, max_messages: int, always_streams: bool = False
) -> ChatRequest:
    """The same, from the fields of a body."""
    values: dict[str, Any] = {}
    for name, raw in fields.items():
        values[name] = _read_field(name, raw)
    if values.get("model") is None:
        raise MissingField("'model' is required: the id of the model to ask.", param="model")
    wire_messages = values.get("messages")
    if wire_messages is None:
        raise MissingField("'messages' is required: the conversation so far.", param="messages")
    if len(wire_messages) > max_messages:
        raise InvalidValue(
            f"'messages' may hold at most {max_messages} messages, and holds {len(wire_messages)}.",
            param="messages",
        )
    stream = always_streams or bool(values.get("stream"))
    options = values.get("stream_options")
    if options is not None and not stream:
        raise InvalidRequest(
            "'stream_options' is only allowed when 'stream' is true.", param="stream_options"
        )
    user = values.get("user")
    messages = tuple(_read_message(message, index) for index, message in enumerate(wire_messages))
    tools = _read_tools(values.get("tools"))
    images = [part for message in messages for part in message.parts if isinstance(part, ImagePart)]
    return ChatRequest(
        model=values["model"],
        messages=messages,
        sampling=_read_sampling(values),
        stream=stream,
        include_usage=options is not None and options.include_usage is True,
        tools=tools,
        tool_choice=_read_tool_choice(values.get("tool_choice")),
        parallel_tool_calls=values.get("parallel_tool_calls"),
        response_format=_read_format(values.get("response_format")),
        user=values.get("safety_identifier") if user is None else user,
        reasoning_effort=values.get("reasoning_effort"),
        input_bytes=_prompt_bytes(fields, bool(tools)) - sum(len(image.url) for image in images),
        images=len(images),
        original=Original(PROTOCOL, fields, _unknown(fields), words=WORDS),
    )


def _unknown(fields: Mapping[str, Raw]) -> tuple[str, ...]:
    names = fields.keys() - CARRIED - {TOP_K}
    return tuple(sorted(name for name in names if not is_null(fields[name]))) if names else ()


def _read_field(name: str, raw: Raw) -> Any:
    if name in REFUSED and not is_null(raw):
        raise UnsupportedField(f"'{name}' is not supported: use 'max_tokens' and 'n'.", param=name)
    return read_value(name, raw, _DECODERS.get(name, _anything), ERRORS)


def _prompt_bytes(fields: Mapping[str, Raw], has_tools: bool) -> int:
    """JSON text is never shorter than the UTF-8 text that it stands for."""
    size = sum(
        len(fields[name]) for name in ("messages", "tools", "response_format") if name in fields
    )
    return size + TOOLS_OVERHEAD_BYTES if has_tools else size


def _read_message(message: _WireMessage, index: int) -> Message:
    role = message.role
    calls = tuple(
        ToolCall(call.id, call.function.name, call.function.arguments or "")
        for call in message.tool_calls or ()
    )
    if calls and role is not Role.ASSISTANT:
        where = f"messages[{index}].tool_calls"
        raise InvalidValue(f"'{where}' is only allowed where the role is assistant.", param=where)
    if role is Role.TOOL and not message.tool_call_id:
        where = f"messages[{index}].tool_call_id"
        raise MissingField(f"'{where}' is required where the role is tool.", param=where)
    content = message.content
    if content is None:
        if role is not Role.ASSISTANT:
            where = f"messages[{index}].content"
            raise MissingField(f"'{where}' is required where the role is {role}.", param=where)
        parts: tuple[Part, ...] = ()
    elif isinstance(content, str):
        parts = (TextPart(content),)
    else:
        parts = tuple(
            _read_part(part, f"messages[{index}].content[{position}]")
            for position, part in enumerate(content)
        )
    if message.reasoning_content:
        parts = (ReasoningPart(message.reasoning_content), *parts)
    return Message(role, parts, message.name, calls, message.tool_call_id)


def _read_part(part: _WirePart, where: str) -> Part:
    match part:
        case _Text(text=text) | _Refusal(refusal=text):
            return TextPart(text)
        case _Image(image_url=image):
            return ImagePart(image.url, image.detail)
        case _Audio():
            return OtherPart(PROTOCOL, "input_audio", Raw(_encode(part)), where)
        case _File():
            return OtherPart(PROTOCOL, "file", Raw(_encode(part)), where)


def _read_sampling(values: Mapping[str, Any]) -> Sampling:
    limits = [
        limit
        for name in ("max_tokens", "max_completion_tokens")
        if (limit := values.get(name)) is not None
    ]
    stop = values.get("stop")
    n = values.get("n")
    return Sampling(
        temperature=values.get("temperature"),
        top_p=values.get("top_p"),
        top_k=values.get(TOP_K),
        max_tokens=min(limits) if limits else None,
        stop=() if stop is None else (stop,) if isinstance(stop, str) else tuple(stop),
        n=1 if n is None else n,
        seed=values.get("seed"),
        logit_bias=values.get("logit_bias"),
        logprobs=bool(values.get("logprobs")),
        top_logprobs=values.get("top_logprobs"),
        presence_penalty=values.get("presence_penalty"),
        frequency_penalty=values.get("frequency_penalty"),
    )


def _read_tools(wire_tools: list[_WireTool] | None) -> tuple[Tool, ...]:
    return tuple(
        Tool(
            name=tool.function.name,
            description=tool.function.description,
            parameters=(
                None if tool.function.parameters is None else Raw(_encode(tool.function.parameters))
            ),
            strict=tool.function.strict,
        )
        for tool in wire_tools or ()
    )


def _read_tool_choice(choice: str | _ChosenTool | None) -> ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        return ToolChoice(choice)
    return ToolChoice("named", choice.function.name)


def _read_format(
    wire_format: _TextFormat | _JsonObjectFormat | _JsonSchemaFormat | None,
) -> ResponseFormat | None:
    match wire_format:
        case None:
            return None
        case _TextFormat():
            return ResponseFormat("text")
        case _JsonObjectFormat():
            return ResponseFormat("json_object")
        case _JsonSchemaFormat(json_schema=described):
            schema = None if described.schema is None else Raw(_encode(described.schema))
            return ResponseFormat("json_schema", described.name, schema, described.strict)
