"""The bounds of the surfaces that answer conversations."""

from __future__ import annotations

from msgspec import Struct


class ChatSettings(Struct, frozen=True):
    """Times in milliseconds, sizes in bytes."""

    max_body_bytes: int = 32 * 1024 * 1024
    max_messages: int = 10_000
    body_timeout_ms: int = 30_000
    first_status_timeout_ms: int = 10_000
    keepalive_ms: int = 15_000
