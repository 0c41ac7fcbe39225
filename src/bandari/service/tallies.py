"""Who has used how much: a tally for each subject that is limited, with a counter for each limit.

Kept in memory and bounded. What a counter allows is in ``domain.limits``; which counters a request
has to pass is the ``Limiter``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Mapping
from typing import Final

from bandari.domain.allowance import UNBOUNDED, UNLIMITED, Limits, Quota, Subject
from bandari.domain.faults import Overloaded
from bandari.domain.limits import (
    DAY_NS,
    HOUR_NS,
    MINUTE_NS,
    Allotment,
    Places,
    Span,
    Window,
)
from bandari.service.ports import Clock

MAX_TALLIES: Final = 100_000
"""How many of one kind of subject are followed at once."""

LOOKED_AT: Final = 256
"""How many are looked at for one that may go."""

RETRY_AFTER_MS: Final = 1000

Counter = Window | Allotment | Places
Layers = tuple[Limits, ...]

_AT_THE_DOOR: Final = (Subject.KEY, Subject.ACCOUNT, Subject.GROUP)
_PERIODS: Final = (("minute", MINUTE_NS), ("hour", HOUR_NS), ("day", DAY_NS))


class Terms:
    """The counters that a subject's requests have to pass, by kind. Never changed once made."""

    __slots__ = ("is_claimed", "lasting", "places", "quotas", "requests", "spends", "tokens")

    def __init__(
        self,
        requests: tuple[Window, ...] = (),
        tokens: tuple[Window, ...] = (),
        quotas: tuple[Allotment, ...] = (),
        spends: tuple[Allotment, ...] = (),
        places: Places | None = None,
    ) -> None:
        self.requests = requests
        self.tokens = tokens
        self.quotas = quotas
        self.spends = spends
        self.places = places
        self.lasting = tuple(window for window in requests if window.period_ns != MINUTE_NS)
        """Of ``requests``, those that count for longer than a restart takes."""
        self.is_claimed = bool(tokens or quotas or spends or places or self.lasting)
        """Whether the door alone, which waits for nothing, cannot see to all of them."""

    @property
    def count(self) -> int:
        return (
            len(self.requests)
            + len(self.tokens)
            + len(self.quotas)
            + len(self.spends)
            + (self.places is not None)
        )


NO_TERMS: Final = Terms()


class Tally:
    """One subject's counters. A limit that is said no more keeps its counter, for its return.

    ``terms`` are those of the layers and the quota that it was agreed by last.
    """

    __slots__ = (
        "asks_the_store",
        "counters",
        "counts_usage",
        "cut_ms",
        "has_allotments",
        "has_dormant",
        "identity",
        "in_doubt",
        "is_at_the_door",
        "is_claimed",
        "layers",
        "loading",
        "needs_load",
        "quota",
        "read_ns",
        "subject",
        "terms",
    )

    def __init__(self, subject: Subject, identity: tuple[int | str, ...]) -> None:
        self.subject = subject
        self.identity = identity
        self.is_at_the_door = subject in _AT_THE_DOOR
        """Whether its requests are counted before it is known what is asked."""
        self.layers: Layers = ()
        self.quota = UNBOUNDED
        self.terms = NO_TERMS
        self.counters: dict[str, Counter] = {}
        self.loading: asyncio.Task[None] | None = None
        self.counts_usage = self.is_claimed = False
        """Whether there is something to see to behind the door."""
        self.has_allotments = self.has_dormant = self.needs_load = False
        """Whether there is a counter that does not know what was used before a restart."""
        self.asks_the_store = False
        """Whether there is one that has to ask now, or now and then."""
        self.read_ns = 0
        self.cut_ms = 0
        self.in_doubt = False

    def agree(self, layers: Layers, quota: Quota, clock: Clock, *, is_loaded: bool) -> None:
        """From here on these are the limits; what was used is kept."""
        self.layers, self.quota = layers, quota
        self.terms = _Agreement(self, clock, is_loaded).terms(layers, quota)
        self.is_claimed = self.terms.is_claimed or not self.is_at_the_door
        self.has_dormant = len(self.counters) > self.terms.count
        self.counts_usage = any(
            isinstance(each, Allotment)
            or (isinstance(each, Window) and not self.counts_requests(each))
            for each in self.counters.values()
        )
        self.note_loads()

    def note_loads(self) -> None:
        """See which counters know what was used before they were made."""
        counters = [each for each in self.counters.values() if not isinstance(each, Places)]
        self.needs_load = not all(counter.is_loaded for counter in counters)
        self.has_allotments = any(isinstance(counter, Allotment) for counter in counters)
        self.asks_the_store = self.needs_load or self.has_allotments

    def counts_requests(self, window: Window) -> bool:
        return window.name.startswith(f"{self.subject}.requests_")

    @property
    def is_held(self) -> bool:
        """Whether somebody is at it: it is read, or an answer has reserved something."""
        return self.loading is not None or any(map(_is_held, self.counters.values()))

    def is_empty(self, now_ns: int) -> bool:
        """Whether nothing that was used counts any more."""
        return all(_is_empty(counter, now_ns) for counter in self.counters.values())

    def can_be_told_again(self, now_ns: int) -> bool:
        """Whether the store knows all that counts: what counts for a minute it is not asked."""
        return all(
            counter.is_idle(now_ns)
            for counter in self.counters.values()
            if isinstance(counter, Window) and counter.period_ns == MINUTE_NS
        )


def _is_held(counter: Counter) -> bool:
    return counter.taken > 0 if isinstance(counter, Places) else counter.outstanding > 0


