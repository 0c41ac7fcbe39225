"""Chat Completions requests: from a client's bytes to a ``ChatRequest``, and to an upstream's
bytes.

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
from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Original,
    OtherPart,
    Part,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from bandari.domain.faults import (
    InvalidJson,
    InvalidRequest,
    InvalidValue,
    MissingField,
    UnsupportedField,
)
from bandari.wire.chat_completions import PROTOCOL
from bandari.wire.chat_completions.field_errors import not_json, wrong_value

MAX_FIELDS: Final = 200
TOOLS_OVERHEAD_BYTES: Final = 1024
"""What a chat template may write around tools, beyond their JSON."""

CARRIED: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "n",
        "seed",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "user",
        "reasoning_effort",
    }
)
"""Fields that have their effect with every upstream. All others go to those that name them."""

REFUSED: Final = frozenset({"n_predict", "num_predict", "n_cmpl", "best_of", "use_beam_search"})
"""Fields that change what an answer costs in a way that no limit of ours would see."""


class Dialect(Struct, frozen=True):
    """How one provider's spelling of the protocol differs, and what it can do.

    ``extra_fields``: fields beyond the common ones that it is given. ``constants``: fields that
    every request to it carries. ``obeys_tool_choice``: false where it takes ``tool_choice`` for a
    hint; then the tools that it may not call are not sent. ``streams_logprobs_with_tools``: false
    where that combination is refused; then such an answer is asked for whole.
    """

    extra_fields: frozenset[str] = frozenset()
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = None
    streams: bool = True
    constants: Mapping[str, Raw] = {}
    obeys_tool_choice: bool = True
    streams_logprobs_with_tools: bool = True

    def streams_answer_to(self, request: ChatRequest) -> bool:
        """Whether the answer to this request is asked for as a stream."""
        if request.sampling.logprobs and request.tools:
            return self.streams and self.streams_logprobs_with_tools
        return self.streams


# -- the wire's shapes ---------------------------------------------------------------------------


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
_OutputLimit = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
_TokenId = Annotated[str, Meta(pattern=r"^[0-9]{1,9}$")]

_fields_of = msgspec.json.Decoder(dict[str, Raw])
_anything = msgspec.json.Decoder(Any)
_encode = msgspec.json.Encoder().encode

_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "model": msgspec.json.Decoder(Annotated[str, Meta(min_length=1, max_length=512)] | None),
    "messages": msgspec.json.Decoder(list[_WireMessage] | None),
    "stream": msgspec.json.Decoder(bool | None),
    "stream_options": msgspec.json.Decoder(_StreamOptions | None),
    "temperature": msgspec.json.Decoder(float | None),
    "top_p": msgspec.json.Decoder(float | None),
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
    "user": msgspec.json.Decoder(Annotated[str, Meta(max_length=512)] | None),
    "reasoning_effort": msgspec.json.Decoder(
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    ),
}


# -- reading -------------------------------------------------------------------------------------


def decode_request(body: bytes, *, max_messages: int = 10_000) -> ChatRequest:
    """Read a client's body. Raises the ``CallerFault`` that names the field at fault."""
    fields = _read_object(body)
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
    stream = bool(values.get("stream"))
    options = values.get("stream_options")
    if options is not None and not stream:
        raise InvalidRequest(
            "'stream_options' is only allowed when 'stream' is true.", param="stream_options"
        )
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
        user=values.get("user"),
        reasoning_effort=values.get("reasoning_effort"),
        input_bytes=_prompt_bytes(fields, bool(tools)) - sum(len(image.url) for image in images),
        images=len(images),
        original=Original(PROTOCOL, fields),
    )


def _read_object(body: bytes) -> dict[str, Raw]:
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        raise InvalidJson("The request body is empty; it must be a JSON object.")
    try:
        body.decode()  # also where the decoders do not look: it may be passed on as it is
        fields = _fields_of.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise not_json(error) from None
    if len(fields) > MAX_FIELDS:
        raise InvalidRequest(f"The request has {len(fields)} fields; {MAX_FIELDS} are allowed.")
    return fields


def _read_field(name: str, raw: Raw) -> Any:
    if name in REFUSED and not _is_null(raw):
        raise UnsupportedField(f"'{name}' is not supported: use 'max_tokens' and 'n'.", param=name)
    try:
        return _DECODERS.get(name, _anything).decode(raw)
    except msgspec.ValidationError as error:
        raise wrong_value(name, error) from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise not_json(error, name) from None


def _is_null(raw: Raw) -> bool:
    return len(raw) == 4 and bytes(raw) == b"null"


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
        parts = tuple(_read_part(part) for part in content)
    return Message(role, parts, message.name, calls, message.tool_call_id)


def _read_part(part: _WirePart) -> Part:
    match part:
        case _Text(text=text) | _Refusal(refusal=text):
            return TextPart(text)
        case _Image(image_url=image):
            return ImagePart(image.url, image.detail)
        case _Audio():
            return OtherPart("input_audio", Raw(_encode(part)))
        case _File():
            return OtherPart("file", Raw(_encode(part)))


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


