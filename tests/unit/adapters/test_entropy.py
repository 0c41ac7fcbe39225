from __future__ import annotations

from bandari.adapters import entropy
from bandari.adapters.entropy import READ_AHEAD_BYTES, Entropy


def test_bytes_are_given_once_and_in_the_number_asked_for(monkeypatch):
    asked = []

    def token_bytes(count: int) -> bytes:
        asked.append(count)
        return bytes([len(asked)]) * count

    monkeypatch.setattr(entropy.secrets, "token_bytes", token_bytes)
    random_bytes = Entropy()
    assert random_bytes(READ_AHEAD_BYTES - 1) == b"\x01" * (READ_AHEAD_BYTES - 1)
    assert random_bytes(1) == b"\x01"
    assert random_bytes(2) == b"\x02\x02"
    assert random_bytes(READ_AHEAD_BYTES - 1) == b"\x03" * (READ_AHEAD_BYTES - 1)
    assert random_bytes(2 * READ_AHEAD_BYTES) == b"\x04" * (2 * READ_AHEAD_BYTES)
    assert asked == [READ_AHEAD_BYTES] * 3 + [2 * READ_AHEAD_BYTES]


def test_no_two_are_alike():
    random_bytes = Entropy()
    assert len({random_bytes(10) for _ in range(10_000)}) == 10_000
