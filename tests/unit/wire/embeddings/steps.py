"""Driving what is read or spelled in steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def whole(steps: Generator[None, None, T]) -> T:
    return counted(steps)[0]


def counted(steps: Generator[None, None, T]) -> tuple[T, int]:
    """The result, and how often there was a pause before it."""
    pauses = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result, pauses
        pauses += 1
