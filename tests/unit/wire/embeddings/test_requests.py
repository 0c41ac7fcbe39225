"""Requests for embeddings: what is accepted, what is refused, and what is asked upstream."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from bandari.domain.embeddings import MAX_INPUTS, EmbeddingsRequest, EncodingFormat
from bandari.domain.faults import CallerFault, InvalidJson, InvalidValue, MissingField
from bandari.wire.dialect import Dialect
from bandari.wire.embeddings import PROTOCOL
from bandari.wire.embeddings.decode_request import MAX_TOKEN_ID, decode_request
from bandari.wire.embeddings.encode_request import encode_request
from bandari.wire.embeddings.fields import CARRIED, ignored_fields

PLAIN = Dialect()


def body(given: object = "hi", **fields: Any) -> bytes:
    wanted = {"model": "m", "input": given, **fields}
    return json.dumps({name: value for name, value in wanted.items() if value is not ...}).encode()


def refusal(data: bytes) -> CallerFault:
    with pytest.raises(CallerFault) as raised:
        decode_request(data)
    return raised.value


def asked(request: EmbeddingsRequest, dialect: Dialect = PLAIN) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode_request(request, "upstream-m", dialect))
    return read


# -- what is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("hi", ("hi",)),
        (["hi"], ("hi",)),
        (["hi", "ho"], ("hi", "ho")),
        ([1, 2, 3], ((1, 2, 3),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        ([0, MAX_TOKEN_ID], ((0, MAX_TOKEN_ID),)),
        (" ", (" ",)),
        (["x"] * MAX_INPUTS, ("x",) * MAX_INPUTS),
        (list(range(MAX_INPUTS + 1)), (tuple(range(MAX_INPUTS + 1)),)),
    ],
)
def test_texts_and_tokens_alone_and_in_lists(given: object, inputs: tuple[object, ...]) -> None:
    assert decode_request(body(given)).inputs == inputs


def test_what_is_not_said_has_its_default() -> None:
    request = decode_request(body())
    assert request.model == "m"
    assert request.encoding_format is EncodingFormat.FLOAT
    assert (request.dimensions, request.user) == (None, None)
    assert decode_request(body(dimensions=None, encoding_format=None, user=None)) == replace(
        request,
        original=decode_request(body(dimensions=None, encoding_format=None, user=None)).original,
    )


def test_everything_that_can_be_said() -> None:
    request = decode_request(body(dimensions=256, encoding_format="base64", user="amina"))
    assert request.dimensions == 256
    assert request.encoding_format is EncodingFormat.BASE64
    assert request.user == "amina"


def test_the_size_is_that_of_the_texts_in_utf_8() -> None:
    assert decode_request(body(["ab", "é🦁"])).input_bytes == 2 + 2 + 4
    assert decode_request(body([[1, 2], [3]])).input_bytes == 0


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "param", "message"),
    [
        ("", "input", "'input' must not be empty."),
        ([], "input", "'input' must not be empty."),
        (["a", ""], "input[1]", "'input[1]' must not be empty."),
        ([[1], []], "input[1]", "'input[1]' must not be empty."),
        ([[]], "input[0]", "'input[0]' must not be empty."),
        (7, "input", "'input' must be a string or an array, and is an integer."),
        (
            ["a", 7],
            "input[1]",
            "'input[1]' must be a string, as 'input[0]' is: an input may not mix texts and tokens.",
        ),
        ([7, "a"], "input[1]", "'input[1]' must be a token, as 'input[0]' is"),
        ([[7], "a"], "input[1]", "'input[1]' must be an array of tokens, as 'input[0]' is"),
        ([7, [7]], "input[1]", "'input[1]' must be a token, as 'input[0]' is"),
        (["a", None], "input[1]", "'input[1]' must be an integer or a string or an array"),
        ([1, -1], "input[1]", "'input[1]' must be at least 0."),
        ([[1, -1]], "input[0][1]", "'input[0][1]' must be at least 0."),
        ([MAX_TOKEN_ID + 1], "input[0]", f"'input[0]' must be at most {MAX_TOKEN_ID}."),
        ([1.5], "input[0]", "'input[0]' must be an integer or a string or an array, and is a"),
        (True, "input", "'input' must be a string or an array, and is a boolean."),
        ([[["a"]]], "input[0][0]", "'input[0][0]' must be an integer, and is an array."),
        (
            ["x"] * (MAX_INPUTS + 1),
            "input",
            "'input' may hold at most 2048 inputs, and holds 2049.",
        ),
        (
            [[1]] * (MAX_INPUTS + 1),
            "input",
            "'input' may hold at most 2048 inputs, and holds 2049.",
        ),
    ],
)
def test_a_bad_input_is_refused_by_its_place(given: object, param: str, message: str) -> None:
    fault = refusal(body(given))
    assert isinstance(fault, InvalidValue)
    assert fault.param == param
    assert fault.message.startswith(message)


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"model": ""}, "model", "'model' must not be empty."),
        ({"model": "a\nb"}, "model", "'model' may not hold control characters."),
        ({"dimensions": 0}, "dimensions", "'dimensions' must be at least 1."),
        ({"dimensions": 2**53}, "dimensions", "'dimensions' must be at most 9007199254740991."),
        ({"dimensions": "8"}, "dimensions", "'dimensions' must be an integer, and is a string."),
        (
            {"encoding_format": "int8"},
            "encoding_format",
            "'encoding_format' must be one of float, base64, and is 'int8'.",
        ),
        ({"user": "x" * 513}, "user", "'user' may have at most 512 characters."),
        ({"user": "\x00"}, "user", "'user' may not hold control characters."),
    ],
)
def test_a_bad_field_is_refused_by_name(fields: dict[str, Any], param: str, message: str) -> None:
    fault = refusal(body(**fields))
    assert (fault.param, fault.message) == (param, message)


@pytest.mark.parametrize(
    ("data", "param"),
    [(body(...), "input"), (body(None), "input"), (body(model=...), "model")],
)
def test_what_is_missing_is_named(data: bytes, param: str) -> None:
    fault = refusal(data)
    assert isinstance(fault, MissingField)
    assert fault.param == param


@pytest.mark.parametrize("text", [b"", b"[]", b'{"model":"m","input":"\xff"}', b'{"input":' * 9999])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    assert isinstance(refusal(text), InvalidJson)


def test_what_cannot_be_read_is_refused_also_where_nobody_looks() -> None:
    fault = refusal(b'{"model":"m","input":"x","whatever":1e999}')
    assert fault.param == "whatever"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(CARRIED)), json_values))
def test_any_json_is_accepted_or_refused_by_name(fields: dict[str, Any]) -> None:
    data = json.dumps({"model": "m", "input": "x"} | fields).encode()
    with suppress(CallerFault):
        assert all(decode_request(data).inputs)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_never_break(data: bytes) -> None:
    refusal(data)


# -- what is asked upstream -----------------------------------------------------------------------


def test_the_clients_own_json_is_sent_on() -> None:
    data = (
        b'{"model":"m","input":[ "a" ,"\\u0062"],"dimensions":8,"user":"u","encoding_format":null}'
    )
    sent = encode_request(decode_request(data), "upstream-m", PLAIN)
    assert b'[ "a" ,"\\u0062"]' in sent
    assert json.loads(sent) == {
        "model": "upstream-m",
        "input": ["a", "b"],
        "dimensions": 8,
        "user": "u",
    }


@pytest.mark.parametrize("wanted", EncodingFormat)
def test_vectors_are_asked_for_as_the_client_wants_them(wanted: EncodingFormat) -> None:
    assert asked(decode_request(body(encoding_format=wanted)))["encoding_format"] == wanted


def test_other_fields_go_to_who_names_them_and_are_listed_elsewhere() -> None:
    request = decode_request(body(truncate="END", input_type="query", nothing=None))
    assert ignored_fields(request, PLAIN) == ("input_type", "truncate")
    assert asked(request).keys() == {"model", "input"}
    named = Dialect(extra_fields=frozenset({"truncate", "top_k"}))
    assert ignored_fields(request, named) == ("input_type",)
    assert asked(request, named)["truncate"] == "END"


def test_what_every_request_to_a_provider_carries() -> None:
    dialect = Dialect(constants={"input_type": Raw(b'"passage"')})
    assert asked(decode_request(body()), dialect)["input_type"] == "passage"


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
tokens = st.lists(st.integers(0, MAX_TOKEN_ID), min_size=1, max_size=5).map(tuple)


@given(
    st.lists(texts, min_size=1, max_size=3) | st.lists(tokens, min_size=1, max_size=3),
    st.none() | st.integers(1, 2**53 - 1),
    st.sampled_from(EncodingFormat),
    st.none() | st.just("amina"),
)
def test_a_request_written_from_the_domain_is_read_as_the_same(
    inputs: list[str] | list[tuple[int, ...]],
    dimensions: int | None,
    encoding_format: EncodingFormat,
    user: str | None,
) -> None:
    size = sum(len(each.encode()) for each in inputs if isinstance(each, str))
    request = EmbeddingsRequest("m", tuple(inputs), dimensions, encoding_format, user, size)
    assert ignored_fields(request, PLAIN) == ()
    again = decode_request(encode_request(request, "m", PLAIN))
    assert again.original is not None
    assert again.original.protocol == PROTOCOL
    assert replace(again, original=None) == request
