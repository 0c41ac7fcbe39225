"""Items of a Responses conversation for an upstream: a client's own, and those of messages.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

An upstream keeps nothing of ours, so no id means anything to it, and of thoughts it reads only
those that its own kind has sealed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from bandari.domain.chat import (
    ImagePart,
    Message,
    OtherPart,
    Part,
    ReasoningPart,
    Role,
    TextPart,
)
from bandari.domain.faults import UnsupportedField
from bandari.wire.carrying import cannot_carry_part
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.fields import is_ours
from bandari.wire.seals import unwrap

_encode = msgspec.json.Encoder().encode
_items_of = msgspec.json.Decoder(list[dict[str, Raw]])
_text_of = msgspec.json.Decoder(str | None)

_BETWEEN_TEXTS: Final = "\n\n"
_INSTRUCTING: Final = (Role.SYSTEM, Role.DEVELOPER)


def relayed_items(encoded: Raw) -> Iterator[dict[str, Raw]]:
    """The client's own items, but for their ids and for the thoughts that cannot be read."""
    for item in _items_of.decode(encoded):
        item.pop("id", None)
        if _text_of.decode(item.get("type", b"null")) == "reasoning":
            sealed = _text_of.decode(item.get("encrypted_content", b"null"))
            if not sealed:
                continue
            seal = unwrap(sealed, PROTOCOL, is_thought=True)
            if seal.protocol != PROTOCOL:
                continue
            item["encrypted_content"] = Raw(_encode(seal.data))
        yield item


def split_instructions(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """The text of the instructions that come first, and the conversation after them.

    They stay where they are if nothing comes after them: an upstream wants a conversation.
    """
    texts: list[str] = []
    for index, message in enumerate(messages):
        parts = [part.text for part in message.parts if isinstance(part, TextPart)]
        if message.role not in _INSTRUCTING or len(parts) < len(message.parts):
            return _BETWEEN_TEXTS.join(filter(None, texts)), messages[index:]
        texts += parts
    return "", messages


def written_items(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    """The items that say what ``messages`` say.

    Raises ``UnsupportedField`` for what the protocol cannot say.
    """
    for message in messages:
        if message.role is Role.TOOL:
            yield {
                "type": "function_call_output",
                "call_id": message.tool_call_id or "",
                "output": _written_result(message.parts),
            }
        elif message.role is Role.ASSISTANT:
            yield from _written_turn(message)
        else:
            parts = [_written_part(part) for part in message.parts]
            yield _written_message(message.role, parts or [_input_text("")])


def _written_message(role: Role, parts: Sequence[Any]) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": parts}


def _written_turn(message: Message) -> Iterator[dict[str, Any]]:
    """An assistant's turn, in the order in which it was spoken; one that is empty stays a turn."""
    texts: list[Any] = []
    says_something = False
    for part in message.parts:
        if not isinstance(part, ReasoningPart):
            texts.append(_written_output(part))
        elif part.seal is not None and is_ours(part):
            if texts:
                yield _written_message(Role.ASSISTANT, texts)
                texts = []
            yield {
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": part.text}] if part.text else [],
                "encrypted_content": part.seal.data,
            }
            says_something = True
    if not (texts or says_something or message.tool_calls):
        texts = [_output_text("")]
    if texts:
        yield _written_message(Role.ASSISTANT, texts)
    for call in message.tool_calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }


def _written_result(parts: Sequence[Part]) -> str | list[Any]:
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if len(texts) == len(parts):
        return _BETWEEN_TEXTS.join(texts)
    return [_written_part(part) for part in parts]


def _input_text(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text}


def _written_output(part: Part) -> Any:
    match part:
        case TextPart(text=text):
            return _output_text(text)
        case ImagePart():
            raise UnsupportedField(
                "An image in an assistant's turn cannot be carried to this model's provider.",
                param="messages",
            )
        case _:
            return _written_part(part)


def _written_part(part: Part) -> Any:
    match part:
        case TextPart(text=text):
            return _input_text(text)
        case ImagePart(url=url, detail=None):
            return {"type": "input_image", "image_url": url}
        case ImagePart(url=url, detail=detail):
            return {"type": "input_image", "image_url": url, "detail": detail}
        case OtherPart(protocol=protocol, encoded=encoded) if protocol == PROTOCOL:
            return encoded
        case OtherPart():
            raise cannot_carry_part(part)
        case ReasoningPart():
            raise AssertionError("only an assistant has thoughts")
