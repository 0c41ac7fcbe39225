"""``truncation: auto``: which items a conversation goes on without when it is too long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Raw, Struct


class _Head(Struct):
    type: str = "message"
    role: str | None = None


_read_head = msgspec.json.Decoder(_Head).decode


def shortened(items: Sequence[Raw]) -> Iterator[Sequence[Raw]]:
    """``items`` without the oldest, twice as many each time; the user's last turn stays.

    What is left begins with what the user said, so that no result has lost its call.
    """
    begins = [index for index, item in enumerate(items) if index and _is_users(item)]
    least = 1
    while begins:
        begins = [index for index in begins if index >= least] or begins[-1:]
        yield items[begins[0] :]
        least = begins.pop(0) * 2


def _is_users(item: Raw) -> bool:
    head = _read_head(item)
    return head.type == "message" and head.role == "user"
