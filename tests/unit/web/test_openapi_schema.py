"""From types to JSON schemas."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from msgspec import Meta

from bandari.web.openapi.schema import Named, Schemas


class Leaf(TypedDict):
    """A leaf.

    It is green.
    """

    type: Literal["leaf"]
    size: Annotated[int, Meta(ge=0), "In millimetres."]


class Twig(TypedDict):
    type: Literal["twig", "branch"]
    leaves: NotRequired[list[Leaf]]
    parent: Twig | None


class Other(TypedDict):
    type: Literal["leaf"]


class Loose(TypedDict, total=False):
    type: Literal["loose"]


class Tight(Loose):
    name: str


class Optional(TypedDict):
    type: NotRequired[Literal["optional"]]


Wood = Annotated[Leaf | Twig, Named("Wood", "Of a tree.")]

LEAF = {"$ref": "#/components/schemas/Leaf"}
TWIG = {"$ref": "#/components/schemas/Twig"}


@pytest.mark.parametrize(
    ("shape", "schema"),
    [
        (str, {"type": "string"}),
        (float, {"type": "number"}),
        (None, {"type": "null"}),
        (Any, {}),
        (str | None, {"type": ["string", "null"]}),
        (str | int, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        (
            str | int | None,
            {"anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]},
        ),
        (Literal["a"], {"type": "string", "const": "a"}),
        (Literal["a"] | None, {"type": ["string", "null"], "enum": ["a", None]}),
        (Literal["a", "b"] | None, {"type": ["string", "null"], "enum": ["a", "b", None]}),
        (Literal[False], {"type": "boolean", "const": False}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[str, Any], {"type": "object", "additionalProperties": True}),
        (
            Annotated[float | None, Meta(ge=0, le=2), "How hot."],
            {"type": ["number", "null"], "minimum": 0, "maximum": 2, "description": "How hot."},
        ),
        (
            Annotated[str, Meta(min_length=1, max_length=9, pattern="^a")],
            {"type": "string", "minLength": 1, "maxLength": 9, "pattern": "^a"},
        ),
        (
            Annotated[list[str] | None, Meta(min_length=1)],
            {"type": ["array", "null"], "items": {"type": "string"}, "minItems": 1},
        ),
        (Leaf | None, {"anyOf": [LEAF, {"type": "null"}]}),
        (Annotated[Leaf, "A green one."], LEAF | {"description": "A green one."}),
    ],
    ids=str,
)
def test_a_type(shape, schema):
    assert Schemas().of(shape if shape is not None else type(None)) == schema


def test_an_object_is_a_component_with_its_text_and_its_required_fields_first():
    schemas = Schemas()
    assert schemas.of(Twig) == TWIG
    assert schemas.components["Leaf"] == {
        "type": "object",
        "description": "A leaf.\n\nIt is green.",
        "properties": {
            "type": {"type": "string", "const": "leaf"},
            "size": {"type": "integer", "minimum": 0, "description": "In millimetres."},
        },
        "required": ["type", "size"],
    }
    twig = schemas.components["Twig"]
    assert list(twig["properties"]) == ["type", "parent", "leaves"]
    assert twig["required"] == ["type", "parent"]
    assert twig["properties"]["parent"] == {"anyOf": [TWIG, {"type": "null"}]}


def test_what_is_inherited_is_required_as_it_was():
    schemas = Schemas()
    schemas.of(Tight)
    assert schemas.components["Tight"]["required"] == ["name"]


def test_a_union_is_told_apart_by_the_field_that_all_its_members_have():
    schemas = Schemas()
    assert schemas.of(Wood) == {"$ref": "#/components/schemas/Wood"}
    assert schemas.components["Wood"] == {
        "oneOf": [LEAF, TWIG],
        "discriminator": {
            "propertyName": "type",
            "mapping": {
                "leaf": LEAF["$ref"],
                "twig": TWIG["$ref"],
                "branch": TWIG["$ref"],
            },
        },
        "description": "Of a tree.",
    }


@pytest.mark.parametrize("other", [Optional, Tight, Other, str], ids=str)
def test_a_union_is_not_told_apart_by_what_may_be_absent_or_the_same(other):
    assert "discriminator" not in Schemas().of(Leaf | other)


def test_one_name_is_one_type():
    schemas = Schemas()
    schemas.of(Wood)
    schemas.of(Wood)
    with pytest.raises(AssertionError, match="Wood"):
        schemas.of(Annotated[Leaf | None, Named("Wood", "Another.")])