# -- writing -------------------------------------------------------------------------------------


def ignored_fields(request: ChatRequest, dialect: Dialect) -> tuple[str, ...]:
    """The names of the client's fields that an upstream of this dialect is not given, sorted."""
    original = request.original
    if original is None or original.protocol != PROTOCOL:
        return ()
    names = [
        name
        for name, raw in original.fields.items()
        if name not in CARRIED and name not in dialect.extra_fields and not _is_null(raw)
    ]
    return tuple(sorted(names))


def encode_request(request: ChatRequest, model: str, dialect: Dialect) -> bytes:
    """Spell the request for an upstream, which knows the model as ``model``."""
    body: dict[str, Any] = {"model": model}
    original = request.original
    if original is not None and original.protocol == PROTOCOL:
        body |= {
            name: raw
            for name, raw in original.fields.items()
            if (name in _VERBATIM or name in dialect.extra_fields) and not _is_null(raw)
        }
    else:
        body.update(_written_content(request))
    if not dialect.obeys_tool_choice:
        _enforce_tool_choice(body, request)
    body.update(_written_sampling(request, dialect))
    if dialect.streams_answer_to(request):
        body["stream"] = True
        body["stream_options"] = _ASK_FOR_USAGE
    body.update(dialect.constants)
    return _encode(body)


def _enforce_tool_choice(body: dict[str, Any], request: ChatRequest) -> None:
    choice = request.tool_choice
    if choice is None:
        return
    if choice.mode == "none":
        body.pop("tools", None)
        body.pop("tool_choice", None)
    elif choice.name is not None:
        body["tools"] = [_tool_entry(tool) for tool in request.tools if tool.name == choice.name]
        body["tool_choice"] = "required"


_ASK_FOR_USAGE = Raw(b'{"include_usage":true}')

_VERBATIM: Final = frozenset(
    {
        "messages",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "logit_bias",
        "user",
        "reasoning_effort",
    }
)
"""Fields that the client's own JSON spells best; the others may have been edited on the way."""


def _written_sampling(request: ChatRequest, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    sampling = request.sampling
    for name, value in (
        ("temperature", sampling.temperature),
        ("top_p", sampling.top_p),
        ("seed", sampling.seed),
        ("top_logprobs", sampling.top_logprobs),
        ("presence_penalty", sampling.presence_penalty),
        ("frequency_penalty", sampling.frequency_penalty),
    ):
        if value is not None:
            yield name, value
    if sampling.stop:
        yield "stop", sampling.stop
    if sampling.n != 1:
        yield "n", sampling.n
    if sampling.logprobs:
        yield "logprobs", True
    if sampling.max_tokens is not None:
        yield _max_tokens_field(request, dialect), sampling.max_tokens


def _max_tokens_field(request: ChatRequest, dialect: Dialect) -> str:
    if dialect.max_tokens_field is not None:
        return dialect.max_tokens_field
    original = request.original
    if original is not None and original.protocol == PROTOCOL:
        written = original.fields.get("max_completion_tokens")
        if written is not None and not _is_null(written):
            return "max_completion_tokens"
    return "max_tokens"


def _written_content(request: ChatRequest) -> Iterator[tuple[str, Any]]:
    yield "messages", [_written_message(message) for message in request.messages]
    if request.tools:
        yield "tools", [_tool_entry(tool) for tool in request.tools]
    choice = request.tool_choice
    if choice is not None:
        yield (
            "tool_choice",
            choice.mode
            if choice.name is None
            else {"type": "function", "function": {"name": choice.name}},
        )
    wanted = request.response_format
    if wanted is not None:
        described: dict[str, Any] = {"type": wanted.kind}
        if wanted.kind == "json_schema":
            described["json_schema"] = _without_none(
                name=wanted.name, schema=wanted.schema, strict=wanted.strict
            )
        yield "response_format", described
    for name, value in (
        ("parallel_tool_calls", request.parallel_tool_calls),
        ("logit_bias", request.sampling.logit_bias),
        ("user", request.user),
        ("reasoning_effort", request.reasoning_effort),
    ):
        if value is not None:
            yield name, value


def _written_message(message: Message) -> dict[str, Any]:
    content: str | list[Any] | None
    if not message.parts:
        content = None if message.role is Role.ASSISTANT else ""
    elif len(message.parts) == 1 and isinstance(message.parts[0], TextPart):
        content = message.parts[0].text
    else:
        content = [_written_part(part) for part in message.parts]
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in message.tool_calls
    ]
    return {"role": message.role, "content": content} | _without_none(
        name=message.name, tool_calls=calls or None, tool_call_id=message.tool_call_id
    )


def _written_part(part: Part) -> Any:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(url=url, detail=detail):
            return {"type": "image_url", "image_url": _without_none(url=url, detail=detail)}
        case OtherPart(encoded=encoded):
            return encoded


def _tool_entry(tool: Tool) -> dict[str, Any]:
    described = _without_none(
        name=tool.name,
        description=tool.description,
        parameters=tool.parameters,
        strict=tool.strict,
    )
    return {"type": "function", "function": described}


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
