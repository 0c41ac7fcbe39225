"""Whether a request may claim what it wants, and how much of it: seen at one moment.

Nothing here waits and nothing is changed, so that what is seen still holds when it is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from bandari.domain.limits import Allotment, Places, Window
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
from bandari.service.tallies import Tally, Terms
from bandari.service.wanted import Wanted


class Attempt:
    """``reach`` and ``ahead`` are how long the answer may become, and what of it is reserved.

    ``tokens``, ``allotments`` and ``places`` are the counters to reserve of.

    ``own_requests`` are the windows of requests that the door knew nothing of, ``overfull`` those
    that it filled before it was known what had been used.
    """

    def __init__(self, wanted: Wanted, tallies: Sequence[Tally], clock: Clock) -> None:
        self.wanted = wanted
        self.now_ns = clock.monotonic_ns()
        self.terms: list[Terms] = []
        self.requests: list[Window] = []
        self.own_requests: list[Window] = []
        self.overfull: list[Window] = []
        self.tokens: list[Window] = []
        self.allotments: list[Allotment] = []
        self.places: list[Places] = []
        self.refusals: list[Deny] = []
        self.may_depend_on_the_bound = False
        for tally in tallies:
            self._gather(tally)
        for window in self.overfull:
            self.refusals.append(overfull_refuses(window, self.now_ns))
        for window in self.own_requests:
            self._note(window_refuses(window, 1, self.now_ns))
        for places in self.places:
            self._note(places_refuse(places))
        self.reach = wanted.whole
        if self.allotments:
            self._see_allotments(clock.now_ms())
        self._see_windows()

    def _gather(self, tally: Tally) -> None:
        """Its counters, as far as they count what is wanted."""
        terms = tally.terms
        self.terms.append(terms)
        self.requests += terms.requests
        if not tally.is_at_the_door:
            self.own_requests += terms.requests
        elif terms.lasting:
            self.overfull += (each for each in terms.lasting if each.remaining(self.now_ns) < 0)
        self.tokens += terms.tokens
        self.allotments += terms.quotas
        if terms.spends:
            asset = self.wanted.card.asset
            self.allotments += (spend for spend in terms.spends if spend.asset == asset)
        if terms.places is not None:
            self.places.append(terms.places)

    def _see_allotments(self, now_ms: int) -> None:
        """How far quotas and spend limits reach."""
        wanted = self.wanted
        reach, tightest = wanted.whole, None
        shortest = min(1, wanted.whole)
        for allotment in self.allotments:
            length = self._reach_of(allotment, now_ms)
            if length < shortest:
                needed = self._needed_of(allotment, shortest)
                self.refusals.append(allotment_refuses(allotment, needed, now_ms))
                self.may_depend_on_the_bound = True
            elif length < reach:
                reach, tightest = length, allotment
        if tightest is not None:
            self.may_depend_on_the_bound = True
            if wanted.is_useless(reach):
                self.refusals.append(cut_too_short(tightest, reach))
        self.reach = reach

    def _reach_of(self, allotment: Allotment, now_ms: int) -> int:
        """Tokens per choice that what is left of it covers; below 0: not even the prompt."""
        wanted, left = self.wanted, allotment.left(now_ms)
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
            roomy = (min([window.limit for window in self.tokens]) - prompt) // choices
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
