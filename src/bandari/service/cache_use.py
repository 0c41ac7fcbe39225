"""What one generation has to do with the cache: the answer that is just being made for a request
like it, or its own, which those that come after it get.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from bandari.domain.events import Event
from bandari.domain.usage import Usage
from bandari.service.caching import Cache, CachedAnswer, Flight


class CachePlace(Struct, frozen=True, kw_only=True):
    """Where in the cache an answer belongs. ``joins``: it may be one that is being made already."""

    key: bytes
    account_id: int
    end_user: str | None
    ttl_ms: int
    joins: bool


class CacheUser:
    """``answer`` first; then, where that was none, ``observe`` and ``land`` or ``fail``, once."""

    __slots__ = ("_cache", "_flight", "_place", "_recording_id")

    def __init__(self, cache: Cache, place: CachePlace, recording_id: str) -> None:
        self._cache = cache
        self._place = place
        self._recording_id = recording_id
        self._flight: Flight | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether requests like it wait for this answer."""
        return self._flight is not None and self._flight.waiting > 0

    async def answer(self) -> CachedAnswer | None:
        """The answer that others make, when it is there; None: this one is to be made.

        Where theirs comes to nothing, one of those who have waited makes the next.
        """
        cache, place = self._cache, self._place
        while place.joins:
            # It may have been made since it was looked for, while money was held.
            answer = cache.find(place.key)
            flight = cache.flight(place.key)
            if answer is None and flight is not None:
                answer = await flight.landed()
            if answer is not None:
                return answer
            if flight is None:
                break
        self._flight = cache.take_off(
            place.key,
            account_id=place.account_id,
            end_user=place.end_user,
            ttl_ms=place.ttl_ms,
            recording_id=self._recording_id,
        )
        return None

    def observe(self, events: Sequence[Event]) -> None:
        if self._flight is not None:
            self._flight.observe(events)

    def land(self, usage: Usage, target: str, ignored: tuple[str, ...]) -> None:
        """It is whole, and paid for."""
        if self._flight is not None:
            self._flight.land(usage, target, ignored)

    def fail(self) -> None:
        """It is nothing that another request could have."""
        if self._flight is not None:
            self._flight.fail()
