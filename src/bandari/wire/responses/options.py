"""The parameters of a Responses request that have parts: ``text``, ``reasoning``, and the stream's.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

Some parts are values of a request; the others only an upstream of this protocol can be told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from bandari.domain.chat import ResponseFormat


class _TextFormat(Struct, tag="text", tag_field="type"):
    pass


class _JsonObjectFormat(Struct, tag="json_object", tag_field="type"):
    pass


class _JsonSchemaFormat(Struct, tag="json_schema", tag_field="type"):
    name: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    schema: dict[str, Raw] | None = None
    strict: bool | None = None
    description: str | None = None


class TextOptions(Struct):
    format: _TextFormat | _JsonObjectFormat | _JsonSchemaFormat | None = None
    verbosity: str | None = None


class ReasoningOptions(Struct):
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class StreamOptions(Struct):
    include_obfuscation: bool | None = None


_encode = msgspec.json.Encoder().encode


def read_format(text: TextOptions) -> ResponseFormat | None:
    """``text.format`` as a value of a request."""
    match text.format:
        case None:
            return None
        case _TextFormat():
            return ResponseFormat("text")
        case _JsonObjectFormat():
            return ResponseFormat("json_object")
        case _JsonSchemaFormat(name=name, schema=schema, strict=strict):
            encoded = None if schema is None else Raw(_encode(schema))
            return ResponseFormat("json_schema", name, encoded, strict)


def untold_parts(text: TextOptions, reasoning: ReasoningOptions) -> Iterator[str]:
    """The names of the parts that are there and that no value of a request stands for."""
    if text.verbosity is not None:
        yield "text.verbosity"
    if isinstance(text.format, _JsonSchemaFormat) and text.format.description is not None:
        yield "text.format.description"
    for name in ("summary", "generate_summary", "context"):
        if getattr(reasoning, name) is not None:
            yield f"reasoning.{name}"
