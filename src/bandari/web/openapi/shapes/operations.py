"""What operators and their tools are told."""

from __future__ import annotations

from typing import Literal, TypedDict


class Alive(TypedDict):
    """The process answers."""

    status: Literal["ok"]


class Ready(TypedDict):
    """It can serve."""

    status: Literal["ready"]


class NotReady(TypedDict):
    """What keeps it from serving."""

    status: Literal["not ready"]
    because: list[str]
