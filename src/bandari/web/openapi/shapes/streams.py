"""What is answered about streams as such."""

from __future__ import annotations

from typing import Literal, TypedDict


class DeletedStream(TypedDict):
    """It is no more: stopped if it ran, and nothing of it is kept."""

    id: str
    object: Literal["stream"]
    deleted: Literal[True]
