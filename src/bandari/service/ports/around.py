"""What surrounds every request: time, the dashboards, and the spelling of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bandari.domain.events import Event, FinishReason
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall-clock time in milliseconds since 1970, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds that never go backwards, from an arbitrary start."""
        ...


class FrameEncoder(Protocol):
    """Spells an answer for one client as frames: one SSE event each, or the one JSON body.

    Made by a codec for one request. What ``close`` returns may leave only once the charge is
    durable.
    """

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """Frames that may leave at once."""
        ...

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        """The frames that end a good answer. ``finish`` is given where we ended it (``length``)."""
        ...

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """The frames that end a bad answer; none where only a status can say it."""
        ...


class Metrics(Protocol):
    """What the operator's dashboards are told. Never raises, never waits."""

    def request_ended(self, route: str, status: int, seconds: float) -> None: ...

    def problem_told(self, code: str, blame: str) -> None:
        """An error was sent to a client."""
        ...

    def generation_started(self, model: str) -> None: ...

    def first_token(self, model: str, seconds: float) -> None: ...

    def generation_ended(self, model: str, ending: str, usage: Usage) -> None: ...

    def overrun(self, asset: str, amount: int) -> None:
        """An answer cost this much more than its wallet had; the operator bears it."""
        ...

    def upstream_failed(self, provider: str, code: str) -> None: ...

    def holds_open(self, count: int) -> None: ...

    def cache_asked(self, model: str, *, was_hit: bool) -> None:
        """An answer was looked for in the cache."""
        ...

    def replayed(self) -> None:
        """A client has come back for an answer that was there."""
        ...

    def recordings_kept(self, count: int, size_bytes: int) -> None:
        """How many recordings can be found in this server, and what all that are read take."""
        ...

    def answers_cached(self, count: int, size_bytes: int) -> None: ...

    def guess_refused(self) -> None:
        """Somebody whose keys have failed too often was not listened to."""
        ...

    def committed(self, seconds: float, operations: int) -> None:
        """One durable commit of the store, and how many operations it carried."""
        ...

    def render(self) -> bytes:
        """Everything in Prometheus' text format."""
        ...
