from __future__ import annotations

import secrets

from bandari.service.identifiers import time_ordered_id


def test_an_identifier_has_26_characters_of_crockfords_alphabet():
    made = time_ordered_id(1_700_000_000_000, lambda count: b"\xff" * count)
    assert made == "01hf7yat00zzzzzzzzzzzzzzzz"
    assert not set(made) & set("ilou")


def test_later_identifiers_are_greater():
    times = [0, 1, 31, 32, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1]
    made = [time_ordered_id(now_ms, secrets.token_bytes) for now_ms in times]
    assert made == sorted(made)
    assert {len(one) for one in made} == {26}


def test_all_random_bits_are_in_it():
    asked = []

    def random_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes([0] * 15 + [len(asked) % 32])

    made = [time_ordered_id(5, random_bytes) for _ in range(32)]
    assert "".join(one[-1] for one in made[-1:] + made[:-1]) == "0123456789abcdefghjkmnpqrstvwxyz"
    assert set(asked) == {16}


def test_every_random_character_is_as_likely():
    spelled = [time_ordered_id(5, bytes([byte]).__mul__)[-1] for byte in range(256)]
    assert {spelled.count(letter) for letter in spelled} == {8}
    assert len(set(spelled)) == 32
