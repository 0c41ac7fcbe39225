"""Failed attempts to come in, by where they come from: whoever guesses keys is slowed and noticed.

A source is an address, or the /64 of an IPv6 address, because that is what one customer of a
network is given. So many failed attempts are free at once, and so many come back a minute; beyond,
nothing is looked up for the source any more. Attempts whose outcome is open count as failed until
it is known: those that would go beyond wait for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import OrderedDict, deque
from typing import Final

from bandari.domain.outcome import Deny, Reason
from bandari.service.ports import Clock, Metrics

AT_ONCE: Final = 20
PER_MINUTE: Final = 20
MAX_SOURCES: Final = 100_000

_MINUTE_NS: Final = 60_000_000_000
_EACH_NS: Final = _MINUTE_NS // PER_MINUTE

_log = logging.getLogger(__name__)


class _Source:
    """One source's attempts. ``paid_ns`` is when the last of its failures will have come back."""

    __slots__ = ("logged_ns", "name", "open", "paid_ns", "refused", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.paid_ns = 0
        self.open = 0
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.refused = 0
        self.logged_ns: int | None = None

    def left(self, now_ns: int) -> int:
        """How many attempts it has left."""
        return AT_ONCE - max(0, -(-(self.paid_ns - now_ns) // _EACH_NS))

    def wake(self, count: int) -> None:
        while count > 0 and self.waiting:
            waiter = self.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1


class Attempt:
    """An attempt that was let through. ``end`` it, whatever happens."""

    __slots__ = ("_guesses", "_source")

    def __init__(self, guesses: Guesses, source: _Source) -> None:
        self._guesses = guesses
        self._source = source

    def end(self, *, failed: bool) -> None:
        """Its outcome is known."""
        self._guesses.end(self._source, failed=failed)


class Guesses:
    """Counts failed attempts. ``source`` is an address as text, or empty where there is none."""

    def __init__(self, clock: Clock, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._metrics = metrics
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    async def attempt(self, address: str) -> Attempt | Deny:
        """Let an attempt through, or say that its source has failed too often.

        Waits while as many attempts are open as the source has left.
        """
        source = self._source_of(address)
        while True:
            now_ns = self._clock.monotonic_ns()
            left = source.left(now_ns)
            if left <= 0:
                return self._refuse(source, now_ns)
            if source.open < left:
                source.open += 1
                return Attempt(self, source)
            await self._turn(source)

    def failed(self, address: str) -> Deny | None:
        """Count an attempt that has failed already; what is to be said if it was one too many."""
        source = self._source_of(address)
        now_ns = self._clock.monotonic_ns()
        if source.left(now_ns) <= 0:
            return self._refuse(source, now_ns)
        self._count(source, now_ns)
        return None

    def end(self, source: _Source, *, failed: bool) -> None:
        """For an ``Attempt``."""
        now_ns = self._clock.monotonic_ns()
        source.open -= 1
        if failed:
            self._count(source, now_ns)
        source.wake(1 if source.left(now_ns) > 0 else len(source.waiting))
        if not source.open and not source.waiting and source.paid_ns <= now_ns:
            self._forget(source)

    async def _turn(self, source: _Source) -> None:
        waiter = asyncio.get_running_loop().create_future()
        source.waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                source.wake(1)  # it was his turn: it is the next one's
            raise

    def _count(self, source: _Source, now_ns: int) -> None:
        source.paid_ns = max(source.paid_ns, now_ns) + _EACH_NS

    def _refuse(self, source: _Source, now_ns: int) -> Deny:
        if self._metrics is not None:
            self._metrics.guess_refused()
        source.refused += 1
        if source.logged_ns is None or now_ns - source.logged_ns >= _MINUTE_NS:
            _log.warning(
                "too many failed attempts to come in",
                extra={"source": source.name or "unknown", "refused": source.refused},
            )
            source.logged_ns, source.refused = now_ns, 0
        wait_ns = source.paid_ns - (AT_ONCE - 1) * _EACH_NS - now_ns
        return Deny(
            Reason.TOO_MANY_FAILURES,
            "Too many requests with a key that does not open have come from your address. Wait, "
            "and check the key.",
            retry_after_ms=-(-wait_ns // 1_000_000),
        )

    def _source_of(self, address: str) -> _Source:
        name = network_of(address)
        source = self._sources.get(name)
        if source is None:
            source = self._sources[name] = _Source(name)
            if len(self._sources) > MAX_SOURCES:
                self._sources.popitem(last=False)
        else:
            self._sources.move_to_end(name)
        return source

    def _forget(self, source: _Source) -> None:
        """Where nothing has failed there is nothing to remember."""
        if self._sources.get(source.name) is source:
            del self._sources[source.name]


def network_of(address: str) -> str:
    """What counts as one source: the address, or its /64 if it is one of IPv6."""
    if ":" not in address:
        return address
    try:
        number = int(ipaddress.IPv6Address(address))
    except ValueError:
        return address
    return f"{ipaddress.IPv6Address(number >> 64 << 64)}/64"
