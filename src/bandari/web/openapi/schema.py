"""From types to JSON Schema (2020-12), the dialect of OpenAPI 3.1.

A ``TypedDict`` is a component; ``Annotated`` adds bounds (``msgspec.Meta``), a description (a
string), or a name for a union (``Named``). A union whose members all have one field with a literal
value of their own is told apart by that field.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from msgspec import Meta, Struct

from bandari.web.openapi.json_values import JsonObject

Shape = Any
"""What ``Schemas.of`` takes: a type, in the forms that the rules above name."""

REFERENCE: Final = "#/components/schemas/"

_PLAIN: Final[Mapping[Shape, JsonObject]] = {
    Any: {},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
}
_TYPE_OF_VALUE: Final = {str: "string", bool: "boolean", int: "integer"}
_BOUNDS: Final = (
    ("ge", "minimum"),
    ("le", "maximum"),
    ("pattern", "pattern"),
)
_SIZES: Final = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}


class Named(Struct, frozen=True):
    """The name under which a union is a component: ``Annotated[A | B, Named("AOrB", "…")]``."""

    name: str
    description: str


class Schemas:
    """``components`` grows with every type that is asked for, and with those it is made of."""

    def __init__(self) -> None:
        self.components: dict[str, JsonObject] = {}
        self._shapes: dict[str, Shape] = {}

    def of(self, shape: Shape) -> JsonObject:
        """The schema of a type; a reference where the type is a component."""
        origin: Any = get_origin(shape)
        if origin is Annotated:
            return self._annotated(get_args(shape)[0], shape.__metadata__)
        if is_typeddict(shape):
            return self._component(shape.__name__, shape, shape)
        if origin in (Union, UnionType):
            return self._union(get_args(shape))
        if origin is Literal:
            return _literal(get_args(shape))
        if origin is list:
            return {"type": "array", "items": self.of(get_args(shape)[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(get_args(shape)[1]) or True}
        return dict(_PLAIN[shape])

    def _component(self, name: str, key: Shape, shape: Shape) -> JsonObject:
        reference = {"$ref": REFERENCE + name}
        known = self._shapes.get(name)
        if known is not None:
            assert known == key, f"two types have the name {name}"
            return reference
        self._shapes[name] = key
        self.components[name] = {}  # its place, before those that it is made of
        self.components[name] = self._object(shape) if is_typeddict(shape) else self.of(shape)
        return reference

    def _object(self, shape: Shape) -> JsonObject:
        properties: dict[str, JsonObject] = {}
        required = []
        for name, hint in get_type_hints(shape, include_extras=True).items():
            if get_origin(hint) is NotRequired:
                properties[name] = self.of(get_args(hint)[0])
            else:
                properties[name] = self.of(hint)
                if name in shape.__required_keys__:
                    required.append(name)
        ordered = sorted(properties, key=lambda name: name not in required)
        schema: JsonObject = {"type": "object"}
        if shape.__doc__:
            schema["description"] = inspect.cleandoc(shape.__doc__)
        schema["properties"] = {name: properties[name] for name in ordered}
        if required:
            schema["required"] = required
        return schema

    def _annotated(self, shape: Shape, notes: Iterable[object]) -> JsonObject:
        schema = self.of(shape)
        for note in notes:
            if isinstance(note, Named):
                key = (note.name, shape)
                reference = self._component(note.name, key, shape)
                self.components[note.name].setdefault("description", note.description)
                schema = reference
            elif isinstance(note, Meta):
                schema |= _bounds(note, schema)
            else:
                schema["description"] = str(note)
        return schema

    def _union(self, members: tuple[Shape, ...]) -> JsonObject:
        values = [member for member in members if member is not NoneType]
        if len(values) == 1:
            schema = self.of(values[0])
        else:
            alternatives = [self.of(value) for value in values]
            tags = _tags(values)
            if tags is None:
                schema = {"anyOf": alternatives}
            else:
                field, classes = tags
                mapping = {tag: self.of(shape)["$ref"] for tag, shape in classes.items()}
                schema = {
                    "oneOf": alternatives,
                    "discriminator": {"propertyName": field, "mapping": mapping},
                }
        return _nullable(schema) if len(values) < len(members) else schema


def _nullable(schema: JsonObject) -> JsonObject:
    """The same, or null."""
    kind = schema.get("type")
    if kind is None:
        if "anyOf" in schema:
            return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
        return {"anyOf": [schema, {"type": "null"}]}
    if "const" in schema:
        return {"type": [kind, "null"], "enum": [schema["const"], None]}
    nullable = {**schema, "type": [kind, "null"]}
    if "enum" in schema:
        nullable["enum"] = [*schema["enum"], None]
    return nullable


def _literal(values: tuple[Any, ...]) -> JsonObject:
    kind = _TYPE_OF_VALUE[type(values[0])]
    if len(values) == 1:
        return {"type": kind, "const": values[0]}
    return {"type": kind, "enum": list(values)}


def _bounds(meta: Meta, schema: JsonObject) -> JsonObject:
    bounds: JsonObject = {}
    for name, keyword in _BOUNDS:
        value = getattr(meta, name)
        if value is not None:
            bounds[keyword] = value
    if meta.min_length is not None or meta.max_length is not None:
        kind = schema["type"]
        least, most = _SIZES[kind if isinstance(kind, str) else kind[0]]
        if meta.min_length is not None:
            bounds[least] = meta.min_length
        if meta.max_length is not None:
            bounds[most] = meta.max_length
    return bounds


def _tags(shapes: list[Shape]) -> tuple[str, dict[str, Shape]] | None:
    """The field by which these are told apart, and which of them each of its values stands for."""
    if not all(is_typeddict(shape) for shape in shapes):
        return None
    literals = [_literals(shape) for shape in shapes]
    for field in literals[0]:
        if all(field in each for each in literals):
            tags: dict[str, Shape] = {}
            for each, shape in zip(literals, shapes, strict=True):
                tags |= dict.fromkeys(each[field], shape)
            if len(tags) == sum(len(each[field]) for each in literals):
                return field, tags
    return None


def _literals(shape: Shape) -> dict[str, tuple[str, ...]]:
    """An object's required fields that can only have values from a list of strings."""
    found = {}
    for name, hint in get_type_hints(shape, include_extras=True).items():
        value = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if get_origin(value) is Literal and name in shape.__required_keys__:
            values = get_args(value)
            if all(isinstance(each, str) for each in values):
                found[name] = values
    return found
