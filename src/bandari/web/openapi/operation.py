"""What a surface says of its operations, and how that is spelled in OpenAPI.

Says nothing about any surface by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from bandari.web.openapi.errors import Protocol, answer_name
from bandari.web.openapi.headers import response_headers
from bandari.web.openapi.json_values import JsonObject
from bandari.web.openapi.schema import Schemas, Shape

BASES: Final = ("/v1", "/api/v1/llm")
"""Every surface is served under both; the second one's operations are named ``llm…``."""

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"

STREAM_EXTENSION: Final = "x-event-stream"
"""Says what OpenAPI 3.1 has no words for: how a stream is to be read."""
HEADERS_EXTENSION: Final = "x-headers"
"""In an example: the headers that such a request has beside its key."""


class Example(Struct, frozen=True):
    """``headers`` are those that the request needs beside its key."""

    summary: str
    value: Any
    headers: tuple[tuple[str, str], ...] = ()


class Stream(Struct, frozen=True):
    """Server-sent events. ``shape`` is that of one event: of its ``data``, read as JSON, or of the
    event as a whole, where ``whole`` is set.

    ``ends_with`` says what comes last, and ``example`` is a stream as it is sent. ``error`` is the
    data by which a stream that fails ends, where ``shape`` does not have it.
    """

    shape: Shape
    ends_with: str
    example: str
    whole: bool = False
    error: Shape | None = None


class Answer(Struct, frozen=True):
    """``shape`` is its JSON, ``stream`` its events, ``texts`` the content types of other forms."""

    description: str
    shape: Shape | None = None
    stream: Stream | None = None
    texts: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    examples: Mapping[str, Example] = {}


class Operation(Struct, frozen=True):
    """One method of one path. ``protocol`` is that of its errors, ``failures`` their statuses.

    ``others`` are answers of a form of their own, by their status. ``parameters`` are names in
    ``headers.PARAMETERS``; ``needs_key`` is whether somebody must say who is asking.
    """

    id: str
    method: str
    path: str
    summary: str
    description: str
    answer: Answer
    others: Mapping[int, Answer] = {}
    body: Shape | None = None
    examples: Mapping[str, Example] = {}
    parameters: tuple[str, ...] = ()
    protocol: Protocol | None = None
    failures: tuple[int, ...] = ()
    is_deprecated: bool = False
    needs_key: bool = True


class Section(Struct, frozen=True):
    """Operations that belong together, under each of ``bases``.

    ``schemes`` are those by which somebody says who is asking; none: as everywhere.
    """

    tag: str
    description: str
    operations: tuple[Operation, ...]
    bases: Sequence[str] = BASES
    schemes: tuple[str, ...] = ()


def spelled(operation: Operation, section: Section, base: str, schemas: Schemas) -> JsonObject:
    """The Operation Object."""
    name = operation.id
    if base == BASES[1] and BASES[0] in section.bases:
        name = f"llm{name[0].upper()}{name[1:]}"
    fields: JsonObject = {
        "operationId": name,
        "tags": [section.tag],
        "summary": operation.summary,
        "description": operation.description,
    }
    if operation.is_deprecated:
        fields["deprecated"] = True
    if operation.parameters:
        fields["parameters"] = [
            {"$ref": f"#/components/parameters/{name}"} for name in operation.parameters
        ]
    if operation.body is not None:
        content: JsonObject = {"schema": schemas.of(operation.body)}
        if operation.examples:
            content["examples"] = _examples(operation.examples)
        fields["requestBody"] = {"required": True, "content": {JSON: content}}
    fields["responses"] = {
        str(status): _answer(answer, schemas)
        for status, answer in {200: operation.answer, **operation.others}.items()
    }
    if operation.protocol is not None:
        for status in operation.failures:
            name = answer_name(operation.protocol, status)
            fields["responses"][str(status)] = {"$ref": f"#/components/responses/{name}"}
    if not operation.needs_key:
        fields["security"] = []
    elif section.schemes:
        fields["security"] = [{scheme: []} for scheme in section.schemes]
    return fields


def _answer(answer: Answer, schemas: Schemas) -> JsonObject:
    content: JsonObject = {}
    if answer.shape is not None:
        content[JSON] = {"schema": schemas.of(answer.shape)}
        if answer.examples:
            content[JSON]["examples"] = _examples(answer.examples)
    for media_type in answer.texts:
        content[media_type] = {"schema": {"type": "string"}}
    if answer.stream is not None:
        content[EVENT_STREAM] = _stream(answer.stream, schemas)
    return {
        "description": answer.description,
        "headers": response_headers(answer.headers),
        "content": content,
    }


def _stream(stream: Stream, schemas: Schemas) -> JsonObject:
    how: JsonObject = {
        "schemaOf": "event" if stream.whole else "data",
        "endsWith": stream.ends_with,
        "example": stream.example,
    }
    if stream.error is not None:
        how["error"] = schemas.of(stream.error)
    return {"schema": schemas.of(stream.shape), STREAM_EXTENSION: how}


def _examples(examples: Mapping[str, Example]) -> JsonObject:
    return {name: _example(example) for name, example in examples.items()}


def _example(example: Example) -> JsonObject:
    fields: JsonObject = {"summary": example.summary, "value": example.value}
    if example.headers:
        fields[HEADERS_EXTENSION] = dict(example.headers)
    return fields
