"""A charge is exact to the unit, is rounded once, and never exceeds the hold for as many tokens."""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.pricing import (
    FULL_PRICE,
    MAX_DENOMINATOR,
    MAX_RATIO,
    PER_MILLION,
    TOKEN,
    PriceRatio,
    RateCard,
    ceiling_for,
    charge_for,
    output_tokens_within,
    round_charge,
    token_card,
)
from bandari.domain.usage import Usage

prices = st.one_of(st.just(0), st.integers(0, 50), st.integers(0, 20_000_000))


@st.composite
def ratios(draw: st.DrawFn) -> PriceRatio:
    """Any, and often the simple ones and the ends."""
    of = draw(st.one_of(st.integers(1, 10), st.just(MAX_DENOMINATOR), st.integers(1, 10**6)))
    most = MAX_RATIO * of
    number = draw(st.one_of(st.integers(0, min(most, 20)), st.just(most), st.integers(0, most)))
    exact = Fraction(number, of)
    return PriceRatio(exact.numerator, exact.denominator)


cards = st.builds(
    RateCard,
    ratio=st.one_of(st.just(FULL_PRICE), ratios()),
    model=st.just("m"),
    asset=st.just("KES"),
    input_per_million=prices,
    cached_input_per_million=prices,
    cache_write_per_million=prices,
    output_per_million=prices,
    per_request=st.integers(0, 100),
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt = draw(st.integers(0, 300_000))
    cached = draw(st.integers(0, prompt))
    return Usage(
        input_tokens=prompt,
        output_tokens=draw(st.integers(0, 300_000)),
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, prompt - cached)),
    )


def card(*, ratio: PriceRatio = FULL_PRICE, **fields: int) -> RateCard:
    zero: dict[str, int] = dict.fromkeys(
        (
            "input_per_million",
            "cached_input_per_million",
            "cache_write_per_million",
            "output_per_million",
        ),
        0,
    )
    return RateCard(model="m", asset="KES", **(zero | fields), ratio=ratio)


@pytest.mark.parametrize(
    ("millionths", "units"),
    [
        (0, 0),
        (499_999, 0),
        (500_000, 1),
        (500_001, 1),
        (1_000_000, 1),
        (1_499_999, 1),
        (1_500_000, 2),
        (2_500_000, 3),  # half a unit rounds up, not to even
    ],
)
def test_half_a_unit_or_more_rounds_up(millionths: int, units: int) -> None:
    assert round_charge(millionths) == units


@given(st.integers(0, 10**18), ratios())
def test_rounding_is_never_off_by_more_than_half_a_unit(millionths: int, ratio: PriceRatio) -> None:
    exact = Fraction(millionths, PER_MILLION) * Fraction(ratio.numerator, ratio.denominator)
    error = round_charge(millionths, ratio) - exact
    assert Fraction(-1, 2) < error <= Fraction(1, 2)


@given(st.integers(0, 10**12), st.integers(0, 10**7), ratios())
def test_rounding_is_monotonic(millionths: int, more: int, ratio: PriceRatio) -> None:
    assert round_charge(millionths, ratio) <= round_charge(millionths + more, ratio)
    assert round_charge(millionths) <= round_charge(millionths + more)


@pytest.mark.parametrize(
    ("ratio", "millionths", "units"),
    [
        # One rounding: 0.5 at full price would be 1, and a third of 1 is not what it costs.
        (PriceRatio(1, 3), 500_000, 0),
        (PriceRatio(1, 3), 1_499_999, 0),
        (PriceRatio(1, 3), 1_500_000, 1),
        (PriceRatio(3, 2), 333_333, 0),
        (PriceRatio(3, 2), 333_334, 1),
        (PriceRatio(3, 2), 1_000_000, 2),  # half a unit rounds up
        (PriceRatio(0), 10**18, 0),
        (PriceRatio(MAX_RATIO), 1_000_000, MAX_RATIO),
    ],
)
def test_the_ratio_is_applied_before_the_one_rounding(
    ratio: PriceRatio, millionths: int, units: int
) -> None:
    assert round_charge(millionths, ratio) == units


@given(cards, usages())
def test_a_charge_is_the_exact_price_rounded_once(priced: RateCard, usage: Usage) -> None:
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    exact = (
        Fraction(fresh * priced.input_per_million, PER_MILLION)
        + Fraction(usage.cached_tokens * priced.cached_input_per_million, PER_MILLION)
        + Fraction(usage.cache_write_tokens * priced.cache_write_per_million, PER_MILLION)
        + Fraction(usage.output_tokens * priced.output_per_million, PER_MILLION)
        + priced.per_request
    ) * Fraction(priced.ratio.numerator, priced.ratio.denominator)
    assert charge_for(priced, usage) == math.floor(exact + Fraction(1, 2))


class TestPriceRatio:
    @pytest.mark.parametrize(
        ("numerator", "denominator"),
        [(1, 0), (1, -1), (-1, 2), (1, MAX_DENOMINATOR + 1), (MAX_RATIO + 1, 1), (2, 4), (0, 2)],
    )
    def test_what_is_none(self, numerator: int, denominator: int) -> None:
        with pytest.raises(ValueError, match="a price ratio"):
            PriceRatio(numerator, denominator)

    @pytest.mark.parametrize(
        ("ratio", "text"),
        [(FULL_PRICE, "1"), (PriceRatio(3, 2), "3/2"), (PriceRatio(0), "0"), (PriceRatio(4), "4")],
    )
    def test_how_it_is_written(self, ratio: PriceRatio, text: str) -> None:
        assert str(ratio) == text


