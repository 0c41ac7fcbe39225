"""A conversation as a Messages request's ``system`` and ``messages``.

From a request of another protocol; or the client's own JSON, without the thoughts that no Messages
server would read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

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
from bandari.domain.faults import InvalidValue, UnsupportedField
from bandari.wire.carrying import cannot_carry_part
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.thoughts import KINDS, is_own, read_thought, written_thought

_INSTRUCTORS: Final = (Role.SYSTEM, Role.DEVELOPER)
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")


class _Kind(Struct):
    type: str


_arguments = msgspec.json.Decoder(dict[str, Any])
_blocks = msgspec.json.Decoder(str | list[Raw])
_kind = msgspec.json.Decoder(_Kind)
_turns = msgspec.json.Decoder(list[dict[str, Raw]])

Content = str | list[Any]


def written_conversation(messages: Sequence[Message]) -> tuple[Content | None, list[Any]]:
    """The instructions before the conversation, where there are any, and its turns."""
    start = 0
    while start < len(messages) and messages[start].role in _INSTRUCTORS:
        start += 1
    instructions = [part for message in messages[:start] for part in message.parts]
    turns = _written_turns(messages[start:])
    if not turns:
        raise InvalidValue(
            "'messages' must hold a message that says something and is no instruction: this "
            "model's provider needs one.",
            param="messages",
        )
    return _content(_written_instructions(instructions)), turns


def without_foreign_thoughts(messages: Raw) -> list[dict[str, Any]]:
    """The client's own turns without the thoughts that no Messages server sealed."""
    kept: list[dict[str, Any]] = []
    for turn in _turns.decode(messages):
        content = _blocks.decode(turn["content"])
        if isinstance(content, str):
            kept.append(turn)
            continue
        blocks = [block for block in content if not _is_foreign(block)]
        if blocks or not content:
            kept.append(turn | {"content": blocks})
    return kept


def _is_foreign(block: Raw) -> bool:
    kind = _kind.decode(block).type
    return kind in KINDS and not is_own(read_thought(kind, block, "messages"))


def _written_turns(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """The results of tool calls, and what the user says after them, are one turn of the user's."""
    turns: list[dict[str, Any]] = []
    results: list[Any] = []
    for message in messages:
        if message.role is Role.TOOL:
            results.append(_written_result(message))
            continue
        if message.role in _INSTRUCTORS:
            role, blocks = Role.SYSTEM, _written_instructions(message.parts)
        else:
            role = message.role
            blocks = [*_written_parts(message.parts), *map(_written_call, message.tool_calls)]
        if results and role is Role.USER:
            blocks = results + blocks
        elif results:
            turns.append({"role": Role.USER, "content": results})
        results = []
        if blocks:
            turns.append({"role": role, "content": _content(blocks)})
    if results:
        turns.append({"role": Role.USER, "content": results})
    return turns


def _content(blocks: list[Any]) -> Content | None:
    """The content in its shortest form; ``None`` where there is none."""
    if len(blocks) == 1 and isinstance(blocks[0], dict) and blocks[0]["type"] == "text":
        text: str = blocks[0]["text"]
        return text
    return blocks or None


def _written_instructions(parts: Iterable[Part]) -> list[Any]:
    if any(isinstance(part, ImagePart) for part in parts):
        raise UnsupportedField(
            "An image in an instruction cannot be carried to this model's provider.",
            param="messages",
        )
    return _written_parts(parts)


def _written_parts(parts: Iterable[Part]) -> list[Any]:
    blocks: list[Any] = []
    for part in parts:
        match part:
            case TextPart(text=text):
                if text.strip():
                    blocks.append({"type": "text", "text": text})
            case ImagePart(url=url):
                blocks.append({"type": "image", "source": _written_source(url)})
            case ReasoningPart():
                thought = written_thought(part)
                if thought is not None:
                    blocks.append(thought)
            case OtherPart(protocol=protocol, encoded=encoded) if protocol == PROTOCOL:
                blocks.append(encoded)
            case OtherPart():
                raise cannot_carry_part(part)
    return blocks


def _written_source(url: str) -> dict[str, str]:
    scheme, _, rest = url.partition(":")
    if scheme.lower() in ("https", "http"):
        return {"type": "url", "url": url}
    head, _, data = rest.partition(",")
    media_type, *parameters = head.split(";")
    if (
        scheme.lower() != "data"
        or parameters[-1:] != ["base64"]
        or not _MEDIA_TYPE.fullmatch(media_type)
        or not _BASE64.fullmatch(data)
    ):
        raise InvalidValue(
            "An image in 'messages' must have an https URL, or a data URL such as "
            f"data:image/png;base64,iVBO; one begins with '{url[:40]}'.",
            param="messages",
        )
    return {"type": "base64", "media_type": media_type, "data": data}


def _written_call(call: ToolCall) -> dict[str, Any]:
    return {
        "type": "tool_use",
        "id": call.id,
        "name": call.name,
        "input": _written_arguments(call),
    }


def _written_arguments(call: ToolCall) -> Raw:
    if not call.arguments.strip():
        return Raw(b"{}")
    try:
        _arguments.decode(call.arguments)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise InvalidValue(
            f"The arguments of the call '{call.id[:100]}' in 'messages' are no JSON object, which "
            "this model's provider needs.",
            param="messages",
        ) from None
    return Raw(call.arguments.encode())


def _written_result(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": message.tool_call_id}
    content = _content(_written_parts(message.parts))
    if content is not None:
        result["content"] = content
    if message.is_error:
        result["is_error"] = True
    return result
