"""What somebody may use in a time: limits and quotas as values. How they are counted is not here.

Whose they are is a ``Subject``. A name that is not said is not limited.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from bandari.domain.bounds import MAX_INTEGER

MAX_RATE = 1_000_000_000
"""The largest number of requests in a window, and of requests at once."""

Rate = Annotated[int, Meta(ge=1, le=MAX_RATE)]
Amount = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]


class Subject(StrEnum):
    """Whose a limit is. All that apply to a request hold at once."""

    KEY = "key"
    ACCOUNT = "account"
    GROUP = "group"
    END_USER = "end_user"
    MODEL = "model"


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Requests and tokens in sliding windows, requests at once, and money by the calendar in UTC.

    ``spend_per_day`` and ``spend_per_month`` are by asset, in its smallest unit.
    """

    requests_per_minute: Rate | None = None
    requests_per_hour: Rate | None = None
    requests_per_day: Rate | None = None
    tokens_per_minute: Amount | None = None
    tokens_per_hour: Amount | None = None
    tokens_per_day: Amount | None = None
    concurrent_requests: Rate | None = None
    spend_per_day: Mapping[str, Amount] = {}
    spend_per_month: Mapping[str, Amount] = {}


UNLIMITED = Limits()


class Quota(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How many tokens a key may use in all, and in each day and month of the calendar in UTC."""

    lifetime: Amount | None = None
    per_day: Amount | None = None
    per_month: Amount | None = None


UNBOUNDED = Quota()