def test_every_kind_of_token_has_its_own_price() -> None:
    priced = card(
        input_per_million=1_000_000,
        cached_input_per_million=100_000,
        cache_write_per_million=1_250_000,
        output_per_million=4_000_000,
        per_request=7,
    )
    usage = Usage(input_tokens=100, cached_tokens=40, cache_write_tokens=20, output_tokens=10)
    # 40 fresh at 1, 40 cached at 0.1, 20 written at 1.25, 10 of output at 4, and the fee.
    assert charge_for(priced, usage) == 40 + 4 + 25 + 40 + 7


def test_kinds_are_added_up_before_they_are_rounded() -> None:
    priced = card(input_per_million=400_000, output_per_million=400_000)
    assert charge_for(priced, Usage(input_tokens=1, output_tokens=1)) == 1


def test_reasoning_is_part_of_the_output_and_is_not_charged_again() -> None:
    priced = card(output_per_million=PER_MILLION)
    assert charge_for(priced, Usage(output_tokens=10, reasoning_tokens=10)) == 10


@given(usages())
def test_a_token_wallet_pays_exactly_total_tokens(usage: Usage) -> None:
    default = token_card("m")
    assert default.asset == TOKEN
    assert charge_for(default, usage) == usage.total_tokens


@given(cards, usages())
def test_a_charge_never_exceeds_the_ceiling_of_its_tokens(priced: RateCard, usage: Usage) -> None:
    assert charge_for(priced, usage) <= ceiling_for(priced, usage.input_tokens, usage.output_tokens)


@given(cards, usages(), st.integers(0, 1000), st.integers(0, 1000))
def test_a_ceiling_grows_with_the_tokens(
    priced: RateCard, usage: Usage, more_input: int, more_output: int
) -> None:
    small = ceiling_for(priced, usage.input_tokens, usage.output_tokens)
    large = ceiling_for(priced, usage.input_tokens + more_input, usage.output_tokens + more_output)
    assert small <= large


def test_a_ceiling_takes_the_whole_prompt_for_its_dearest_kind() -> None:
    priced = card(
        input_per_million=1_000_000,
        cached_input_per_million=100_000,
        cache_write_per_million=1_250_000,
    )
    assert ceiling_for(priced, 100, 0) == 125


def test_output_within_counts_down_to_the_last_token() -> None:
    priced = card(input_per_million=PER_MILLION, output_per_million=2_000_000)
    assert output_tokens_within(priced, 10, 30) == 10
    assert output_tokens_within(priced, 10, 29) == 9
    assert output_tokens_within(priced, 10, 11) == 0
    assert output_tokens_within(priced, 10, 10) == 0


def test_output_within_is_negative_where_not_even_the_prompt_is_covered() -> None:
    priced = card(input_per_million=PER_MILLION, output_per_million=PER_MILLION)
    assert output_tokens_within(priced, 10, 9) == -1


def test_output_within_is_unbounded_where_output_is_free() -> None:
    free = card(input_per_million=PER_MILLION)
    assert output_tokens_within(free, 10, 10) is None
    assert output_tokens_within(free, 10, 9) == -1, "the prompt still costs"


def test_nothing_costs_anything_at_a_ratio_of_nothing() -> None:
    free = card(input_per_million=PER_MILLION, output_per_million=PER_MILLION, ratio=PriceRatio(0))
    assert ceiling_for(free, 10**9, 10**9) == 0
    assert output_tokens_within(free, 10**9, 0) is None
    assert output_tokens_within(free, 10**9, -1) == -1, "not even nothing is covered"


@given(
    priced=st.builds(
        card,
        input_per_million=st.integers(0, 3_000_000),
        cached_input_per_million=st.integers(0, 3_000_000),
        output_per_million=st.integers(50_000, 3_000_000),
        per_request=st.integers(0, 3),
        ratio=st.sampled_from((FULL_PRICE, PriceRatio(3, 2), PriceRatio(1, 3), PriceRatio(20))),
    ),
    input_tokens=st.integers(0, 20),
    amount=st.integers(0, 30),
)
def test_output_within_is_what_counting_up_finds(
    priced: RateCard, input_tokens: int, amount: int
) -> None:
    counted = -1
    while ceiling_for(priced, input_tokens, counted + 1) <= amount:
        counted += 1
    assert output_tokens_within(priced, input_tokens, amount) == counted


@given(cards, st.integers(0, 300_000), st.integers(0, 10**12))
def test_output_within_is_the_largest_that_fits(
    priced: RateCard, input_tokens: int, amount: int
) -> None:
    covered = output_tokens_within(priced, input_tokens, amount)
    if covered is None:
        assert ceiling_for(priced, input_tokens, 10**12) <= amount
        return
    if covered >= 0:
        assert ceiling_for(priced, input_tokens, covered) <= amount
    assert ceiling_for(priced, input_tokens, covered + 1) > amount


@pytest.mark.parametrize(
    "field",
    [
        "input_per_million",
        "cached_input_per_million",
        "cache_write_per_million",
        "output_per_million",
        "per_request",
    ],
)
def test_cards_are_told_apart_by_every_price(field: str) -> None:
    one = token_card("m")
    other = msgspec.structs.replace(one, **{field: getattr(one, field) + 1})
    assert one.prices != other.prices


def test_cards_of_another_version_may_ask_the_same() -> None:
    one = token_card("m")
    assert one.prices == msgspec.structs.replace(one, version=2, id=9).prices
