"""Operations for people: what to send, what comes back, and what may go wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from msgspec import Struct

from bandari.web.docs_page.markup import Html, phrase, prose, tag
from bandari.web.docs_page.schemas import definition, type_name
from bandari.web.openapi.json_values import JsonObject
from bandari.web.openapi.operation import HEADERS_EXTENSION, STREAM_EXTENSION

Examples = Mapping[str, JsonObject]

_METHODS: Final = ("get", "post", "put", "patch", "delete")


class Described(Struct, frozen=True):
    """An operation, and all paths under which it is the same."""

    method: str
    paths: tuple[str, ...]
    fields: JsonObject

    @property
    def anchor(self) -> str:
        return str(self.fields["operationId"])


def described(document: JsonObject) -> list[Described]:
    """The document's operations, in its order; those that differ in their path only are one."""
    found: dict[str, Described] = {}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                fields = item[method]
                same = json.dumps([method, {**fields, "operationId": None}])
                first = found.get(same)
                if first is None:
                    found[same] = Described(method, (path,), fields)
                else:
                    found[same] = Described(method, (*first.paths, path), first.fields)
    return list(found.values())


def operation_section(operation: Described, document: JsonObject) -> Html:
    """An operation by itself."""
    fields = operation.fields
    return tag(
        "article",
        tag("h3", tag("a", fields["summary"], href=f"#{operation.anchor}")),
        *(_route(operation.method, path) for path in operation.paths),
        tag("p", "Deprecated.", class_="warning") if fields.get("deprecated") else None,
        prose(fields["description"]),
        *_parameters(fields, document),
        *_body(operation, document),
        *_answers(fields, document),
        id=operation.anchor,
    )


def _route(method: str, path: str) -> Html:
    return tag(
        "p", tag("span", method.upper(), class_="method"), " ", tag("code", path), class_="route"
    )


def _parameters(fields: JsonObject, document: JsonObject) -> Iterator[Html]:
    parameters = [_resolved(each, document) for each in fields.get("parameters", ())]
    if parameters:
        yield tag("h4", "Parameters")
        yield tag("ul", *(_parameter(each) for each in parameters), class_="fields")


def _parameter(parameter: JsonObject) -> Html:
    return tag(
        "li",
        tag(
            "div",
            tag("code", parameter["name"], class_="name"),
            " ",
            tag("span", f"in the {parameter['in']}", class_="kind"),
            " ",
            tag("span", "required", class_="required") if parameter["required"] else None,
            class_="row",
        ),
        tag("p", phrase(parameter["description"])),
    )


def _body(operation: Described, document: JsonObject) -> Iterator[Html]:
    body = operation.fields.get("requestBody")
    if body is not None:
        content = body["content"]["application/json"]
        yield tag("h4", "Body")
        yield from _fields(content["schema"], document)
        yield from _examples(content.get("examples", {}), lambda example: _curl(operation, example))
    elif operation.method == "get":
        yield tag("pre", tag("code", _curl(operation, None)))


def _fields(schema: JsonObject, document: JsonObject) -> Iterator[Html]:
    """The type, and what it is made of, for those who do not want to follow the link."""
    yield tag("p", type_name(schema))
    for member in schema.get("anyOf", [schema]):
        name = type_name(member)
        inside = definition(_resolved(member, document), document["components"]["schemas"])
        yield tag("details", tag("summary", "Fields of ", name), inside)


def _answers(fields: JsonObject, document: JsonObject) -> Iterator[Html]:
    """Good answers at length, errors as a list."""
    errors = []
    for status, answer in fields["responses"].items():
        if "$ref" in answer:
            errors.append((status, _resolved(answer, document)))
        else:
            yield tag("h4", f"Answer {status}")
            yield from _answer(answer, document)
    if errors:
        kinds = sorted({type_name(_json_schema(answer)) for _, answer in errors})
        statuses = ", ".join(status for status, _ in errors)
        yield tag("h4", "Errors")
        yield tag("p", "As ", *kinds, ".")
        yield tag(
            "details",
            tag("summary", statuses),
            _listed((status, answer["description"]) for status, answer in errors),
        )


def _answer(answer: JsonObject, document: JsonObject) -> Iterator[Html]:
    yield prose(answer["description"])
    for media_type, content in answer["content"].items():
        words: list[str | None] = [tag("code", media_type), ": "]
        stream = content.get(STREAM_EXTENSION)
        if stream is None:
            yield tag("p", *words, type_name(content["schema"]))
        else:
            yield tag("p", *words, *_stream_words(content["schema"], stream))
        yield from _examples(content.get("examples", {}), _pretty_value)
        if stream is not None and "example" in stream:
            yield tag("details", tag("summary", "Example: a stream"), _pre(stream["example"]))
    headers = answer.get("headers", {})
    if headers:
        described = ((name, _resolved(each, document)) for name, each in headers.items())
        yield tag(
            "details",
            tag("summary", "Headers"),
            _listed((name, header["description"]) for name, header in described),
        )


def _stream_words(schema: JsonObject, stream: JsonObject) -> Iterator[str]:
    yield "each event is " if stream["schemaOf"] == "event" else "the data of each event is "
    yield type_name(schema)
    if "error" in stream:
        yield ", or, at the end of one that fails, "
        yield type_name(stream["error"])
    yield "; the end is "
    yield phrase(stream["endsWith"])
    yield "."


def _listed(entries: Iterable[tuple[str, str]]) -> Html:
    """Names, and what is said of them."""
    return tag(
        "ul",
        *(
            tag(
                "li",
                tag("div", tag("code", name, class_="name"), class_="row"),
                tag("p", phrase(description)),
            )
            for name, description in entries
        ),
        class_="fields",
    )


def _examples(examples: Examples, shown: Callable[[JsonObject], str]) -> Iterator[Html]:
    for number, example in enumerate(examples.values()):
        summary = tag("summary", "Example: ", phrase(example["summary"]))
        yield tag("details", summary, _pre(shown(example)), open=None if number else "")


def _curl(operation: Described, example: JsonObject | None) -> str:
    """A line for a shell in which the page's first section has set the variables."""
    words = ["curl"]
    if example is not None and example["value"].get("stream"):
        words.append("-N")
    if operation.method not in ("get", "post"):
        words.append(f"-X {operation.method.upper()}")
    words.append(f'"$BANDARI_URL{operation.paths[0]}"')
    security = operation.fields.get("security")
    if security != []:
        variable = "BANDARI_ADMIN_KEY" if security else "BANDARI_API_KEY"
        words.append(f'-H "Authorization: Bearer ${variable}"')
    if example is None:
        return " ".join(words)
    for name, value in example.get(HEADERS_EXTENSION, {}).items():
        words.append(f'-H "{name}: {value}"')
    body = _pretty(example["value"]).replace("'", "'\\''")
    return " ".join(words) + f" -d '{body}'"


def _pretty_value(example: JsonObject) -> str:
    return _pretty(example["value"])


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _pre(text: str) -> Html:
    return tag("pre", tag("code", text))


def _json_schema(answer: JsonObject) -> JsonObject:
    schema: JsonObject = answer["content"]["application/json"]["schema"]
    return schema


def _resolved(value: JsonObject, document: JsonObject) -> JsonObject:
    """What a reference into the document refers to; else the value itself."""
    reference = value.get("$ref")
    if reference is None:
        return value
    found: Any = document
    for segment in reference.removeprefix("#/").split("/"):
        found = found[segment]
    resolved: JsonObject = found
    return resolved
