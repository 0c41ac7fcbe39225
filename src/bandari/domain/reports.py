"""What is asked of the books afterwards: receipts one by one, and usage added up.

Times are in milliseconds since 1970, UTC; a range has its start and lacks its end.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from bandari.domain.usage import Usage

HOUR_MS = 3_600_000


class Selection(Struct, frozen=True, kw_only=True):
    """Which receipts count. What is not said is not asked. By the time at which they were charged.

    For usage, times are whole hours.
    """

    account_id: int | None = None
    key_id: int | None = None
    end_user: str | None = None
    model: str | None = None
    start_ms: int | None = None
    end_ms: int | None = None


class Dimension(StrEnum):
    """By what usage is told apart. Usage in two assets is never added up."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"
    ACCOUNT = "account"
    KEY = "key"
    END_USER = "end_user"
    MODEL = "model"


TIME_DIMENSIONS = (Dimension.HOUR, Dimension.DAY, Dimension.MONTH)
"""Of these, usage is told apart by one at most."""


class UsageRow(Struct, frozen=True, kw_only=True):
    """Charged answers added up. What was not asked to be told apart is None.

    ``amount`` is what left wallets, ``overrun`` what the operator bore, in the asset's smallest
    unit. ``start_ms`` is the hour's, day's or month's beginning.
    """

    asset: str
    requests: int
    usage: Usage
    amount: int
    overrun: int
    start_ms: int | None = None
    account: str | None = None
    key_id: int | None = None
    end_user: str | None = None
    model: str | None = None


class Spent(Struct, frozen=True):
    """What somebody has used in one hour, for limits: ``amounts`` are by asset."""

    hour_ms: int
    requests: int
    tokens: int
    amounts: dict[str, int]
