"""Identifiers that sort by time: 48 bits of milliseconds and 80 random bits, in Crockford's base
32.

Ids of one kind share a prefix that tells what they name. Insert-friendly for a store's index.
"""

from __future__ import annotations

from collections.abc import Callable

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]


def time_ordered_id(now_ms: int, random_bytes: Callable[[int], bytes]) -> str:
    """26 characters, later ones greater than earlier ones (to the millisecond)."""
    chance = int.from_bytes(random_bytes(10), "big")
    return (
        _spelled(now_ms & 0xFFFF_FFFF_FFFF)
        + _spelled(chance >> 30)
        + _spelled(chance & 0x3FFF_FFFF)[4:]
    )


def _spelled(bits: int) -> str:
    """50 bits as 10 characters. (Small numbers, and no loop: two names are made per request.)"""
    pairs = _PAIRS
    return (
        pairs[bits >> 40]
        + pairs[bits >> 30 & 1023]
        + pairs[bits >> 20 & 1023]
        + pairs[bits >> 10 & 1023]
        + pairs[bits & 1023]
    )
