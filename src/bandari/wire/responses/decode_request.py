"""Responses requests, from bytes to a ``ResponsesRequest``.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

A request may go on from a stored answer; what was said before is then joined to its own input. Who
keeps it, and where, is not this file's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Raw, Struct
from msgspec.structs import replace

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Original,
    Role,
    Sampling,
    TextPart,
)
from bandari.domain.faults import InvalidRequest, InvalidValue, MissingField, UnsupportedField
from bandari.wire.bodies import is_null, read_object, read_value
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.field_errors import ERRORS
from bandari.wire.responses.fields import CARRIED, ECHOED, INCLUDABLE, INSTEAD, LOGPROBS
from bandari.wire.responses.items import Place, read_conversation, referred_id, spelled_out
from bandari.wire.responses.options import (
    ReasoningOptions,
    StreamOptions,
    TextOptions,
    read_format,
    untold_parts,
)
from bandari.wire.responses.tools import Choice, Offer, read_offer
from bandari.wire.responses.truncation import shortened
from bandari.wire.responses.words import WORDS

TOOLS_OVERHEAD_BYTES: Final = 1024
"""What a chat template may write around tools, beyond their JSON."""

MAX_METADATA: Final = 16
MAX_METADATA_KEY_CHARACTERS: Final = 64
MAX_METADATA_VALUE_CHARACTERS: Final = 512

Truncation = Literal["auto", "disabled"]
_Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*$")]
_OutputLimit = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
_TopLogprobs = Annotated[int, Meta(ge=0, le=20)]


_encode = msgspec.json.Encoder().encode
_anything = msgspec.json.Decoder(Any)
_text = msgspec.json.Decoder(str | None)
_flag = msgspec.json.Decoder(bool | None)
_number = msgspec.json.Decoder(float | None)
_name = msgspec.json.Decoder(Annotated[_Name, Meta(min_length=1, max_length=512)] | None)
_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "model": _name,
    "input": msgspec.json.Decoder(str | list[Raw] | None),
    "instructions": _text,
    "previous_response_id": _name,
    "store": _flag,
    "background": _flag,
    "metadata": msgspec.json.Decoder(dict[str, str] | None),
    "include": msgspec.json.Decoder(list[str] | None),
    "stream": _flag,
    "stream_options": msgspec.json.Decoder(StreamOptions | None),
    "temperature": _number,
    "top_p": _number,
    "top_logprobs": msgspec.json.Decoder(_TopLogprobs | None),
    "max_output_tokens": msgspec.json.Decoder(_OutputLimit | None),
    "max_tool_calls": msgspec.json.Decoder(int | None),
    "text": msgspec.json.Decoder(TextOptions | None),
    "tools": msgspec.json.Decoder(list[Raw] | None),
    "tool_choice": msgspec.json.Decoder(Choice | None),
    "parallel_tool_calls": _flag,
    "reasoning": msgspec.json.Decoder(ReasoningOptions | None),
    "truncation": msgspec.json.Decoder(Truncation | None),
    "user": msgspec.json.Decoder(Annotated[_Name, Meta(max_length=512)] | None),
    "safety_identifier": msgspec.json.Decoder(Annotated[_Name, Meta(max_length=512)] | None),
    "prompt_cache_key": _text,
    "service_tier": _text,
}


class ResponsesRequest(Struct, frozen=True):
    """What a client asks for, and what is kept of it.

    ``chat`` is of the request's own input, ``items``, alone: where ``previous_response_id`` is
    there, ``with_history`` makes the whole of it. ``references`` are the ids of stored items that
    stand for some of them, by their index: until they are ``resolved``, ``chat`` lacks those.
    ``echo`` is what an answer repeats of the client's own fields.
    """

    chat: ChatRequest
    items: tuple[Raw, ...]
    previous_response_id: str | None
    store: bool
    background: bool
    instructions: str | None
    metadata: Mapping[str, str]
    truncation: Truncation
    includes: frozenset[str]
    echo: Mapping[str, Raw]
    max_messages: int
    references: Mapping[int, str] = {}

    def resolved(self, found: Mapping[str, Raw]) -> ResponsesRequest:
        """The request with stored items, by id, where it refers to them.

        Raises the ``CallerFault`` that names a reference to what is not there.
        """
        items = list(self.items)
        for index, name in self.references.items():
            if name not in found:
                raise InvalidValue(
                    f"There is no stored item '{name}': 'input[{index}]' refers to it.",
                    param=f"input[{index}].id",
                )
            items[index] = found[name]
        is_whole = self.previous_response_id is None
        chat = _joined(self.chat, self.instructions, (), items, is_whole=is_whole)
        return replace(self, chat=chat, items=tuple(items), references={})

    def with_history(self, items: Sequence[Raw]) -> ChatRequest:
        """The request for an answer to what was said before, ``items``, and to its own input.

        Raises the ``CallerFault`` that names the result of a call that nobody made.
        """
        if not items and self.previous_response_id is None:
            return self.chat
        self._check_length(len(items))
        return _joined(self.chat, self.instructions, items, self.items, is_whole=True)

    def shortened(self, items: Sequence[Raw]) -> Iterator[ChatRequest]:
        """The same without the oldest items, fewer of them each time, where the client allows it.

        Empty where it does not, and where nothing can be left out.
        """
        if self.truncation == "auto":
            for rest in shortened([*items, *self.items]):
                yield _joined(self.chat, self.instructions, (), rest, is_whole=True)

    def _check_length(self, history: int) -> None:
        total = history + len(self.items)
        if total > self.max_messages:
            raise InvalidValue(
                f"The conversation may hold at most {self.max_messages} items, and holds {total}.",
                param="previous_response_id",
            )


def decode_request(body: bytes, *, max_messages: int = 10_000) -> ResponsesRequest:
    """Read a client's body. Raises the ``CallerFault`` that names the field at fault."""
    fields = read_object(body)
    values = {name: _read_field(name, raw) for name, raw in fields.items()}
    _check(values)
    items = _read_input(values["input"], fields["input"], max_messages)
    references = {
        index: name
        for index, item in enumerate(items)
        if (name := referred_id(item, f"input[{index}]")) is not None
    }
    own = [item for index, item in enumerate(items) if index not in references]
    previous = values.get("previous_response_id")
    instructions = values.get("instructions")
    offer = read_offer(values.get("tools") or (), values.get("tool_choice"))
    includes = values.get("include") or ()
    text = values.get("text") or TextOptions()
    reasoning = values.get("reasoning") or ReasoningOptions()
    user = values.get("user")
    is_bare = bool(offer.left_out) and not offer.tools
    chat = ChatRequest(
        model=values["model"],
        messages=(),
        sampling=_read_sampling(values, includes),
        stream=bool(values.get("stream")),
        include_usage=True,
        tools=offer.tools,
        tool_choice=offer.choice,
        parallel_tool_calls=None if is_bare else values.get("parallel_tool_calls"),
        response_format=read_format(text),
        user=values.get("safety_identifier") if user is None else user,
        reasoning_effort=reasoning.effort,
        original=Original(
            PROTOCOL,
            _kept_fields(fields, offer, is_bare=is_bare),
            _unknown(fields, values, offer),
            tuple(sorted(_untold(text, reasoning, offer))),
            WORDS,
        ),
    )
    return ResponsesRequest(
        chat=_joined(chat, instructions, (), own, is_whole=previous is None and not references),
        items=items,
        previous_response_id=previous,
        store=values.get("store") is not False,
        background=bool(values.get("background")),
        instructions=instructions,
        metadata=values.get("metadata") or {},
        truncation=values.get("truncation") or "disabled",
        includes=frozenset(includes),
        echo={name: raw for name, raw in fields.items() if name in ECHOED and not is_null(raw)},
        max_messages=max_messages,
        references=references,
    )


