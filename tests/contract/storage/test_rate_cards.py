"""Rate cards: a changed price is a new version, an unchanged one is not."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from bandari.adapters.storage import Store
from bandari.domain.pricing import token_card


async def test_pinning_gives_ids_and_versions(store: Store) -> None:
    first, second = await store.rate_cards.pin([token_card("a"), token_card("b")])

    assert (first.model, first.version, second.model, second.version) == ("a", 1, "b", 1)
    assert first.id != second.id
    assert await store.rate_cards.pin([]) == []


async def test_the_same_prices_are_the_same_version(store: Store) -> None:
    (first,) = await store.rate_cards.pin([token_card("a")])

    assert await store.rate_cards.pin([token_card("a")]) == [first]


@pytest.mark.parametrize(
    "price",
    [
        "input_per_million",
        "cached_input_per_million",
        "cache_write_per_million",
        "output_per_million",
        "per_request",
        "cache_hit_per_million",
    ],
)
async def test_any_changed_price_is_a_new_version(store: Store, price: str) -> None:
    (first,) = await store.rate_cards.pin([token_card("a")])

    (second,) = await store.rate_cards.pin([replace(token_card("a"), **{price: 7})])
    (third,) = await store.rate_cards.pin([token_card("a")])

    assert [card.version for card in (first, second, third)] == [1, 2, 3]
    assert getattr(second, price) == 7
    assert len({first.id, second.id, third.id}) == 3


async def test_assets_have_versions_of_their_own(store: Store) -> None:
    kes = replace(token_card("a"), asset="KES", input_per_million=12)

    cards = await store.rate_cards.pin([token_card("a"), kes])

    assert [card.version for card in cards] == [1, 1]


async def test_a_price_out_of_bounds_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await store.rate_cards.pin([replace(token_card("a"), per_request=2**53)])


async def test_servers_that_start_together_agree(store: Store, other_store: Store) -> None:
    cards = [token_card(f"m{number}") for number in range(20)]

    mine, theirs = await asyncio.gather(
        store.rate_cards.pin(cards), other_store.rate_cards.pin(cards[::-1])
    )

    assert list(mine) == list(theirs)[::-1]
    assert {card.version for card in mine} == {1}
