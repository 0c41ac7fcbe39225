"""What the decoder complains of, in the words of the person who wrote the request."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from bandari.domain.faults import InvalidJson, InvalidValue, MissingField
from bandari.wire.field_errors import FieldErrors, not_json

ERRORS = FieldErrors(allowed={"f": "a", "f[].g": "a, b"}, spellings={"f[].h": "must be one letter"})


def complaint(text: bytes, kind: object) -> msgspec.ValidationError:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(text, type=kind)
    return caught.value


class Pair(msgspec.Struct):
    left: int


class Chosen(msgspec.Struct):
    g: Literal["a", "b"] = "a"
    h: Annotated[str, Meta(pattern="^.$")] = "h"


@pytest.mark.parametrize(
    ("text", "kind", "param", "message"),
    [
        (b'"x"', int, "f", "'f' must be an integer, and is a string."),
        (b'[0,"x"]', list[int], "f[1]", "'f[1]' must be an integer, and is a string."),
        (b'{"left":null}', Pair, "f.left", "'f.left' must be an integer, and is null."),
        (b'{"a":"x"}', dict[str, int], "f", "A value in 'f' must be an integer, and is a string."),
        (b"5", Annotated[int, Meta(le=4)], "f", "'f' must be at most 4."),
        (b"5", Annotated[int, Meta(ge=6)], "f", "'f' must be at least 6."),
        (b'""', Annotated[str, Meta(min_length=1)], "f", "'f' must not be empty."),
        (b'"abc"', Annotated[str, Meta(max_length=2)], "f", "'f' may have at most 2 characters."),
    ],
)
def test_a_field_is_named_as_the_client_spells_it(
    text: bytes, kind: object, param: str, message: str
) -> None:
    fault = ERRORS.wrong_value("f", complaint(text, kind))
    assert type(fault) is InvalidValue
    assert (fault.param, fault.message) == (param, message)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b'"x"', Literal["a"], "'f' must be a, and is 'x'."),
        (b'[{},{"g":"x"}]', list[Chosen], "'f[1].g' must be one of a, b, and is 'x'."),
        (b'[{"h":"xx"}]', list[Chosen], "'f[0].h' must be one letter."),
    ],
)
def test_a_protocols_own_words_say_what_is_allowed(text: bytes, kind: object, message: str) -> None:
    assert ERRORS.wrong_value("f", complaint(text, kind)).message == message


def test_a_missing_field_is_named() -> None:
    fault = ERRORS.wrong_value("f", complaint(b"[{}]", list[Pair]))
    assert type(fault) is MissingField
    assert (fault.param, fault.message) == ("f[0].left", "'f[0].left' is required.")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b'"x"', Literal["a", "b"], "'e' is not valid: invalid enum value 'x'."),
        (
            b'"x"',
            Annotated[str, Meta(pattern="^a$")],
            "'e' is not valid: expected str matching regex '^a$'.",
        ),
        (b"7", Annotated[int, Meta(multiple_of=2)], "'e' is not valid: expected int that's a"),
    ],
)
def test_what_has_no_words_of_its_own_is_still_told(
    text: bytes, kind: object, message: str
) -> None:
    assert ERRORS.wrong_value("e", complaint(text, kind)).message.startswith(message)


def test_json_that_cannot_be_read_is_told_with_its_place() -> None:
    broken = msgspec.DecodeError("JSON is malformed: invalid character (byte 5)")
    assert not_json(broken).message == (
        "The request body is not valid JSON: invalid character (byte 5)."
    )
    fault = not_json(broken, "stop")
    assert type(fault) is InvalidJson
    assert (fault.param, fault.message) == (
        "stop",
        "'stop' is not valid JSON: invalid character (byte 5).",
    )
    assert not_json(RecursionError(), "stop").message == "'stop' is nested too deep."


def test_a_long_name_is_told_in_short() -> None:
    assert ERRORS.wrong_value("x" * 1000, complaint(b'"x"', int)).param == "x" * 100
    assert not_json(RecursionError(), "x" * 1000).param == "x" * 100
