"""Refusal as a value: what a policy (access, limits, balance) answers.

A policy never raises to say no. It returns ``Allow`` or a ``Deny`` whose reason is one row of the
table below; only the edge turns a ``Deny`` into a protocol's error. Faults (things that broke) are
exceptions and live in ``faults``; both meet in ``problem.Problem``.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    """Why a policy said no. The value is the machine-readable code that clients see."""

    MISSING_KEY = "missing_api_key"
    MALFORMED_KEY = "malformed_api_key"
    UNKNOWN_KEY = "invalid_api_key"
    REVOKED_KEY = "revoked_api_key"
    EXPIRED_KEY = "expired_api_key"
    TOO_MANY_FAILURES = "too_many_failed_attempts"
    SUSPENDED_ACCOUNT = "account_suspended"
    WRONG_NETWORK = "network_not_allowed"
    WRONG_SCOPE = "scope_not_allowed"
    WRONG_ROLE = "role_not_allowed"
    INSUFFICIENT_BALANCE = "insufficient_balance"
    KEY_QUOTA = "insufficient_quota"
    SPEND_LIMIT = "spend_limit_exceeded"
    RATE_LIMIT = "rate_limit_exceeded"
    CONCURRENCY_LIMIT = "concurrency_limit_exceeded"


class Standing(Struct, frozen=True):
    """How much of a limit is left. ``name`` is like ``key.tokens_per_minute``.

    ``reset_ms`` is how long it takes until all of it is there again, if nobody asks.
    """

    name: str
    limit: int
    remaining: int
    reset_ms: int


class LimitState(Struct, frozen=True):
    """How a limit stands: what of it was used and has not come back, and what is reserved.

    ``reset_ms`` is None where nobody knows when all of it will be there again, or it never will.
    """

    name: str
    limit: int
    used: int
    reserved: int
    reset_ms: int | None

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used - self.reserved)


class Allow(Struct, frozen=True):
    """The policy lets the request pass.

    The standings are of the limits of requests and of tokens that have the least left, if any.
    """

    requests: Standing | None = None
    tokens: Standing | None = None


class Deny(Struct, frozen=True):
    """The policy refuses. ``detail`` is a sentence for the person who reads the error.

    ``retry_after_ms`` is None where asking again changes nothing. The standings are those that are
    known, ``limit`` the name of the limit that refuses, if one does.
    """

    reason: Reason
    detail: str
    retry_after_ms: int | None = None
    limit: str | None = None
    requests: Standing | None = None
    tokens: Standing | None = None
