"""Whether a request may claim what it wants, and how much of it: seen at one moment.

Nothing here waits and nothing is changed, so that what is seen still holds when it is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bandari.domain.limits import MINUTE_NS, Allotment
from bandari.domain.outcome import Deny
from bandari.domain.pricing import ceiling_for, output_tokens_within
from bandari.service.limit_refusals import (
    allotment_refuses,
    cut_too_short,
    overfull_refuses,
    places_refuse,
    window_refuses,
)
from bandari.service.ports import Clock
from bandari.service.tallies import Tally
from bandari.service.wanted import Wanted


class Attempt:
    """``reach`` and ``ahead`` are how long the answer may become, and what of it is reserved.

    ``own_requests`` are the windows of requests that the door knew nothing of, ``overfull`` those
    that it filled before it was known what had been used.
    """

    def __init__(self, wanted: Wanted, tallies: Sequence[Tally], clock: Clock) -> None:
        self.wanted = wanted
        self.now_ns = clock.monotonic_ns()
        self._now_ms = clock.now_ms()
        self.terms = tuple(tally.terms for tally in tallies)
        self.requests = [window for terms in self.terms for window in terms.requests]
        self.tokens = [window for terms in self.terms for window in terms.tokens]
        late = [tally for tally in tallies if not tally.is_at_the_door]
        self.own_requests = [window for tally in late for window in tally.terms.requests]
        self.overfull = [
            window
            for tally in tallies
            if tally.is_at_the_door
            for window in tally.terms.requests
            if window.period_ns != MINUTE_NS and window.remaining(self.now_ns) < 0
        ]
        self.refusals = [overfull_refuses(window, self.now_ns) for window in self.overfull]
        self.may_depend_on_the_bound = False
        self._see_requests()
        self._see_allotments()
        self._see_windows()

    def _see_requests(self) -> None:
        for window in self.own_requests:
            self._note(window_refuses(window, 1, self.now_ns))
        for terms in self.terms:
            if terms.places is not None:
                self._note(places_refuse(terms.places))

    def _see_allotments(self) -> None:
        """How far quotas and spend limits reach."""
        wanted = self.wanted
        reach, tightest = wanted.whole, None
        shortest = min(1, wanted.whole)
        for allotment in self._allotments():
            length = self._reach_of(allotment)
            if length < shortest:
                needed = self._needed_of(allotment, shortest)
                self.refusals.append(allotment_refuses(allotment, needed, self._now_ms))
                self.may_depend_on_the_bound = True
            elif length < reach:
                reach, tightest = length, allotment
        if tightest is not None:
            self.may_depend_on_the_bound = True
            if wanted.is_useless(reach):
                self.refusals.append(cut_too_short(tightest, reach))
        self.reach = reach

    def _allotments(self) -> Iterable[Allotment]:
        for terms in self.terms:
            yield from terms.quotas
            for spend in terms.spends:
                if spend.asset == self.wanted.card.asset:
                    yield spend

    def _reach_of(self, allotment: Allotment) -> int:
        """Tokens per choice that what is left of it covers; below 0: not even the prompt."""
        wanted, left = self.wanted, allotment.left(self._now_ms)
        prompt = wanted.prompt.tokens
        if not allotment.asset:
            return (left - prompt) // wanted.choices
        paid = output_tokens_within(wanted.card, prompt, left)
        return wanted.whole if paid is None else paid // wanted.choices

    def _needed_of(self, allotment: Allotment, length: int) -> int:
        prompt, output = self.wanted.prompt.tokens, length * self.wanted.choices
        return ceiling_for(self.wanted.card, prompt, output) if allotment.asset else prompt + output

    def _see_windows(self) -> None:
        wanted = self.wanted
        prompt, choices = wanted.prompt.tokens, wanted.choices
        ahead = min(wanted.ahead, self.reach)
        if wanted.rolls and self.tokens:
            # What reaches ahead need not be more than the smallest window can ever hold.
            roomy = (min(window.limit for window in self.tokens) - prompt) // choices
            if 1 <= roomy < ahead and not wanted.is_useless(roomy):
                ahead = roomy
        self.ahead = ahead
        for window in self.tokens:
            refusal = window_refuses(window, prompt + ahead * choices, self.now_ns)
            if refusal is not None:
                self.refusals.append(refusal)
                self.may_depend_on_the_bound |= refusal.retry_after_ms is None

    def _note(self, refusal: Deny | None) -> None:
        if refusal is not None:
            self.refusals.append(refusal)
