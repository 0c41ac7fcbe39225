"""Bodies as structs, and what is said of those that are none."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from bandari.domain.faults import InvalidJson, InvalidValue, MissingField, UnsupportedField
from bandari.wire.admin.reading import read_body


class Thing(Struct, frozen=True):
    name: str
    count: Annotated[int, Meta(ge=1, le=9)] = 1
    note: str | None = None
    policy: Any = None


class Either(Struct, frozen=True):
    limits: Any


def test_what_is_said_counts_and_null_is_nothing() -> None:
    assert read_body(b'{"name":"a"}', Thing) == Thing("a")
    body = b'{"name":"a","count":null,"note":null,"policy":{"x":[1]}}'
    assert read_body(body, Thing) == Thing("a", policy={"x": [1]})
    assert read_body(b'\xef\xbb\xbf{"name":"a","name":"b"}', Thing) == Thing("b")


def test_a_required_field_of_any_kind_may_be_null() -> None:
    assert read_body(b'{"limits":null}', Either) == Either(None)


@pytest.mark.parametrize(
    ("body", "fault", "param"),
    [
        (b"{}", MissingField, "name"),
        (b'{"name":null}', MissingField, "name"),
        (b'{"name":1}', InvalidValue, "name"),
        (b'{"name":"a","count":10}', InvalidValue, "count"),
        (b'{"name":"a","count":"1"}', InvalidValue, "count"),
        (b'{"name":"a","cuont":1}', UnsupportedField, "cuont"),
        (b'{"name":"a","policy":' + b"[" * 2000 + b"]" * 2000 + b"}", InvalidJson, None),
        (b"", InvalidJson, None),
        (b"[]", InvalidJson, None),
        (b'{"name":"\xff"}', InvalidJson, None),
    ],
)
def test_what_is_wrong_is_named(body: bytes, fault: type[Exception], param: str | None) -> None:
    with pytest.raises(fault) as caught:
        read_body(body, Thing)
    assert caught.value.param == param  # type: ignore[attr-defined]


def test_the_nearest_is_named() -> None:
    with pytest.raises(UnsupportedField, match="Did you mean 'count'"):
        read_body(b'{"name":"a","cuont":1}', Thing)
    with pytest.raises(UnsupportedField, match="Known: count, name, note, policy"):
        read_body(b'{"zzzzz":1}', Thing)


def test_a_long_name_is_cut() -> None:
    with pytest.raises(UnsupportedField) as caught:
        read_body(b'{"' + b"x" * 9000 + b'":1}', Thing)
    assert len(caught.value.message) < 400
