"""Tokens by kind, and the rule by which they were counted.

``input_tokens`` is the whole prompt: cached reads and cache writes are *part* of it, reasoning is
part of ``output_tokens``. All numbers are tokens and never negative.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class CountRule(StrEnum):
    """Which source the numbers of a charge come from, best first."""

    REPORTED = "reported"
    COUNTED = "counted"
    ESTIMATED = "estimated"


class Usage(Struct, frozen=True):
    """Tokens of one answer, over all its choices."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __post_init__(self) -> None:
        if (
            min(
                self.input_tokens,
                self.output_tokens,
                self.cached_tokens,
                self.cache_write_tokens,
                self.reasoning_tokens,
            )
            < 0
        ):
            raise ValueError("token counts are never negative")
        if self.cached_tokens + self.cache_write_tokens > self.input_tokens:
            raise ValueError("cached and written tokens are part of the input")

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens
