"""From the body of a request to a struct, with every complaint told by the name of its field.

A field that nobody knows is refused, with the nearest one that is known: what an operator says of
limits and money may not be half heard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct

from bandari.domain.accounts import Role
from bandari.domain.catalogue import nearest
from bandari.domain.faults import CallerFault, MissingField, UnsupportedField
from bandari.domain.ledger import Line
from bandari.wire.bodies import is_null, read_object, read_value
from bandari.wire.field_errors import MAX_NAME_CHARACTERS, FieldErrors

Shape = TypeVar("Shape", bound=Struct)

_ERRORS: Final = FieldErrors({"role": ", ".join(Role), "line": ", ".join(Line)})


class _Field(Struct, frozen=True):
    decoder: msgspec.json.Decoder[Any]
    is_required: bool
    may_be_null: bool


def read_body(body: bytes, shape: type[Shape]) -> Shape:
    """The struct that a body says.

    ``null`` is the same as leaving a field out, but where a required field may have it. Raises the
    ``CallerFault`` that names what is wrong.
    """
    known = _fields_of(shape)
    values: dict[str, Any] = {}
    for name, raw in read_object(body).items():
        field = known.get(name)
        if field is None:
            raise unknown(name, known)
        if field.may_be_null or not is_null(raw):
            values[name] = read_value(name, raw, field.decoder, _ERRORS)
    for name, field in known.items():
        if field.is_required and name not in values:
            raise MissingField(f"'{name}' is required.", param=name)
    return shape(**values)


def unknown(name: str, known: Iterable[str], what: str = "field") -> CallerFault:
    """The fault for a name that is none of those that are known there."""
    shown = name[:MAX_NAME_CHARACTERS]
    near = nearest(name, known, 1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(known)) or 'none'}."
    return UnsupportedField(f"There is no {what} '{shown}' here. {hint}", param=shown)


@cache
def _fields_of(shape: type[Struct]) -> Mapping[str, _Field]:
    return {
        field.name: _Field(
            msgspec.json.Decoder(field.type), field.required, field.required and field.type is Any
        )
        for field in msgspec.structs.fields(shape)
    }
