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
        return len(asked).to_bytes(count, "big")

    assert len({time_ordered_id(5, random_bytes) for _ in range(100)}) == 100
    assert set(asked) == {10}
