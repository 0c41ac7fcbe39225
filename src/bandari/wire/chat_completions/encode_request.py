"""Chat Completions requests, from a ``ChatRequest`` to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

Where the request came in this protocol, the client's own JSON is sent on, and only what was decided
on the way (model, limits, defaults) is written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    OtherPart,
    OtherTool,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    Tool,
)
from bandari.wire.bodies import is_null
from bandari.wire.carrying import cannot_carry_part, cannot_carry_tool
from bandari.wire.chat_completions import PROTOCOL
from bandari.wire.chat_completions.fields import REASONING, TOP_K
from bandari.wire.dialect import Dialect

_encode = msgspec.json.Encoder().encode


def encode_request(request: ChatRequest, model: str, dialect: Dialect) -> bytes:
    """Spell the request for an upstream, which knows the model as ``model``."""
    body: dict[str, Any] = {"model": model}
    original = request.original
    if original is not None and original.protocol == PROTOCOL:
        body |= {
            name: raw
            for name, raw in original.fields.items()
            if (name in _VERBATIM or name in dialect.extra_fields) and not is_null(raw)
        }
    else:
        body.update(_written_content(request, dialect))
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
        body["tools"] = _written_tools(tool for tool in request.tools if tool.name == choice.name)
        body["tool_choice"] = "required"


_IMAGES_FOLLOW: Final = TextPart("The result is the image that follows.")

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
    if sampling.top_k is not None and TOP_K in dialect.extra_fields:
        yield TOP_K, sampling.top_k
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
        if written is not None and not is_null(written):
            return "max_completion_tokens"
    return "max_tokens"


def _written_content(request: ChatRequest, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    keeps_thoughts = REASONING in dialect.extra_fields
    yield "messages", list(_written_messages(request.messages, keeps_thoughts))
    if request.tools:
        yield "tools", _written_tools(request.tools)
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


def _written_messages(messages: Sequence[Message], keeps_thoughts: bool) -> Iterator[Any]:
    """The turns. A tool's result is text here: its images follow, as if the user showed them."""
    images: list[Part] = []
    for message in messages:
        if images and message.role is not Role.TOOL:
            yield _written_message(Message(Role.USER, tuple(images)), keeps_thoughts)
            images = []
        if message.role is Role.TOOL:
            shown = [part for part in message.parts if isinstance(part, ImagePart)]
            if shown:
                rest = [part for part in message.parts if not isinstance(part, ImagePart)]
                images += [TextPart(f"Of the result of {message.tool_call_id}:"), *shown]
                message = replace(message, parts=tuple(rest) or (_IMAGES_FOLLOW,))  # noqa: PLW2901
        yield _written_message(message, keeps_thoughts)
    if images:
        yield _written_message(Message(Role.USER, tuple(images)), keeps_thoughts)


def _written_message(message: Message, keeps_thoughts: bool) -> dict[str, Any]:
    parts = [part for part in message.parts if not isinstance(part, ReasoningPart)]
    content: str | list[Any] | None
    if not parts:
        content = None if message.role is Role.ASSISTANT else ""
    elif len(parts) == 1 and isinstance(parts[0], TextPart):
        content = parts[0].text
    else:
        content = [_written_part(part) for part in parts]
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in message.tool_calls
    ]
    written = {"role": message.role, "content": content} | _without_none(
        name=message.name, tool_calls=calls or None, tool_call_id=message.tool_call_id
    )
    if keeps_thoughts and len(parts) < len(message.parts):
        written[REASONING] = "".join(
            part.text for part in message.parts if isinstance(part, ReasoningPart)
        )
    return written


def _written_part(part: Part) -> Any:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case ImagePart(url=url, detail=detail):
            return {"type": "image_url", "image_url": _without_none(url=url, detail=detail)}
        case OtherPart(protocol=protocol, encoded=encoded) if protocol == PROTOCOL:
            return encoded
        case OtherPart():
            raise cannot_carry_part(part)
        case ReasoningPart():
            raise AssertionError("thoughts are no content here")


def _written_tools(tools: Iterable[Tool | OtherTool]) -> list[dict[str, Any]]:
    written = []
    for tool in tools:
        if isinstance(tool, OtherTool):
            raise cannot_carry_tool(tool)
        described = _without_none(
            name=tool.name,
            description=tool.description,
            parameters=tool.parameters,
            strict=tool.strict,
        )
        written.append({"type": "function", "function": described})
    return written


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
