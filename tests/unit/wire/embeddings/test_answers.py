"""Embeddings answers: what an upstream may say, and what a client is told."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.embeddings.steps import counted, whole

from bandari.domain.embeddings import Embeddings, EncodingFormat
from bandari.domain.faults import (
    ContextLengthExceeded,
    UpstreamFault,
    UpstreamInvalidRequest,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamRefused,
)
from bandari.domain.usage import Usage
from bandari.wire.embeddings.decode_answer import decode_answer
from bandari.wire.embeddings.encode_answer import encode_answer
from bandari.wire.embeddings.errors import read_error

FLOAT, BASE64 = EncodingFormat.FLOAT, EncodingFormat.BASE64
USAGE = Usage(input_tokens=5)


def packed(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def spelled(*numbers: float) -> str:
    return base64.b64encode(packed(*numbers)).decode()


def entries(*embeddings: object) -> list[dict[str, Any]]:
    return [
        {"object": "embedding", "index": index, "embedding": embedding}
        for index, embedding in enumerate(embeddings)
    ]


def answer(data: object, **fields: Any) -> bytes:
    return json.dumps({"object": "list", "data": data, **fields}).encode()


def read(body: bytes, inputs: int = 1, dimensions: int | None = None) -> Embeddings:
    return whole(decode_answer(body, inputs=inputs, dimensions=dimensions))


def malformed(body: bytes, inputs: int = 1, dimensions: int | None = None) -> str:
    with pytest.raises(UpstreamMalformed) as raised:
        read(body, inputs, dimensions)
    return raised.value.message


# -- read -----------------------------------------------------------------------------------------


def test_vectors_come_as_numbers_or_as_base64() -> None:
    assert read(answer(entries([0.5, -2, 3]))).vectors == (packed(0.5, -2, 3),)
    assert read(answer(entries(spelled(0.5, -2, 3)))).vectors == (packed(0.5, -2, 3),)
    mixed = read(answer(entries([1.0], spelled(2.0))), inputs=2)
    assert mixed.vectors == (packed(1), packed(2))


def test_vectors_belong_to_the_inputs_by_their_index() -> None:
    first, second, third = entries([1.0], [2.0], [3.0])
    given = read(answer([third, first, second]), inputs=3)
    assert given.vectors == (packed(1), packed(2), packed(3))


def test_without_an_index_the_order_counts() -> None:
    data = [{"embedding": [1.0]}, {"embedding": [2.0], "index": None}]
    assert read(answer(data), inputs=2).vectors == (packed(1), packed(2))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 7, "total_tokens": 7}, 7),
        ({"prompt_tokens": 7}, 7),
        ({"total_tokens": 9}, 9),
        ({"prompt_tokens": None, "total_tokens": 9}, 9),
        ({"prompt_tokens": 0, "total_tokens": 0}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_usage_is_what_was_reported(usage: object, tokens: int | None) -> None:
    expected = None if tokens is None else Usage(input_tokens=tokens)
    assert read(answer(entries([1.0]), usage=usage)).usage == expected


def test_without_usage_nothing_was_reported() -> None:
    assert read(answer(entries([1.0]))).usage is None


@pytest.mark.parametrize(
    ("data", "inputs"),
    [
        (entries([1.0]), 2),
        (entries([1.0], [2.0]), 1),
        ([], 1),
        ([{"index": 1, "embedding": [1.0]}], 1),
        ([{"index": -1, "embedding": [1.0]}], 1),
        ([{"index": 0, "embedding": [1.0]}] * 2, 2),
        ([{"index": 1, "embedding": [1.0]}, {"embedding": [2.0]}], 2),
    ],
)
def test_each_input_has_one_vector(data: object, inputs: int) -> None:
    assert "do not belong" in malformed(answer(data), inputs)


@pytest.mark.parametrize(
    "data", [entries([1.0], [1.0, 2.0]), entries([], []), entries("", ""), entries([1.0], "")]
)
def test_all_vectors_have_one_length(data: object) -> None:
    assert "different lengths, or empty" in malformed(answer(data), inputs=2)


def test_vectors_have_the_length_that_was_asked_for() -> None:
    body = answer(entries([1.0, 2.0, 3.0]))
    assert read(body, dimensions=3).vectors == (packed(1, 2, 3),)
    assert malformed(body, dimensions=2) == (
        "The model's provider sent vectors of 3 numbers; 2 were asked for."
    )


NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    "embedding",
    [
        spelled(1.0, NAN),
        spelled(INFINITY),
        spelled(INFINITY, -INFINITY),
        spelled(-INFINITY, 1.0),
        [1e39],
        [1.0, -1e39, 1e39],
    ],
)
def test_every_number_is_finite(embedding: object) -> None:
    assert "not finite" in malformed(answer(entries(embedding)))


def test_the_largest_numbers_are_finite() -> None:
    largest = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
    body = answer(entries(spelled(*[largest] * 1000)))
    assert read(body).vectors == (packed(*[largest] * 1000),)


@pytest.mark.parametrize(
    "embedding",
    ["AAAA", "AAAAA", "AAA", "####", "AAAAAA==\n", "é", ["x"], [None], [[1.0]], 7, None, {}],
)
def test_a_vector_that_cannot_be_read_is_malformed(embedding: object) -> None:
    malformed(answer(entries(embedding)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"data":7}',
        b'{"data":[{"index":0}]}',
        b'{"data":[{"index":"0","embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":[1e999]}]}',
        b'{"data":[{"index":0,"embedding":[NaN]}]}',
        b'{"data":[{"index":0,"embedding":"\\ud800"}]}',
        b'{"data":[{"index":0,"embedding":' + b"[" * 9999,
        b'{"data":[{"index":0,"embedding":' + b"[" * 9999 + b"]" * 9999 + b"}]}",
        b'{"data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":-1}}',
        b'{"data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":1000000001}}',
        b'{"data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":1.5}}',
    ],
)
def test_a_body_that_cannot_be_read_is_malformed(body: bytes) -> None:
    malformed(body)


@given(st.binary(max_size=100))
def test_any_bytes_are_malformed_and_never_break(body: bytes) -> None:
    malformed(body)


def test_an_error_with_status_200_is_an_error() -> None:
    with pytest.raises(UpstreamOverloaded):
        read(b'{"error":{"code":429,"message":"slow down"}}')
    assert read(answer(entries([1.0]), error=None)).vectors == (packed(1),)


def test_a_long_answer_is_read_in_steps() -> None:
    vector = [0.25] * 10_000
    body = answer(entries(*[vector] * 20))
    given, pauses = counted(decode_answer(body, inputs=20))
    assert given.vectors == (packed(*vector),) * 20
    assert 5 < pauses < 15
    assert counted(decode_answer(answer(entries([1.0])), inputs=1))[1] == 0


# -- written --------------------------------------------------------------------------------------


def test_an_answer_byte_for_byte() -> None:
    given = Embeddings((packed(0.5, -2), packed(1, 0)))
    assert whole(encode_answer(given, USAGE, "nomic", FLOAT)) == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":[0.5,-2.0]},'
        b'{"object":"embedding","index":1,"embedding":[1.0,0.0]}],'
        b'"model":"nomic","usage":{"prompt_tokens":5,"total_tokens":5}}'
    )
    assert whole(encode_answer(given, USAGE, 'a"b', BASE64)) == (
        b'{"object":"list","data":['
        b'{"object":"embedding","index":0,"embedding":"AAAAPwAAAMA="},'
        b'{"object":"embedding","index":1,"embedding":"AACAPwAAAAA="}],'
        b'"model":"a\\"b","usage":{"prompt_tokens":5,"total_tokens":5}}'
    )


def test_a_long_answer_is_spelled_in_steps() -> None:
    given = Embeddings((packed(*[0.5] * 10_000),) * 20)
    body, pauses = counted(encode_answer(given, USAGE, "m", FLOAT))
    assert len(json.loads(body)["data"]) == 20
    assert 5 < pauses < 15
    assert counted(encode_answer(Embeddings((packed(1),)), USAGE, "m", FLOAT))[1] == 0


vectors = st.integers(1, 4).flatmap(
    lambda length: st.lists(
        st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            min_size=length,
            max_size=length,
        ),
        min_size=1,
        max_size=3,
    )
)


@given(vectors, st.sampled_from(EncodingFormat))
def test_what_is_written_is_read_as_the_same_to_the_last_bit(
    numbers: Sequence[Sequence[float]], encoding_format: EncodingFormat
) -> None:
    given = Embeddings(tuple(packed(*each) for each in numbers), USAGE)
    body = whole(encode_answer(given, USAGE, "m", encoding_format))
    assert read(body, inputs=len(numbers), dimensions=len(numbers[0])) == given


# -- refusals -------------------------------------------------------------------------------------


def test_an_input_that_does_not_fit_is_the_callers_whoever_says_so() -> None:
    llama_cpp = (
        b'{"error":{"code":500,"message":"input (601 tokens) is too large to process. increase the '
        b'physical batch size (current batch size: 600)","type":"server_error"}}'
    )
    fault = read_error(500, llama_cpp)
    assert isinstance(fault, ContextLengthExceeded)
    assert fault.param == "input"
    assert "601 tokens" in fault.message
    window = (
        b'{"error":{"code":400,"type":"exceed_context_size_error","message":"x",'
        b'"n_prompt_tokens":601,"n_ctx":600}}'
    )
    fault = read_error(400, window)
    assert isinstance(fault, ContextLengthExceeded)
    assert fault.param == "input"
    assert fault.message == "The prompt has 601 tokens; the model's context window holds 600."


def test_other_refusals_are_those_of_chat_completions() -> None:
    assert isinstance(read_error(401, b"{}"), UpstreamRefused)
    assert isinstance(read_error(500, b"{}"), UpstreamFault)
    fault = read_error(400, b'{"error":{"message":"no such format"}}')
    assert isinstance(fault, UpstreamInvalidRequest)
    assert fault.message == "no such format"
    overloaded = read_error(429, b"{}", 1500)
    assert isinstance(overloaded, UpstreamOverloaded)
    assert overloaded.retry_after_ms == 1500
