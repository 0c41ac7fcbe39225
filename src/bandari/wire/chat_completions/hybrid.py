"""The hybrid of two protocols: Chat Completions with Anthropic's ``system`` beside ``messages``.

Only what differs is here. Source: systems.md, section 2.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from bandari.domain.chat import ChatRequest, Message, Role, TextPart
from bandari.wire.bodies import read_object, read_value
from bandari.wire.chat_completions.decode_request import read_request
from bandari.wire.chat_completions.field_errors import ERRORS

_system = msgspec.json.Decoder(str | None)
_items = msgspec.json.Decoder(list[Raw])
_encode = msgspec.json.Encoder().encode

SYSTEM: Final = "system"


def decode_request(body: bytes, *, max_messages: int = 10_000) -> ChatRequest:
    """Read a client's body. Raises the ``CallerFault`` that names the field at fault.

    What comes out is a request of Chat Completions whose first message is the system's.
    """
    fields = read_object(body)
    raw = fields.pop(SYSTEM, None)
    request = read_request(fields, max_messages=max_messages)
    text = None if raw is None else read_value(SYSTEM, raw, _system, ERRORS)
    if raw is None or text is None:
        return request
    message = Raw(_encode({"role": Role.SYSTEM, "content": raw}))
    fields["messages"] = Raw(_encode([message, *_items.decode(fields["messages"])]))
    assert request.original is not None, "every request of a client has its own JSON"
    return replace(
        request,
        messages=(Message(Role.SYSTEM, (TextPart(text),)), *request.messages),
        input_bytes=request.input_bytes + len(message),
        original=replace(request.original, fields=fields),
    )
