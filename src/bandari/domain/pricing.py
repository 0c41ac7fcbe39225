"""What an answer costs: rate cards, and the one place where an amount is rounded.

Amounts are integers in the smallest unit of an asset (``assets``). Prices are integers: units per
million tokens of a kind, and units per request.
"""

from __future__ import annotations

import re
from math import gcd

from msgspec import Struct

from bandari.domain.usage import Usage

PER_MILLION = 1_000_000
TOKEN = "TOKEN"
_ASSET = re.compile(r"[A-Z][A-Z0-9]{1,15}")
MAX_RATIO = 1_000
MAX_DENOMINATOR = 1_000_000


def is_asset(text: str) -> bool:
    """Whether it can be the name of an asset: 2 to 16 capital letters and digits."""
    return _ASSET.fullmatch(text) is not None


class PriceRatio(Struct, frozen=True):
    """What a group pays of a model's price, as an exact fraction in lowest terms."""

    numerator: int = 1
    denominator: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.denominator <= MAX_DENOMINATOR:
            raise ValueError(f"a price ratio's denominator is from 1 to {MAX_DENOMINATOR}")
        if not 0 <= self.numerator <= MAX_RATIO * self.denominator:
            raise ValueError(f"a price ratio is from 0 to {MAX_RATIO}")
        if gcd(self.numerator, self.denominator) != 1:
            raise ValueError("a price ratio is in lowest terms")

    def __str__(self) -> str:
        whole = self.denominator == 1
        return str(self.numerator) if whole else f"{self.numerator}/{self.denominator}"


FULL_PRICE = PriceRatio()


class RateCard(Struct, frozen=True):
    """The price of one model in one asset. A version never changes once it was used in a charge.

    ``cache_hit_per_million`` is for the tokens of an answer that is repeated from the cache.
    ``ratio`` is the asking group's, and is pinned with each hold; the version does not know it.
    """

    model: str
    asset: str
    input_per_million: int
    cached_input_per_million: int
    cache_write_per_million: int
    output_per_million: int
    per_request: int = 0
    version: int = 1
    id: int = 0
    ratio: PriceRatio = FULL_PRICE
    cache_hit_per_million: int = 0

    @property
    def prices(self) -> tuple[int, int, int, int, int, int]:
        return (
            self.input_per_million,
            self.cached_input_per_million,
            self.cache_write_per_million,
            self.output_per_million,
            self.per_request,
            self.cache_hit_per_million,
        )


def token_card(model: str) -> RateCard:
    """The default card of a token wallet: one unit for every token, whatever its kind."""
    return RateCard(
        model=model,
        asset=TOKEN,
        input_per_million=PER_MILLION,
        cached_input_per_million=PER_MILLION,
        cache_write_per_million=PER_MILLION,
        output_per_million=PER_MILLION,
    )


def round_charge(millionths: int, ratio: PriceRatio = FULL_PRICE) -> int:
    """Round an exact price, in millionths of a unit, to whole units: half a unit or more rounds up.

    ``ratio`` is applied to the exact price, so that there is one rounding. This is the only one in
    Bandari. It is monotonic, so a hold for at least as many tokens always covers the charge.
    """
    if ratio is FULL_PRICE:
        return (millionths + PER_MILLION // 2) // PER_MILLION
    unit = PER_MILLION * ratio.denominator
    return (2 * millionths * ratio.numerator + unit) // (2 * unit)


def charge_for(card: RateCard, usage: Usage) -> int:
    """The amount that ``usage`` costs under ``card``, in units of the card's asset."""
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    millionths = (
        fresh * card.input_per_million
        + usage.cached_tokens * card.cached_input_per_million
        + usage.cache_write_tokens * card.cache_write_per_million
        + usage.output_tokens * card.output_per_million
        + card.per_request * PER_MILLION
    )
    return round_charge(millionths, card.ratio)


def charge_for_repeated(card: RateCard, tokens: int) -> int:
    """The amount that an answer of so many tokens costs when it is repeated from the cache."""
    return round_charge(tokens * card.cache_hit_per_million, card.ratio)


def ceiling_for(card: RateCard, input_tokens: int, output_tokens: int) -> int:
    """The most that this many tokens can cost, whichever kind of input they turn out to be."""
    return round_charge(_ceiling_millionths(card, input_tokens, output_tokens), card.ratio)


def output_tokens_within(card: RateCard, input_tokens: int, amount: int) -> int | None:
    """How many output tokens ``amount`` still covers after the prompt's ceiling.

    ``None`` means that output is free and so unbounded; a negative number that not even the prompt
    is covered.
    """
    ratio = card.ratio
    if ratio.numerator == 0:
        return None if amount >= 0 else -1
    # round_charge(x) <= amount exactly when x <= this.
    unit = PER_MILLION * ratio.denominator
    affordable = (unit * (2 * amount + 1) - 1) // (2 * ratio.numerator)
    left = affordable - _ceiling_millionths(card, input_tokens, 0)
    if left < 0:
        return -1
    if card.output_per_million == 0:
        return None
    return left // card.output_per_million


def _ceiling_millionths(card: RateCard, input_tokens: int, output_tokens: int) -> int:
    dearest_input = max(
        card.input_per_million, card.cached_input_per_million, card.cache_write_per_million
    )
    return (
        input_tokens * dearest_input
        + output_tokens * card.output_per_million
        + card.per_request * PER_MILLION
    )
