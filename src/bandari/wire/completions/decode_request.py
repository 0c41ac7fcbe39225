"""Legacy Completions requests, from bytes to a ``ChatRequest`` of one message.

Rule 1: no I/O. Rule 2: only what differs from Chat Completions is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw
from msgspec.structs import replace

from bandari.domain.chat import ChatRequest, Role
from bandari.domain.faults import InvalidValue, MissingField, UnsupportedField
from bandari.wire.bodies import is_null, read_object, read_value
from bandari.wire.chat_completions.decode_request import read_request
from bandari.wire.chat_completions.field_errors import ERRORS
from bandari.wire.completions.fields import FOREIGN, OWN

MAX_LOGPROBS: Final = 5
DEFAULT_MAX_TOKENS: Final = 16

_encode = msgspec.json.Encoder().encode

_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "prompt": msgspec.json.Decoder(str | list[str | int | list[int]] | None),
    "logprobs": msgspec.json.Decoder(Annotated[int, Meta(ge=0, le=MAX_LOGPROBS)] | None),
    "echo": msgspec.json.Decoder(bool | None),
    "suffix": msgspec.json.Decoder(str | None),
    "best_of": msgspec.json.Decoder(int | None),
}


def decode_request(body: bytes, *, max_messages: int = 10_000) -> ChatRequest:
    """Read a client's body. Raises the ``CallerFault`` that names the field at fault.

    What comes out is a request of Chat Completions, whose one message is the prompt.
    """
    fields = read_object(body)
    own = {
        name: read_value(name, fields[name], _DECODERS[name], ERRORS)
        for name in OWN
        if name in fields
    }
    _refuse_unsupported(own)
    message = {"role": Role.USER, "content": _read_prompt(own.get("prompt"))}
    chat = {name: raw for name, raw in fields.items() if name not in OWN and name not in FOREIGN}
    chat["messages"] = Raw(_encode([message]))
    if "max_tokens" not in chat or is_null(chat["max_tokens"]):
        chat["max_tokens"] = Raw(_encode(DEFAULT_MAX_TOKENS))
    if own.get("logprobs") is not None:
        chat["logprobs"] = Raw(b"true")
        chat["top_logprobs"] = Raw(_encode(own["logprobs"]))
    request = read_request(chat, max_messages=max_messages)
    foreign = {name for name in fields.keys() & FOREIGN if not is_null(fields[name])}
    if not foreign:
        return request
    assert request.original is not None, "every request of a client has its own JSON"
    unknown = tuple(sorted({*request.original.unknown, *foreign}))
    return replace(request, original=replace(request.original, unknown=unknown))


def _refuse_unsupported(own: Mapping[str, Any]) -> None:
    if own.get("echo"):
        raise UnsupportedField(
            "'echo' is not supported: the prompt goes through a chat template.", param="echo"
        )
    if own.get("suffix") is not None:
        raise UnsupportedField("'suffix' is not supported: nothing is inserted.", param="suffix")
    if (own.get("best_of") or 1) != 1:
        raise UnsupportedField(
            "'best_of' is not supported but for 1: use 'n', and choose.", param="best_of"
        )


def _read_prompt(prompt: str | list[str | int | list[int]] | None) -> str:
    """The one text that there must be, alone or in a list."""
    if prompt is None:
        raise MissingField("'prompt' is required: the text to answer.", param="prompt")
    if isinstance(prompt, str):
        return prompt
    if not prompt:
        raise InvalidValue("'prompt' must not be empty.", param="prompt")
    first = prompt[0]
    if not isinstance(first, str):
        raise UnsupportedField(
            "'prompt' must be a text: tokens cannot go through a chat template.", param="prompt"
        )
    if len(prompt) > 1:
        raise UnsupportedField(
            f"'prompt' may hold one prompt, and holds {len(prompt)}: send a request for each.",
            param="prompt",
        )
    return first
