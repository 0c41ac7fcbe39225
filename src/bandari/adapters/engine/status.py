"""The states of the engine, as values that readiness, metrics and messages can show."""

from __future__ import annotations

from msgspec import Struct


class Starting(Struct, frozen=True, tag="starting"):
    """The model is being loaded for the first time."""


class Ready(Struct, frozen=True, tag="ready"):
    """Requests are answered at ``base_url``."""

    base_url: str


class Restarting(Struct, frozen=True, tag="restarting"):
    """The child ended by itself at ``since_ms`` (wall clock); ``attempts`` counts from 1."""

    since_ms: int
    attempts: int
    last_error: str


class Failed(Struct, frozen=True, tag="failed"):
    """It will not be tried again: a person has to do something."""

    reason: str


class Stopped(Struct, frozen=True, tag="stopped"):
    """Not started yet, or stopped on purpose."""


Status = Starting | Ready | Restarting | Failed | Stopped
