"""A body as its fields: what is read of it, and how the rest is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from bandari.domain.faults import CallerFault, InvalidJson, InvalidRequest, InvalidValue
from bandari.wire.bodies import MAX_FIELDS, is_null, read_object, read_value
from bandari.wire.field_errors import FieldErrors


def test_each_field_is_kept_as_it_was_written() -> None:
    fields = read_object(b'\xef\xbb\xbf{"a": {"b" : 1.50 } , "c":null, "a":[ ]}')
    assert {name: bytes(raw) for name, raw in fields.items()} == {"a": b"[ ]", "c": b"null"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b" \n", "The request body is empty; it must be a JSON object."),
        (b"[]", "The request body must be a JSON object, and is an array."),
        (b'{"a":"\xff"}', "The request body is not valid JSON: it is not UTF-8 (byte 6)."),
        (b'{"a":1', "The request body is not valid JSON: it ends too early, or holds half"),
        (b'{"a":' * 9999, "The request body is nested too deep."),
    ],
)
def test_what_is_no_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(InvalidJson) as caught:
        read_object(body)
    assert caught.value.message.startswith(message)


def test_too_many_fields_are_refused() -> None:
    names = [f"f{number}" for number in range(MAX_FIELDS + 1)]
    assert len(read_object(msgspec.json.encode(dict.fromkeys(names[1:])))) == MAX_FIELDS
    with pytest.raises(InvalidRequest, match="The request has 201 fields; 200 are allowed"):
        read_object(msgspec.json.encode(dict.fromkeys(names)))


@pytest.mark.parametrize(
    ("raw", "fault", "message"),
    [
        (b'"x"', InvalidValue, "'a.b' must be an integer or an array, and is a string."),
        (b"01", InvalidJson, "'a.b' is not valid JSON: "),
        (b"[" * 9999, InvalidJson, "'a.b' is nested too deep."),
    ],
)
def test_a_wrong_value_is_refused_by_the_fields_name(
    raw: bytes, fault: type[CallerFault], message: str
) -> None:
    decoder = msgspec.json.Decoder(int | list[Any])
    assert read_value("a.b", Raw(b"5"), decoder, FieldErrors()) == 5
    with pytest.raises(fault) as caught:
        read_value("a.b", Raw(raw), decoder, FieldErrors())
    assert caught.value.param == "a.b"
    assert caught.value.message.startswith(message)


def test_null_is_the_same_as_absent() -> None:
    assert is_null(Raw(b"null"))
    assert not any(is_null(Raw(raw)) for raw in (b"true", b'"null"', b"0", b"[]"))
