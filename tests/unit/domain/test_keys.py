"""A mistyped or truncated key is known for one without asking the store."""

from __future__ import annotations

import hashlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain import keys

PREFIX = "bd_live_"
secrets = st.binary(min_size=keys.SECRET_BYTES, max_size=keys.SECRET_BYTES)
prefixes = st.text(string.ascii_lowercase + "_-", max_size=20)
ALPHABET = string.ascii_letters + string.digits + "-_"


def test_a_key_is_prefix_secret_and_checksum() -> None:
    key = keys.spell(PREFIX, bytes(32))
    assert key == "bd_live_" + "A" * 43 + key[-6:]
    assert len(key) == 8 + 43 + 6


@given(prefixes, secrets)
def test_every_key_is_well_formed_under_its_own_prefix(prefix: str, secret: bytes) -> None:
    key = keys.spell(prefix, secret)
    assert keys.is_well_formed(key, prefix)
    assert len(key) <= keys.MAX_KEY_CHARACTERS
    assert not keys.is_well_formed(key, prefix + "x")


@given(secrets, st.data())
def test_every_single_wrong_character_is_noticed(secret: bytes, data: st.DataObject) -> None:
    key = keys.spell(PREFIX, secret)
    position = data.draw(st.integers(0, len(key) - 1))
    wrong = data.draw(st.sampled_from(ALPHABET).filter(lambda c: c != key[position]))
    assert not keys.is_well_formed(key[:position] + wrong + key[position + 1 :], PREFIX)


def test_every_single_wrong_character_of_one_key_is_noticed() -> None:
    key = keys.spell(PREFIX, bytes(range(32)))
    for position, right in enumerate(key):
        for wrong in ALPHABET:
            if wrong != right:
                mistyped = key[:position] + wrong + key[position + 1 :]
                assert not keys.is_well_formed(mistyped, PREFIX), mistyped


@given(secrets)
def test_every_truncation_and_extension_is_noticed(secret: bytes) -> None:
    key = keys.spell(PREFIX, secret)
    for length in range(len(key)):
        assert not keys.is_well_formed(key[:length], PREFIX)
        assert not keys.is_well_formed(key[len(key) - length :], PREFIX)
    assert not keys.is_well_formed(key + "A", PREFIX)
    assert not keys.is_well_formed(key + "\n", PREFIX)
    assert not keys.is_well_formed(" " + key, PREFIX)


@given(secrets, st.integers(8, 55))
def test_neighbours_that_changed_places_are_noticed(secret: bytes, position: int) -> None:
    key = keys.spell(PREFIX, secret)
    swapped = key[:position] + key[position + 1] + key[position] + key[position + 2 :]
    assert keys.is_well_formed(swapped, PREFIX) == (swapped == key)


@given(st.text(max_size=100))
def test_any_text_can_be_asked_about(text: str) -> None:
    assert not keys.is_well_formed(text, PREFIX)
    assert not keys.is_well_formed(PREFIX + text, PREFIX)


def test_what_is_not_ascii_is_no_key() -> None:
    key = keys.spell(PREFIX, bytes(32))
    assert not keys.is_well_formed(key[:-1] + "é", PREFIX)
    assert not keys.is_well_formed(PREFIX + "\ud800" * 49, PREFIX)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_secret_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        keys.spell(PREFIX, bytes(size))


@given(secrets, secrets)
def test_different_secrets_are_different_keys(one: bytes, other: bytes) -> None:
    assert (keys.spell(PREFIX, one) == keys.spell(PREFIX, other)) == (one == other)


def test_the_store_keeps_the_sha256() -> None:
    assert keys.digest("abc") == hashlib.sha256(b"abc").digest()


def test_a_hint_shows_the_last_four_characters_only() -> None:
    key = keys.spell(PREFIX, bytes(range(32)))
    assert keys.hint(key, PREFIX) == "bd_live_…" + key[-4:]
