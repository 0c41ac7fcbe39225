"""Embeddings requests, from bytes to an ``EmbeddingsRequest``.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.chat import Original
from bandari.domain.embeddings import MAX_INPUTS, EmbeddingsRequest, EncodingFormat, Input
from bandari.domain.faults import InvalidValue, MissingField
from bandari.wire.bodies import is_null, read_object, read_value
from bandari.wire.embeddings import PROTOCOL
from bandari.wire.embeddings.fields import CARRIED
from bandari.wire.field_errors import FieldErrors

MAX_TOKEN_ID: Final = 2**31 - 1

_Name = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]*$")]
_TokenId = Annotated[int, Meta(ge=0, le=MAX_TOKEN_ID)]
_Dimensions = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
_WireInput = str | list[str | _TokenId | list[_TokenId]]

_anything = msgspec.json.Decoder(Any)

_DECODERS: Final[Mapping[str, msgspec.json.Decoder[Any]]] = {
    "model": msgspec.json.Decoder(Annotated[_Name, Meta(min_length=1, max_length=512)] | None),
    "input": msgspec.json.Decoder(_WireInput | None),
    "dimensions": msgspec.json.Decoder(_Dimensions | None),
    "encoding_format": msgspec.json.Decoder(EncodingFormat | None),
    "user": msgspec.json.Decoder(Annotated[_Name, Meta(max_length=512)] | None),
}

_ERRORS: Final = FieldErrors(
    allowed={"encoding_format": ", ".join(EncodingFormat)},
    spellings={
        "model": "may not hold control characters",
        "user": "may not hold control characters",
    },
)

_KINDS: Final = {str: "a string", int: "a token", list: "an array of tokens"}


def decode_request(body: bytes) -> EmbeddingsRequest:
    """Read a client's body. Raises the ``CallerFault`` that names the field at fault."""
    fields = read_object(body)
    values = {
        name: read_value(name, raw, _DECODERS.get(name, _anything), _ERRORS)
        for name, raw in fields.items()
    }
    if values.get("model") is None:
        raise MissingField("'model' is required: the id of the model to ask.", param="model")
    if values.get("input") is None:
        raise MissingField("'input' is required: the text to embed.", param="input")
    inputs = _read_inputs(values["input"])
    unknown = (name for name in fields.keys() - CARRIED if not is_null(fields[name]))
    return EmbeddingsRequest(
        model=values["model"],
        inputs=inputs,
        dimensions=values.get("dimensions"),
        encoding_format=values.get("encoding_format") or EncodingFormat.FLOAT,
        user=values.get("user"),
        input_bytes=sum(len(each.encode()) for each in inputs if isinstance(each, str)),
        original=Original(PROTOCOL, fields, tuple(sorted(unknown))),
    )


def _read_inputs(value: str | list[str | int | list[int]]) -> tuple[Input, ...]:
    """A text, tokens, or a list of either; all of one kind."""
    if not value:
        raise InvalidValue("'input' must not be empty.", param="input")
    if isinstance(value, str):
        return (value,)
    kind = type(value[0])
    inputs: list[Input] = []
    tokens: list[int] = []
    for position, item in enumerate(value):
        if type(item) is not kind:
            name = f"input[{position}]"
            raise InvalidValue(
                f"'{name}' must be {_KINDS[kind]}, as 'input[0]' is: an input may not mix texts "
                "and tokens.",
                param=name,
            )
        if isinstance(item, int):
            tokens.append(item)
        elif not item:
            raise InvalidValue(
                f"'input[{position}]' must not be empty.", param=f"input[{position}]"
            )
        else:
            inputs.append(item if isinstance(item, str) else tuple(item))
    if tokens:
        return (tuple(tokens),)
    if len(inputs) > MAX_INPUTS:
        raise InvalidValue(
            f"'input' may hold at most {MAX_INPUTS} inputs, and holds {len(inputs)}.", param="input"
        )
    return tuple(inputs)
