"""Bodies that say the same have one digest, and others have none in common."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.wire.canonical import digest_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize(
    "same",
    [
        b'{"a":1,"b":{"c":[1,2],"d":null}}',
        b'{ "b" : {"d":null, "c":[1, 2]},\r\n\t"a":1}  ',
        b'\xef\xbb\xbf{"a":1,"b":{"c":[1,2],"d":null}}',
        b'{"\\u0061":1,"b":{"c":[1,2],"d":null}}',
    ],
)
def test_order_white_space_and_spelling_do_not_matter(same):
    assert digest_of(same) == digest_of(b'{"a":1,"b":{"c":[1,2],"d":null}}')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"a":1}', b'{"a":2}'),
        (b'{"a":1}', b'{"b":1}'),
        (b'{"a":[1,2]}', b'{"a":[2,1]}'),
        (b'{"a":null}', b"{}"),
        (b'{"a":1}', b'{"a":"1"}'),
        (b'{"a":true}', b'{"a":1}'),
        (b'{"a":""}', b'{"a":" "}'),
        (b'{"a":{"b":1},"c":2}', b'{"a":{"b":1,"c":2}}'),
        (b"[]", b"{}"),
    ],
)
def test_what_says_something_else_is_something_else(one, other):
    assert digest_of(one) != digest_of(other)


def test_of_two_with_the_same_name_the_last_counts_as_it_does_for_who_reads_it():
    assert digest_of(b'{"a":1,"a":2}') == digest_of(b'{"a":2}')


@given(JSON)
def test_however_it_is_spelled(value):
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
        errors="surrogatepass"
    )
    spread = json.dumps(value, ensure_ascii=True, indent=3).encode()
    assert digest_of(compact) == digest_of(spread)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b'{"a":',
        b'{"a":"\xff"}',
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"a":"\\ud800"}',
    ],
)
def test_what_cannot_be_read_is_its_own_form(body):
    assert digest_of(body) == hashlib.sha256(body).digest()
    assert digest_of(body) != digest_of(body + b" ")


def test_a_digest_is_32_bytes():
    assert len(digest_of(b"{}")) == len(digest_of(b"x")) == 32