def _joined(
    chat: ChatRequest,
    instructions: str | None,
    history: Sequence[Raw],
    own: Sequence[Raw],
    *,
    is_whole: bool,
) -> ChatRequest:
    """``chat`` with this conversation for its own: its messages, its sizes and its JSON."""
    assert chat.original is not None
    items: list[tuple[Place, Raw]] = [
        (f"previous_response_id[{index}]", raw) for index, raw in enumerate(history)
    ]
    items += [(f"input[{index}]", raw) for index, raw in enumerate(own)]
    conversation = read_conversation(items, is_whole=is_whole)
    messages = conversation.messages
    if instructions:
        messages = (Message(Role.SYSTEM, (TextPart(instructions),)), *messages)
    images = [part for turn in messages for part in turn.parts if isinstance(part, ImagePart)]
    fields = {**chat.original.fields, "input": _array([raw for _, raw in items])}
    size = sum(
        len(fields[name]) for name in ("input", "instructions", "tools", "text") if name in fields
    )
    return replace(
        chat,
        messages=messages,
        input_bytes=size
        - sum(len(image.url) for image in images)
        + (TOOLS_OVERHEAD_BYTES if chat.tools else 0),
        images=len(images),
        original=replace(
            chat.original,
            fields=fields,
            untold=tuple(sorted({*chat.original.untold, *conversation.untold})),
        ),
    )


