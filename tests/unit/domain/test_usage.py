"""Token counts that cannot be are never built."""

from __future__ import annotations

import pytest

from bandari.domain.usage import CountRule, Usage


def test_the_total_is_input_and_output() -> None:
    usage = Usage(
        input_tokens=10,
        output_tokens=5,
        cached_tokens=7,
        cache_write_tokens=3,
        reasoning_tokens=4,
    )
    assert usage.total_tokens == 15, "cached and reasoning tokens are parts, not additions"


@pytest.mark.parametrize(
    "field",
    ["input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"],
)
def test_no_count_is_negative(field: str) -> None:
    with pytest.raises(ValueError, match="never negative"):
        Usage(**{field: -1})


@pytest.mark.parametrize(("cached", "written"), [(11, 0), (0, 11), (6, 5)])
def test_what_was_cached_is_part_of_the_input(cached: int, written: int) -> None:
    with pytest.raises(ValueError, match="part of the input"):
        Usage(input_tokens=10, cached_tokens=cached, cache_write_tokens=written)


def test_a_prompt_may_be_cached_whole() -> None:
    assert Usage(input_tokens=10, cached_tokens=6, cache_write_tokens=4).total_tokens == 10


def test_rules_are_ordered_best_first() -> None:
    assert list(CountRule) == [CountRule.REPORTED, CountRule.COUNTED, CountRule.ESTIMATED]
