"""Limits and quotas, as the operator API and an account's own end users are told of them."""

from __future__ import annotations

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.allowance import MAX_RATE
from bandari.domain.bounds import MAX_INTEGER

Rate = Annotated[int | None, Meta(ge=1, le=MAX_RATE)]
Tokens = Annotated[int | None, Meta(ge=1, le=MAX_INTEGER)]
ByAsset = Annotated[
    dict[str, Annotated[int, Meta(ge=1, le=MAX_INTEGER)]],
    "By asset, in its smallest unit. Days and months are those of the calendar in UTC.",
]


class Limits(TypedDict):
    """What may be used in a time, in sliding windows. What is not said is not limited."""

    requests_per_minute: NotRequired[Rate]
    requests_per_hour: NotRequired[Rate]
    requests_per_day: NotRequired[Rate]
    tokens_per_minute: NotRequired[Tokens]
    tokens_per_hour: NotRequired[Tokens]
    tokens_per_day: NotRequired[Tokens]
    concurrent_requests: NotRequired[Rate]
    spend_per_day: NotRequired[ByAsset]
    spend_per_month: NotRequired[ByAsset]


class Quota(TypedDict):
    """How many tokens a key may use: in all, and in each day and month of the calendar in UTC."""

    lifetime: NotRequired[Tokens]
    per_day: NotRequired[Tokens]
    per_month: NotRequired[Tokens]
