"""What an answer costs: rate cards, and the one place where an amount is rounded.

Amounts are integers in the smallest unit of an asset (``assets``). Prices are integers: units per
million tokens of a kind, and units per request.
"""

from __future__ import annotations

from msgspec import Struct

from bandari.domain.usage import Usage

PER_MILLION = 1_000_000
TOKEN = "TOKEN"


class RateCard(Struct, frozen=True):
    """The price of one model in one asset. A version never changes once it was used in a charge."""

    model: str
    asset: str
    input_per_million: int
    cached_input_per_million: int
    cache_write_per_million: int
    output_per_million: int
    per_request: int = 0
    version: int = 1
    id: int = 0

    @property
    def prices(self) -> tuple[int, int, int, int, int]:
        return (
            self.input_per_million,
            self.cached_input_per_million,
            self.cache_write_per_million,
            self.output_per_million,
            self.per_request,
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


def round_charge(millionths: int) -> int:
    """Round an exact price, in millionths of a unit, to whole units: half a unit or more rounds up.

    This is the only rounding in Bandari. It is monotonic, so a hold for at least as many tokens
    always covers the charge.
    """
    return (millionths + PER_MILLION // 2) // PER_MILLION


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
    return round_charge(millionths)


def ceiling_for(card: RateCard, input_tokens: int, output_tokens: int) -> int:
    """The most that this many tokens can cost, whichever kind of input they turn out to be."""
    return round_charge(_ceiling_millionths(card, input_tokens, output_tokens))


def output_tokens_within(card: RateCard, input_tokens: int, amount: int) -> int | None:
    """How many output tokens ``amount`` still covers after the prompt's ceiling.

    ``None`` means that output is free and so unbounded; a negative number that not even the prompt
    is covered.
    """
    # round_charge(x) <= amount exactly when x <= this.
    affordable = (amount + 1) * PER_MILLION - PER_MILLION // 2 - 1
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