def _array(items: Sequence[Raw]) -> Raw:
    return Raw(b"[" + b",".join(items) + b"]")


def _read_field(name: str, raw: Raw) -> Any:
    if name in INSTEAD and not is_null(raw):
        raise UnsupportedField(f"'{name}' {INSTEAD[name]}.", param=name)
    return read_value(name, raw, _DECODERS.get(name, _anything), ERRORS)


def _check(values: Mapping[str, Any]) -> None:
    """What the types of single fields do not say."""
    if values.get("model") is None:
        raise MissingField("'model' is required: the id of the model to ask.", param="model")
    if values.get("input") is None:
        raise MissingField("'input' is required: a text, or the items so far.", param="input")
    if values.get("stream_options") is not None and not values.get("stream"):
        raise InvalidRequest(
            "'stream_options' is only allowed when 'stream' is true.", param="stream_options"
        )
    if values.get("background") and values.get("store") is False:
        raise InvalidValue("'background' needs 'store' to be true.", param="background")
    _check_metadata(values.get("metadata") or {})


def _check_metadata(metadata: Mapping[str, str]) -> None:
    if len(metadata) > MAX_METADATA:
        raise InvalidValue(
            f"'metadata' may hold at most {MAX_METADATA} pairs, and holds {len(metadata)}.",
            param="metadata",
        )
    for key, value in metadata.items():
        if len(key) > MAX_METADATA_KEY_CHARACTERS:
            raise InvalidValue(
                f"A key of 'metadata' may have at most {MAX_METADATA_KEY_CHARACTERS} characters.",
                param="metadata",
            )
        if len(value) > MAX_METADATA_VALUE_CHARACTERS:
            raise InvalidValue(
                f"'metadata.{key}' may have at most {MAX_METADATA_VALUE_CHARACTERS} characters.",
                param=f"metadata.{key}",
            )


def _read_input(value: str | list[Raw], raw: Raw, max_messages: int) -> tuple[Raw, ...]:
    if isinstance(value, str):
        return (
            Raw(
                b'{"type":"message","role":"user","content":[{"type":"input_text","text":%b}]}'
                % bytes(raw)
            ),
        )
    if not value:
        raise InvalidValue("'input' must not be empty.", param="input")
    if len(value) > max_messages:
        raise InvalidValue(
            f"'input' may hold at most {max_messages} items, and holds {len(value)}.",
            param="input",
        )
    return tuple(spelled_out(item, f"input[{index}]") for index, item in enumerate(value))


def _read_sampling(values: Mapping[str, Any], includes: Sequence[str]) -> Sampling:
    top_logprobs = values.get("top_logprobs")
    has_logprobs = LOGPROBS in includes or bool(top_logprobs)
    return Sampling(
        temperature=values.get("temperature"),
        top_p=values.get("top_p"),
        max_tokens=values.get("max_output_tokens"),
        logprobs=has_logprobs,
        top_logprobs=top_logprobs if has_logprobs else None,
    )


def _kept_fields(fields: Mapping[str, Raw], offer: Offer, *, is_bare: bool) -> dict[str, Raw]:
    """The client's fields, of whose tools only those are left that may be offered."""
    kept = dict(fields)
    if offer.encoded:
        kept["tools"] = _array(offer.encoded)
    else:
        kept.pop("tools", None)
    if offer.choice is None:
        kept.pop("tool_choice", None)
    elif offer.choice.name is None:
        kept["tool_choice"] = Raw(_encode(offer.choice.mode))
    if is_bare:
        kept.pop("parallel_tool_calls", None)
    return kept


def _unknown(fields: Mapping[str, Raw], values: Mapping[str, Any], offer: Offer) -> tuple[str, ...]:
    """What is never in a request: unknown fields, and parts of fields that nobody may be given."""
    names = {name for name in fields.keys() - CARRIED if not is_null(fields[name])}
    if values.get("service_tier") in ("auto", "default"):
        names.discard("service_tier")
    names.update(offer.left_out)
    names.update(
        f"include[{index}]"
        for index, name in enumerate(values.get("include") or ())
        if name not in INCLUDABLE
    )
    reasoning = values.get("reasoning")
    if reasoning is not None and reasoning.mode not in (None, "standard"):
        names.add("reasoning.mode")
    options = values.get("stream_options")
    if options is not None and options.include_obfuscation:
        names.add("stream_options.include_obfuscation")
    return tuple(sorted(names))


def _untold(text: TextOptions, reasoning: ReasoningOptions, offer: Offer) -> set[str]:
    """What only an upstream of this protocol can be told."""
    return {*untold_parts(text, reasoning), *offer.untold}
