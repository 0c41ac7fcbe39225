"""What one answer claims of the limits that it falls under: reserved before, settled after.

A claim ends once: settled for what was used, or released. What was used is booked in all counters
of those who asked, also in those that were made after the claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from bandari.domain.limits import Allotment, Places, Window, least_left
from bandari.domain.outcome import Allow
from bandari.domain.pricing import ceiling_for, output_tokens_within
from bandari.service.ports import Clock
from bandari.service.tallies import Tally, Terms
from bandari.service.wanted import Wanted


class Claims(Protocol):
    """Where a claim was made."""

    clock: Clock

    def tallies_of(self, wanted: Wanted) -> Sequence[Tally]:
        """All that count what such a request uses, whether they limit it or not."""
        ...

    def begin_posting(self, claim: Claim) -> None: ...

    def end_posting(self, claim: Claim) -> None: ...


class Reserved:
    """The counters that a claim reserves of. ``requests`` are those to tell of, if the door has not
    told of them.
    """

    __slots__ = ("places", "quotas", "requests", "spends", "terms", "windows")

    def __init__(
        self,
        terms: Sequence[Terms] = (),
        windows: Sequence[Window] = (),
        allotments: Sequence[Allotment] = (),
        places: Sequence[Places] = (),
        requests: Sequence[Window] = (),
    ) -> None:
        self.terms = terms
        self.requests = requests
        self.windows = windows
        self.places = places
        self.quotas: Sequence[Allotment] = ()
        self.spends: Sequence[Allotment] = ()
        if allotments:
            self.quotas = [each for each in allotments if not each.asset]
            self.spends = [each for each in allotments if each.asset]


NOTHING: Final = Reserved()


class Claim:
    """``tokens``, and ``amount`` of the card's asset, are reserved: 0 where nothing limits them.

    ``reach`` is how long the answer may become by what is left of quotas and spend limits, in
    tokens per choice: as long as it was asked to, where they cover that.
    """

    __slots__ = (
        "_booked",
        "_claims",
        "_has_ended",
        "_reserved",
        "amount",
        "reach",
        "tokens",
        "wanted",
    )

    def __init__(
        self, claims: Claims, wanted: Wanted, reach: int, reserved: Reserved = NOTHING
    ) -> None:
        self._claims = claims
        self._reserved = reserved
        self._booked = 0
        self._has_ended = False
        self.wanted = wanted
        self.reach = reach
        self.tokens = self.amount = 0

    def reserve(self, input_tokens: int, output_tokens: int) -> None:
        """Take it, and a place: that there is room has been seen."""
        for places in self._reserved.places:
            places.take()
        self._hold(input_tokens + output_tokens, self._ceiling(input_tokens, output_tokens))

    def shrink(self, input_tokens: int, output_tokens: int) -> None:
        """It cannot become more than that: give the rest back. Before anything is generated."""
        if self._reserved is NOTHING:
            return
        tokens = min(self.tokens, input_tokens + output_tokens)
        amount = min(self.amount, self._ceiling(input_tokens, output_tokens))
        self._hold(tokens, amount)

    def _ceiling(self, input_tokens: int, output_tokens: int) -> int:
        """The most that so many tokens can cost, where money is limited."""
        if not self._reserved.spends:
            return 0
        return ceiling_for(self.wanted.card, input_tokens, output_tokens)

    def _hold(self, tokens: int, amount: int) -> None:
        """Have so much reserved from here on."""
        more, dearer, unbooked = tokens - self.tokens, amount - self.amount, self._unbooked
        self.tokens, self.amount = tokens, amount
        for window in self._reserved.windows:
            window.reserve(self._unbooked - unbooked)
        for quota in self._reserved.quotas:
            quota.reserve(more)
        for spend in self._reserved.spends:
            spend.reserve(dearer)

    @property
    def _unbooked(self) -> int:
        """What is still reserved in windows."""
        unbooked = self.tokens - self._booked
        return unbooked if unbooked > 0 else 0

    def covered_output(self, input_tokens: int) -> int | None:
        """Output tokens, over all choices, that are reserved; None where nothing limits them."""
        covered = (
            self.tokens - input_tokens if self._reserved.windows or self._reserved.quotas else None
        )
        if self._reserved.spends:
            paid = output_tokens_within(self.wanted.card, input_tokens, self.amount)
            if paid is not None:
                covered = paid if covered is None else min(covered, paid)
        return covered

    def grow(self, input_tokens: int, wanted: int, least: int) -> int:
        """Reserve for ``wanted`` output tokens, or for as many as there is room for.

        Returns for how many: 0, and nothing more is reserved, if there is no room for ``least``.
        """
        if self._reserved is NOTHING:
            return wanted
        now_ns, now_ms = self._claims.clock.monotonic_ns(), self._claims.clock.now_ms()
        output_tokens = wanted
        # What has been booked beyond the reservation is in the window already.
        begun = max(self.tokens, self._booked)
        for window in self._reserved.windows:
            output_tokens = min(output_tokens, begun + window.remaining(now_ns) - input_tokens)
        for quota in self._reserved.quotas:
            output_tokens = min(output_tokens, self.tokens + quota.left(now_ms) - input_tokens)
        for spend in self._reserved.spends:
            amount = self.amount + spend.left(now_ms)
            paid = output_tokens_within(self.wanted.card, input_tokens, amount)
            if paid is not None:
                output_tokens = min(output_tokens, paid)
        if output_tokens < least:
            return 0
        tokens = max(self.tokens, input_tokens + output_tokens)
        amount = max(self.amount, self._ceiling(input_tokens, output_tokens))
        self._hold(tokens, amount)
        return output_tokens

    def progress(self, used_tokens: int) -> None:
        """So much was used by now: from here on it drains from the windows.

        Quotas and spend limits, from which nothing drains, wait for the end.
        """
        if used_tokens <= self._booked:
            return
        now_ns, unbooked = self._claims.clock.monotonic_ns(), self._unbooked
        more, self._booked = used_tokens - self._booked, used_tokens
        for window in self._reserved.windows:
            window.settle(unbooked - self._unbooked, more, now_ns)

    def begin_posting(self) -> None:
        """From here on the store may know of what will be booked at the end."""
        if not self._has_ended:
            self._claims.begin_posting(self)

    def settle(self, tokens: int, amount: int) -> None:
        """End it: so much was used and charged. Harmless when it has ended."""
        if self._has_ended:
            return
        self._has_ended = True
        counting = self._claims.tallies_of(self.wanted)
        # Those that something is reserved of are among them: none is let go while it is held.
        if counting:
            self._book(tokens, amount, counting)
        self._leave()

    def _book(self, tokens: int, amount: int, counting: Iterable[Tally]) -> None:
        clock = self._claims.clock
        now_ns, now_ms = clock.monotonic_ns(), clock.now_ms()
        # What was booked too much while it ran has to drain: time may have made its room already.
        rest = max(0, tokens - self._booked)
        for window in self._reserved.windows:
            window.settle(self._unbooked, rest, now_ns)
        for quota in self._reserved.quotas:
            quota.settle(self.tokens, tokens, now_ms)
        for spend in self._reserved.spends:
            spend.settle(self.amount, amount, now_ms)
        for tally in counting:
            if tally.has_dormant or tally.terms not in self._reserved.terms:
                self._book_elsewhere(tally, tokens, amount, now_ns, now_ms)

    def release(self) -> None:
        """End it: nothing was used. Harmless when it has ended."""
        if self._has_ended:
            return
        self._has_ended = True
        for window in self._reserved.windows:
            window.release(self._unbooked)
        for quota in self._reserved.quotas:
            quota.release(self.tokens)
        for spend in self._reserved.spends:
            spend.release(self.amount)
        self._leave()

    def _leave(self) -> None:
        for places in self._reserved.places:
            places.leave()
        self._claims.end_posting(self)

    def _book_elsewhere(
        self, tally: Tally, tokens: int, amount: int, now_ns: int, now_ms: int
    ) -> None:
        """In the counters that nothing was reserved of: made since, or not in force."""
        held = self._reserved
        reserved = (*held.windows, *held.quotas, *held.spends)
        for counter in tally.counters.values():
            if counter in reserved or isinstance(counter, Places):
                continue
            if isinstance(counter, Window):
                if not tally.counts_requests(counter):
                    counter.book(tokens, now_ns)
            elif not counter.asset:
                counter.book(tokens, now_ms)
            elif counter.asset == self.wanted.card.asset:
                counter.book(amount, now_ms)

    def standing(self) -> Allow | None:
        """What is left at this moment of the limits of tokens, and of requests where the door has
        not told all; None where nothing is limited.
        """
        if self._reserved is NOTHING:
            return None
        now_ns = self._claims.clock.monotonic_ns()
        return Allow(
            least_left(self._reserved.requests, now_ns), least_left(self._reserved.windows, now_ns)
        )
