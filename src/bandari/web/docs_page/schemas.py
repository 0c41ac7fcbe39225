"""Schemas for people: a type in a few words, and an object's fields as a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from bandari.domain.bounds import MAX_INTEGER
from bandari.web.docs_page.markup import Html, joined, phrase, prose, tag
from bandari.web.openapi.json_values import JsonObject
from bandari.web.openapi.schema import REFERENCE

Types = Mapping[str, JsonObject]
"""The components of a document."""

MAX_VALUES: Final = 12
"""Of an enumeration that is written out within a line."""


def type_anchor(name: str) -> str:
    """Where on the page the component is."""
    return f"type-{name}"


def type_section(name: str, types: Types) -> Html:
    """A component by itself."""
    return tag(
        "section",
        tag("h3", tag("a", name, href=f"#{type_anchor(name)}")),
        definition(types[name], types),
        id=type_anchor(name),
        class_="type",
    )


def definition(schema: JsonObject, types: Types) -> Html:
    """What a component is: its description, and its fields or what it is one of."""
    text = schema.get("description")
    return joined((prose(text) if text else None, _inside(schema, types)))


def type_name(schema: JsonObject) -> Html:
    """A type in a few words, with links to those that it names."""
    return joined(_either(list(_alternatives(schema))))


def _inside(schema: JsonObject, types: Types) -> Html:
    if "properties" in schema:
        required = schema.get("required", ())
        return tag(
            "ul",
            *(_field(name, each, name in required) for name, each in schema["properties"].items()),
            class_="fields",
        )
    if "oneOf" in schema:
        return _told_apart(schema, types)
    return tag("p", type_name(schema))


def _told_apart(schema: JsonObject, types: Types) -> Html:
    """A union whose members have different values of one field."""
    field = schema["discriminator"]["propertyName"]
    rows = (
        tag(
            "li",
            tag("div", tag("code", value, class_="name"), " ", _link(reference), class_="row"),
            tag("p", phrase(types[_name(reference)]["description"])),
        )
        for value, reference in schema["discriminator"]["mapping"].items()
    )
    return joined((tag("p", "By its ", tag("code", field), ":"), tag("ul", *rows, class_="fields")))


def _field(name: str, schema: JsonObject, is_required: bool) -> Html:
    notes = list(_bounds(schema))
    return tag(
        "li",
        tag(
            "div",
            tag("code", name, class_="name"),
            " ",
            tag("span", type_name(schema), class_="kind"),
            " ",
            tag("span", "required", class_="required") if is_required else None,
            class_="row",
        ),
        tag("p", phrase(schema["description"])) if "description" in schema else None,
        tag("p", "; ".join(notes), class_="bounds") if notes else None,
    )


def _alternatives(schema: JsonObject) -> Iterator[Html]:
    if "$ref" in schema:
        yield _link(schema["$ref"])
        return
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            for member in schema[keyword]:
                yield from _alternatives(member)
            return
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if "const" in schema:
        yield _value(schema["const"])
        return
    if "enum" in schema:
        values = schema["enum"]
        yield from (_value(value) for value in values[:MAX_VALUES])
        if len(values) > MAX_VALUES:
            yield Html("…")
        return
    for kind in kinds:
        yield _kind(kind, schema)


def _kind(kind: str, schema: JsonObject) -> Html:
    if kind == "array":
        members = list(_alternatives(schema["items"]))
        inner = joined(_either(members))
        return joined(("list of ", inner) if len(members) == 1 else ("list of (", inner, ")"))
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return joined(("object of ", type_name(schema["additionalProperties"])))
    return Html(kind)


def _bounds(schema: JsonObject) -> Iterator[str]:
    least, most = schema.get("minimum"), schema.get("maximum")
    yield from _range(
        None if least == -MAX_INTEGER else least, None if most == MAX_INTEGER else most, ""
    )
    yield from _range(schema.get("minLength"), schema.get("maxLength"), " characters")
    yield from _range(schema.get("minItems"), schema.get("maxItems"), " of them")
    if "pattern" in schema:
        yield f"matches {schema['pattern']}"


def _range(least: float | None, most: float | None, unit: str) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"{_number(least)} to {_number(most)}{unit}"
    elif least is not None:
        yield f"{_number(least)} or more{unit}"
    elif most is not None:
        yield f"at most {_number(most)}{unit}"


def _number(value: float) -> str:
    return f"{value:,}".replace("-", "−")


def _either(members: list[Html]) -> Iterator[Html]:
    for index, member in enumerate(members):
        if index:
            yield tag("span", " or ", class_="or")
        yield member


def _link(reference: str) -> Html:
    name = _name(reference)
    return tag("a", name, href=f"#{type_anchor(name)}")


def _name(reference: str) -> str:
    return reference.removeprefix(REFERENCE)


def _value(value: Any) -> Html:
    if value is None:
        return Html("null")
    return tag("code", f'"{value}"' if isinstance(value, str) else str(value).lower())
