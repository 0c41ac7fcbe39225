"""Answers for those who ask the same again: the ones that are kept, and the ones that are generated
just now, for which those who ask meanwhile wait.

An answer is kept until it expires, until somebody forgets it, or until there is no room: then those
go first that have expired, and after them those that were used least recently.

Knows no protocol, no network and no money.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from bandari.domain.events import Event
from bandari.domain.usage import Usage
from bandari.service.cache_keys import cache_key
from bandari.service.cached_answers import UNWRITABLE, AnswerWriter, CachedAnswer, size_in_memory
from bandari.service.ports import Clock

__all__ = ["Cache", "CachedAnswer", "Flight", "cache_key"]

FORGET_AT_ONCE: Final = 1_000
"""So many expired answers are forgotten in one go: everybody else waits meanwhile."""

ALONE_MS: Final = 60_000
"""How long nobody waits for an answer after an equal one was too large to be kept."""

MAX_ALONE: Final = 1_000


class Flight:
    """An answer in the making. It ends once: with ``land``, or with ``fail``.

    Whoever took it off sees to it that it ends; ending it again is harmless. ``recording_id`` is
    the recording that it is generated for.
    """

    __slots__ = (
        "_answer",
        "_clock",
        "_ended",
        "_max_bytes",
        "_ttl_ms",
        "_waiters",
        "_writer",
        "account_id",
        "end_user",
        "is_too_large",
        "key",
        "recording_id",
    )

    def __init__(
        self,
        key: bytes,
        *,
        account_id: int,
        end_user: str | None,
        ttl_ms: int,
        recording_id: str,
        max_bytes: int,
        clock: Clock,
        ended: Callable[[Flight, CachedAnswer | None], None],
    ) -> None:
        self.key = key
        self.account_id = account_id
        self.end_user = end_user
        self.recording_id = recording_id
        self.is_too_large = False
        self._ttl_ms = ttl_ms
        self._max_bytes = max_bytes
        self._clock = clock
        self._writer: AnswerWriter | None = AnswerWriter()
        self._waiters: set[asyncio.Future[CachedAnswer | None]] = set()
        self._answer: CachedAnswer | None = None
        self._ended = ended

    @property
    def waiting(self) -> int:
        """How many wait for it."""
        return len(self._waiters)

    def observe(self, events: Sequence[Event]) -> None:
        """Take down what the upstream says. An answer that cannot be kept fails at once."""
        writer = self._writer
        if writer is None:
            return
        try:
            writer.add(events)
        except UNWRITABLE:
            self.fail()
            return
        if writer.size > self._max_bytes:
            self._fail_as_too_large()

    def land(self, usage: Usage, target: str, ignored: tuple[str, ...]) -> None:
        """The answer is complete: keep it, and give it to those who wait."""
        writer = self._writer
        if writer is None:
            return
        segments = writer.segments()
        now_ms = self._clock.now_ms()
        answer = CachedAnswer(
            account_id=self.account_id,
            end_user=self.end_user,
            recording_id=self.recording_id,
            usage=usage,
            target=target,
            ignored=ignored,
            stored_ms=now_ms,
            expires_ms=now_ms + self._ttl_ms,
            segments=segments,
            size=size_in_memory(segments, self.recording_id, target, *ignored),
        )
        if answer.size > self._max_bytes:
            self._fail_as_too_large()
        else:
            self._end(answer)

    def fail(self) -> None:
        """It will not be kept: those who wait are told so at once."""
        if self._writer is not None:
            self._end(None)

    async def landed(self) -> CachedAnswer | None:
        """Wait for its end: the answer, or None where it failed. Cancelling is harmless."""
        if self._writer is None:
            return self._answer
        waiter: asyncio.Future[CachedAnswer | None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            return await waiter
        finally:
            self._waiters.discard(waiter)

    def _fail_as_too_large(self) -> None:
        self.is_too_large = True
        self.fail()

    def _end(self, answer: CachedAnswer | None) -> None:
        self._writer = None
        self._answer = answer
        self._ended(self, answer)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(answer)


class Cache:
    """All that is kept takes ``max_bytes`` at most, and one answer ``max_answer_bytes``.

    With no ``max_bytes`` nothing is kept; those who wait for an answer get it all the same.
    """

    def __init__(self, clock: Clock, *, max_bytes: int, max_answer_bytes: int) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._max_answer_bytes = max_answer_bytes
        self._kept: OrderedDict[bytes, CachedAnswer] = OrderedDict()
        self._by_recording: dict[str, bytes] = {}
        self._expiries: list[tuple[int, bytes]] = []
        self._size = 0
        self._flights: dict[bytes, Flight] = {}
        self._flying: dict[str, Flight] = {}
        self._alone: OrderedDict[bytes, int] = OrderedDict()

    @property
    def size(self) -> int:
        """What the answers that are kept take in memory, in bytes."""
        return self._size

    @property
    def count(self) -> int:
        """How many answers are kept."""
        return len(self._kept)

    def find(self, key: bytes) -> CachedAnswer | None:
        """The answer that is kept, if it has not expired."""
        answer = self._kept.get(key)
        if answer is None:
            return None
        if answer.expires_ms <= self._clock.now_ms():
            self._forget(key)
            return None
        self._kept.move_to_end(key)
        return answer

    def flight(self, key: bytes) -> Flight | None:
        """The answer that is generated just now, to wait for."""
        return self._flights.get(key)

    def take_off(
        self,
        key: bytes,
        *,
        account_id: int,
        ttl_ms: int,
        recording_id: str,
        end_user: str | None = None,
    ) -> Flight:
        """The caller generates an answer from here on, and ends the flight.

        One that flies already goes on for those who wait for it, but will not be kept. Nobody
        waits for an answer where an equal one was too large shortly before.
        """
        flight = Flight(
            key,
            account_id=account_id,
            end_user=end_user,
            ttl_ms=ttl_ms,
            recording_id=recording_id,
            max_bytes=self._max_answer_bytes,
            clock=self._clock,
            ended=self._ended,
        )
        if self._is_alone(key):
            flight.fail()
        else:
            self._flights[key] = self._flying[recording_id] = flight
        return flight

    def forget_recording(
        self, account_id: int, recording_id: str, end_user: str | None = None
    ) -> bool:
        """Forget the answer that was generated for it, also one that is being generated.

        With ``end_user``, only that end user's. Whether there was any.
        """
        flight = self._flying.get(recording_id)
        key = self._by_recording.get(recording_id)
        kept = None if key is None else self._kept[key]
        for whose in (flight, kept):
            if whose is not None and whose.account_id != account_id:
                return False
            if whose is not None and end_user not in (None, whose.end_user):
                return False
        if flight is not None:
            flight.fail()
        if key is not None:
            self._forget(key)
        return flight is not None or key is not None

    def forget_expired(self) -> int:
        """Forget what has expired, a bounded number at a time; returns how many."""
        now_ms = self._clock.now_ms()
        forgotten = 0
        while forgotten < FORGET_AT_ONCE and self._forget_one_expired(now_ms):
            forgotten += 1
        return forgotten

    def _ended(self, flight: Flight, answer: CachedAnswer | None) -> None:
        if self._flying.get(flight.recording_id) is flight:
            del self._flying[flight.recording_id]
        is_newest = self._flights.get(flight.key) is flight
        if is_newest:
            del self._flights[flight.key]
        if flight.is_too_large:
            self._leave_alone(flight.key)
        elif is_newest and answer is not None:
            self._keep(flight.key, answer)

    def _keep(self, key: bytes, answer: CachedAnswer) -> None:
        now_ms = self._clock.now_ms()
        if answer.expires_ms <= now_ms or answer.size > self._max_bytes:
            return
        if key in self._kept:
            self._forget(key)
        while self._size + answer.size > self._max_bytes:
            if not self._forget_one_expired(now_ms):
                self._forget(next(iter(self._kept)))
        self._kept[key] = answer
        self._by_recording[answer.recording_id] = key
        self._size += answer.size
        self._note_expiry(key, answer)

    def _forget(self, key: bytes) -> None:
        answer = self._kept.pop(key)
        if self._by_recording.get(answer.recording_id) == key:
            del self._by_recording[answer.recording_id]
        self._size -= answer.size

    def _note_expiry(self, key: bytes, answer: CachedAnswer) -> None:
        """What was forgotten stays in the heap until its time, or until it is half of it."""
        if len(self._expiries) > 2 * len(self._kept) + 100:
            self._expiries = [(kept.expires_ms, key) for key, kept in self._kept.items()]
            heapq.heapify(self._expiries)
        else:
            heapq.heappush(self._expiries, (answer.expires_ms, key))

    def _forget_one_expired(self, now_ms: int) -> bool:
        """Forget an answer that has expired. False if there is none."""
        expiries = self._expiries
        while expiries and expiries[0][0] <= now_ms:
            expires_ms, key = heapq.heappop(expiries)
            answer = self._kept.get(key)
            if answer is not None and answer.expires_ms == expires_ms:
                self._forget(key)
                return True
        return False

    def _is_alone(self, key: bytes) -> bool:
        until_ms = self._alone.get(key)
        if until_ms is None:
            return False
        if self._clock.now_ms() < until_ms:
            return True
        del self._alone[key]
        return False

    def _leave_alone(self, key: bytes) -> None:
        """Do not have everybody wait, one after another, for what cannot be kept for them."""
        self._alone[key] = self._clock.now_ms() + ALONE_MS
        self._alone.move_to_end(key)
        if len(self._alone) > MAX_ALONE:
            self._alone.popitem(last=False)
