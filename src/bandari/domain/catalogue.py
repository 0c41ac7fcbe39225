"""Models, targets and providers as values, and how a model id is resolved.

A public id is matched exactly first; then ``provider:model`` for providers that are open to any
model. Where the answer is no, the nearest ids that the caller may use are named.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from bandari.domain.allowance import UNLIMITED, Limits
from bandari.domain.bounds import Bounds
from bandari.domain.faults import InvalidValue
from bandari.domain.pricing import FULL_PRICE, PriceRatio, RateCard
from bandari.domain.recordings import CacheUse

MAX_MODEL_ID_BYTES: Final = 512
"""In UTF-8. PostgreSQL keeps usage by model and end user in an index whose rows are bounded."""

LOCAL = "local"
"""The name of the provider that is the engine in the box."""


class Endpoint(StrEnum):
    """Where a model may be asked, by the name of the protocol that is spoken there."""

    CHAT_COMPLETIONS = "chat_completions"
    COMPLETIONS = "completions"
    MESSAGES = "messages"
    RESPONSES = "responses"
    EMBEDDINGS = "embeddings"


EMBEDDING: Final = (Endpoint.EMBEDDINGS,)
"""The endpoints of a model that makes vectors."""

GENERATING: Final = tuple(each for each in Endpoint if each not in EMBEDDING)
"""The endpoints of a model that writes: any of them, because codecs translate."""


class Defaults(Struct, frozen=True, forbid_unknown_fields=True):
    """What a model takes a request to say where it says nothing."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Target(Struct, frozen=True):
    """Where a model's answers come from: a provider's name and the model id that it knows.

    Targets of one model are tried by ascending ``priority``; among equals, ``weight`` decides how
    often each comes first.
    """

    provider: str
    model: str
    priority: int = 0
    weight: int = 1

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


class Model(Struct, frozen=True):
    """A public model id. ``context_window`` and ``max_output_tokens`` are in tokens.

    ``takes_dimensions``: whether a request for embeddings may say how long the vectors are to be.
    ``limits`` hold for all who ask it together. ``cache`` is what a request may have of the answers
    kept for equal ones where neither it nor its key says so; they are kept for ``cache_ttl_s``, or
    where that is None for as long as any.
    """

    id: str
    targets: tuple[Target, ...]
    rate_cards: tuple[RateCard, ...]
    context_window: int
    max_output_tokens: int
    defaults: Defaults
    bounds: Bounds
    owned_by: str = "bandari"
    aliases: tuple[str, ...] = ()
    family: str = ""
    endpoints: tuple[Endpoint, ...] = GENERATING
    takes_dimensions: bool = False
    limits: Limits = UNLIMITED
    cache: CacheUse = CacheUse.OFF
    cache_ttl_s: int | None = None

    @property
    def label(self) -> str:
        """What the model is counted under; one of few, also where clients may choose any id."""
        return self.family or self.id


def check_serves(model: Model, endpoint: Endpoint) -> None:
    """Raise the ``CallerFault`` that says where else the model may be asked."""
    if endpoint not in model.endpoints:
        raise InvalidValue(
            f"The model '{model.id}' cannot be asked here: it is served at "
            f"{', '.join(model.endpoints)} only. GET /v1/models names each model's endpoints.",
            param="model",
        )


DEFAULT_GROUP: Final = "default"
"""The group of a key that was made for no other, and of one whose group is there no more."""


class Group(Struct, frozen=True, kw_only=True):
    """What the keys of a group may do, and what they pay of a model's price.

    ``models`` are patterns like ``gpt-*``; None is all. ``limits`` count for each key by itself,
    ``limits_per_account`` for each account's keys of the group, ``limits_per_end_user`` for each
    end user, and ``limits_together`` for all of them. Where the server is nearly full, groups of
    lower ``priority`` are refused first.
    """

    name: str
    models: tuple[str, ...] | None = None
    price_ratio: PriceRatio = FULL_PRICE
    priority: int = 0
    limits: Limits = UNLIMITED
    limits_per_account: Limits = UNLIMITED
    limits_per_end_user: Limits = UNLIMITED
    limits_together: Limits = UNLIMITED


def allows(patterns: Iterable[str] | None, model_id: str) -> bool:
    """Whether a model id fits one of the patterns, in which ``*`` stands for anything."""
    if patterns is None:
        return True
    return any(fnmatchcase(model_id, _escaped(pattern)) for pattern in patterns)


def _escaped(pattern: str) -> str:
    """The pattern with nothing special in it but ``*``."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def ordered(targets: Iterable[Target], draw: float) -> tuple[Target, ...]:
    """The order in which targets are tried; ``draw`` in [0, 1) decides among equal priorities.

    Within a priority the draw picks who is first; the others follow in their own order.
    """
    tiers: dict[int, list[Target]] = {}
    for target in targets:
        tiers.setdefault(target.priority, []).append(target)
    result: list[Target] = []
    for _, tier in sorted(tiers.items()):
        point = draw * sum(target.weight for target in tier)
        first = 0
        for index, target in enumerate(tier):
            point -= target.weight
            if point < 0:
                first = index
                break
        result.append(tier[first])
        result.extend(target for index, target in enumerate(tier) if index != first)
    return tuple(result)


def nearest(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names that look most like ``name``, best first."""
    folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower()[:200], folded, n=count, cutoff=0.5)
    return tuple(folded[match] for match in close)


def by_id(models: Iterable[Model]) -> Mapping[str, Model]:
    """Models by public id and by alias."""
    index: dict[str, Model] = {}
    for model in models:
        for name in (model.id, *model.aliases):
            index[name] = model
    return index
