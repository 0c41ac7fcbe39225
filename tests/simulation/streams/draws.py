"""What a world of streams is made of, drawn: customers, models, and what is asked for.

Nothing in here happens; it only says what will be there and what will be wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from msgspec import Struct
from msgspec.structs import replace
from tests.simulation.streams.upstreams import PROVIDERS, Habits

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import Defaults, Model, Target
from bandari.domain.chat import ChatRequest, Message, Role, Sampling, TextPart
from bandari.domain.keys import KeyPolicy, Principal, Scope
from bandari.domain.pricing import RateCard, token_card
from bandari.domain.recordings import CacheUse
from bandari.web import surface
from bandari.web.surface import ChatSurface

SURFACES: Mapping[Scope, ChatSurface] = {
    each.scope: each
    for each in (
        surface.CHAT_COMPLETIONS,
        surface.TYPED_STREAM,
        surface.MESSAGES,
        surface.COMPLETIONS,
    )
}
MOST_WINDOW_S = 60
CACHE_TTL_S = 25
RICH = 10**9
POOR = 6_000
THE_POOR = "wanjiru"
"""The account whose wallet may be empty, and whose answers may be shortened to what it has."""


@dataclass
class Customer:
    """An account, with one principal for each way in which it asks, and what it was given."""

    name: str
    given: Mapping[str, int]
    principals: Sequence[Principal] = ()


class Wish(Struct, frozen=True, kw_only=True):
    """What a client wants, and how it behaves.

    ``leaves_after`` is the number of frames of a visit after which it is gone, drawn anew for each;
    ``visits`` how often it comes back at most, ``pauses_s`` about how long it stays away.
    """

    principal: Principal
    scope: Scope
    body: int
    request: ChatRequest
    key: str | None
    window_s: int | None
    cache: CacheUse | None
    visits: int
    pauses_s: float
    leaves: float
    reads_slowly: bool
    is_stored: bool
    is_background: bool
    reads_along_after_s: float | None
    """A second reader comes then, while the first one reads or has left."""
    deletes_after_s: float | None
    comes_along: bool
    """Another one with the same wish comes at the same moment."""

    @property
    def digest(self) -> bytes:
        """As the canonical request's: not of how it is asked for."""
        return hashlib.sha256(b"%d" % self.body).digest()


def customers(draws: Random) -> Sequence[Customer]:
    """Two that are rich, and one whose wallet is empty soon."""
    found = [
        Customer("amina", {"TOKEN": RICH, "KES": RICH}),
        Customer("otieno", {"KES": RICH}),
        Customer(THE_POOR, {"TOKEN": POOR * draws.randrange(1, 5)}),
    ]
    return found[: draws.randrange(2, 4)]


def principals(draws: Random, customer: Customer, account_id: int, keys: Sequence[int]) -> None:
    """Each key by itself, the first also for two end users, the last with terms of its own."""
    ways = [
        Principal(key_id, account_id, customer.name, "default", tuple(customer.given))
        for key_id in keys
    ]
    ways += [replace(ways[0], end_user=name) for name in ("juma", "neema")]
    policy = KeyPolicy(
        resume_window_s=draws.choice((None, 0, 20)),
        cache=draws.choice((None, CacheUse.USE, CacheUse.OFF)),
        cache_ttl_s=draws.choice((None, 2)),
    )
    ways[len(keys) - 1] = replace(ways[len(keys) - 1], policy=policy)
    customer.principals = ways


def models(draws: Random) -> Sequence[Model]:
    """One for each provider, that shaky ones can fall back from."""
    found = []
    for habits in PROVIDERS:
        targets = [_target(habits)]
        if habits.name == "shaky":
            targets.append(_target(PROVIDERS[0], 1))
        cards = [replace(token_card(habits.name), cache_hit_per_million=draws.choice((0, 250_000)))]
        cards.append(RateCard(habits.name, "KES", 150_000, 50_000, 150_000, 400_000, per_request=3))
        cards[1] = replace(cards[1], cache_hit_per_million=draws.choice((0, 77_777)))
        found.append(
            Model(
                id=f"m-{habits.name}",
                targets=tuple(targets),
                rate_cards=tuple(cards),
                context_window=8_192,
                max_output_tokens=4_096,
                defaults=Defaults(),
                bounds=Bounds(),
                cache=draws.choice((CacheUse.OFF, CacheUse.USE)),
                cache_ttl_s=draws.choice((None, 1, 4)),
            )
        )
    return found


def _target(habits: Habits, priority: int = 0) -> Target:
    return Target(habits.name, f"{habits.name}-1", priority)


def wish(draws: Random, customers: Sequence[Customer], number: int, former: Sequence[Wish]) -> Wish:
    """A new one, or one like a former one in all that makes two requests alike, or in some of it.

    ``number`` is of the wish, and of its body if that is new.
    """
    principal = draws.choice(draws.choice(customers).principals)
    scope = draws.choice(tuple(SURFACES))
    streams = scope is Scope.TYPED_STREAM or draws.random() < 0.8
    body = number
    request = ChatRequest(
        model=f"m-{draws.choice(PROVIDERS).name}",
        messages=(Message(Role.USER, (TextPart(f"Hadithi ya {number}"),)),),
        sampling=Sampling(max_tokens=draws.choice((None, None, 40, 400))),
        stream=streams,
        include_usage=draws.random() < 0.7,
        input_bytes=16,
    )
    key = f"key-{number}" if draws.random() < 0.3 else None
    if former and draws.random() < 0.4:
        like = draws.choice(former[-12:] if draws.random() < 0.7 else former)
        request, body = replace(like.request, stream=streams), like.body
        if draws.random() < 0.8:
            principal = like.principal
        if draws.random() < 0.6:
            scope = like.scope
            request = replace(request, stream=like.request.stream)
        if like.key is not None and draws.random() < 0.5:
            key = like.key
        if scope is Scope.TYPED_STREAM:
            request = replace(request, stream=True)
    if key is not None and former and draws.random() < 0.05:
        key = former[-1].key or key  # for another body, or another's
    fate = draws.random()
    return Wish(
        principal=principal,
        scope=scope,
        body=body,
        request=request,
        key=key,
        window_s=draws.choice((None, None, 0, 5, 30, MOST_WINDOW_S, 10_000)),
        cache=draws.choice((None, None, None, *CacheUse, *(CacheUse.USE, CacheUse.USE))),
        visits=draws.choice((0, 1, 2, 4, 8)),
        pauses_s=draws.choice((0.1, 2.0, 20.0)),
        leaves=draws.choice((0.0, 0.1, 0.3, 0.8)),
        reads_slowly=draws.random() < 0.15,
        is_stored=fate < 0.12,
        is_background=fate < 0.05,
        reads_along_after_s=2.0 * draws.random() if draws.random() < 0.2 else None,
        deletes_after_s=4.0 * draws.random() if draws.random() < 0.06 else None,
        comes_along=draws.random() < 0.12,
    )
