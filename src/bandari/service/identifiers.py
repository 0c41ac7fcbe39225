"""Identifiers that sort by time: 48 bits of milliseconds and 80 random bits, in Crockford's base
32.

Ids of one kind share a prefix that tells what they name. Insert-friendly for a store's index.
"""

from __future__ import annotations

from collections.abc import Callable

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(120, -1, -10)


def time_ordered_id(now_ms: int, random_bytes: Callable[[int], bytes]) -> str:
    """26 characters, later ones greater than earlier ones (to the millisecond)."""
    number = (now_ms & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(random_bytes(10), "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])
