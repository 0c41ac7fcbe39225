"""Identifiers that sort by time: 48 bits of milliseconds and 80 random bits, in Crockford's base
32.

Ids of one kind share a prefix that tells what they name. Insert-friendly for a store's index.
"""

from __future__ import annotations

from collections.abc import Callable

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]

_RANDOM_CHARACTERS = 16
_LETTERS = _ALPHABET.encode() * (256 // len(_ALPHABET))
"""For each byte a letter; all are as likely."""


def time_ordered_id(now_ms: int, random_bytes: Callable[[int], bytes]) -> str:
    """26 characters, later ones greater than earlier ones (to the millisecond)."""
    # Five bits of each byte: more than are needed are drawn, because spelling them is cheaper then.
    chance = random_bytes(_RANDOM_CHARACTERS).translate(_LETTERS).decode()
    bits, pairs = now_ms & 0xFFFF_FFFF_FFFF, _PAIRS
    return (
        f"{pairs[bits >> 40]}{pairs[bits >> 30 & 1023]}{pairs[bits >> 20 & 1023]}"
        f"{pairs[bits >> 10 & 1023]}{pairs[bits & 1023]}{chance}"
    )
