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
    INSUFFICIENT_BALANCE = "insufficient_balance"
    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOO_MANY_STREAMS = "too_many_open_requests"


class Allow(Struct, frozen=True):
    """The policy lets the request pass.

    ``remaining`` and ``reset_ms`` describe the limit, if any.
    """

    limit: int | None = None
    remaining: int | None = None
    reset_ms: int | None = None


class Deny(Struct, frozen=True):
    """The policy refuses. ``detail`` is a sentence for the person who reads the error."""

    reason: Reason
    detail: str
    retry_after_ms: int | None = None
    limit: int | None = None