def _is_empty(counter: Counter, now_ns: int) -> bool:
    if isinstance(counter, Window):
        return counter.is_idle(now_ns)
    return isinstance(counter, Places) or not counter.used


class _Agreement:
    """Finds the counters of a tally for its limits, and makes those that are missing."""

    def __init__(self, tally: Tally, clock: Clock, is_loaded: bool) -> None:
        self._tally = tally
        self._now_ms = clock.now_ms()
        self._now_ns = clock.monotonic_ns()
        self._is_loaded = is_loaded

    def terms(self, layers: Layers, quota: Quota) -> Terms:
        places = _first(layers, "concurrent_requests")
        return Terms(
            self._windows(layers, "requests"),
            self._windows(layers, "tokens"),
            tuple(self._quotas(quota)),
            tuple(self._spends(layers)),
            None if places is None else self._places(places),
        )

    def _windows(self, layers: Layers, what: str) -> tuple[Window, ...]:
        return tuple(
            self._window(f"{what}_per_{period}", limit, period_ns)
            for period, period_ns in _PERIODS
            if (limit := _first(layers, f"{what}_per_{period}")) is not None
        )

    def _window(self, name: str, limit: int, period_ns: int) -> Window:
        name = f"{self._tally.subject}.{name}"
        window = self._tally.counters.get(name)
        if window is None:
            window = self._tally.counters[name] = Window(name, limit, period_ns, self._now_ns)
            # What counts for a minute only is not worth asking the store.
            window.is_loaded = self._is_loaded or period_ns == MINUTE_NS
        assert isinstance(window, Window)
        window.set_limit(limit, self._now_ns)
        return window

    def _quotas(self, quota: Quota) -> Iterator[Allotment]:
        limits = ((Span.LIFETIME, quota.lifetime), (Span.MONTH, quota.per_month))
        for span, limit in (*limits, (Span.DAY, quota.per_day)):
            if limit is not None:
                name = "lifetime" if span is Span.LIFETIME else f"per_{span.value}"
                yield self._allotment(f"quota.{name}", limit, span)

    def _spends(self, layers: Layers) -> Iterator[Allotment]:
        for span in (Span.MONTH, Span.DAY):
            amounts: dict[str, int] = {}
            for layer in reversed(layers):
                said: Mapping[str, int] = getattr(layer, f"spend_per_{span.value}")
                amounts.update(said)
            for asset, limit in amounts.items():
                yield self._allotment(f"spend_per_{span.value}.{asset}", limit, span, asset)

    def _allotment(self, name: str, limit: int, span: Span, asset: str = "") -> Allotment:
        name = f"{self._tally.subject}.{name}"
        allotment = self._tally.counters.get(name)
        if allotment is None:
            allotment = Allotment(name, limit, span, self._now_ms, asset)
            allotment.is_loaded = self._is_loaded
            self._tally.counters[name] = allotment
        assert isinstance(allotment, Allotment)
        allotment.limit = limit
        return allotment

    def _places(self, limit: int) -> Places:
        name = f"{self._tally.subject}.concurrent_requests"
        places = self._tally.counters.get(name)
        if places is None:
            places = self._tally.counters[name] = Places(name, limit)
        assert isinstance(places, Places)
        places.limit = limit
        return places


def _first(layers: Layers, name: str) -> int | None:
    """What the first of the layers says that says something."""
    for layer in layers:
        limit: int | None = getattr(layer, name)
        if limit is not None:
            return limit
    return None


class Tallies:
    """All tallies of one kind of subject. ``is_loaded``: there is no store to ask."""

    __slots__ = ("_clock", "_is_loaded", "_subject", "by_key")

    def __init__(self, subject: Subject, clock: Clock, *, is_loaded: bool) -> None:
        self._subject = subject
        self._clock = clock
        self._is_loaded = is_loaded
        self.by_key: dict[Hashable, Tally] = {}

    def __len__(self) -> int:
        return len(self.by_key)

    def of(self, key: Hashable, layers: Layers, quota: Quota = UNBOUNDED) -> Tally | None:
        """The tally by which somebody is limited, or None who is not.

        Raises ``Overloaded`` where one more cannot be followed.
        """
        tally = self.by_key.get(key)
        if tally is None:
            if quota == UNBOUNDED and all(layer == UNLIMITED for layer in layers):
                return None
            self._make_room()
            identity = key if isinstance(key, tuple) else (key,)
            tally = self.by_key[key] = Tally(self._subject, identity)
        # Comparing tuples, Python looks first whether their items are the very same.
        if layers != tally.layers or (quota is not tally.quota and quota != tally.quota):
            tally.agree(layers, quota, self._clock, is_loaded=self._is_loaded)
        return tally

    def _make_room(self) -> None:
        """Let one go that is not missed; those that were looked at in vain are the last next time.

        Best is one that nothing counts of any more, else one that the store can tell of again.
        """
        if len(self.by_key) < MAX_TALLIES:
            return
        now_ns = self._clock.monotonic_ns()
        second: Hashable | None = None
        for _ in range(min(LOOKED_AT, len(self.by_key))):
            key = next(iter(self.by_key))
            tally = self.by_key.pop(key)
            if not tally.is_held:
                if tally.is_empty(now_ns):
                    return
                if second is None and not self._is_loaded and tally.can_be_told_again(now_ns):
                    second = key
            self.by_key[key] = tally
        if second is None:
            raise Overloaded(retry_after_ms=RETRY_AFTER_MS)
        del self.by_key[second]
