"""The log of what operators have changed: who, what, before, after."""

from __future__ import annotations

from msgspec import Raw, Struct


class Actor(Struct, frozen=True):
    """Who changes something, as the log says it, and the request it was asked for with."""

    name: str
    request_id: str | None = None


class AuditEntry(Struct, frozen=True):
    """One change. ``before`` and ``after`` are JSON objects; None where there was or is nothing.

    ``action`` is like ``key.revoke``, ``subject`` like ``key 12``. Secrets are in neither.
    """

    id: int
    at_ms: int
    who: str
    action: str
    subject: str
    before: Raw | None = None
    after: Raw | None = None
    request_id: str | None = None
