"""What the models' own reports have taught about their tokenizers, target by target.

Learned anew by each process, with the last receipts for a start. Only estimates use it: an answer
whose tokens somebody counted is never charged by it.
"""

from __future__ import annotations

from collections.abc import Mapping

from bandari.domain.estimate import Experience, Ratios
from bandari.domain.ledger import Count
from bandari.domain.usage import CountRule

MAX_TARGETS = 1_000
"""Where clients may choose any model id, somebody will try them all."""


class Estimates:
    """``known`` is what earlier receipts show, by target (``provider:model``)."""

    def __init__(self, known: Mapping[str, Experience] | None = None) -> None:
        self._by_target = dict(known or {})

    def ratios(self, target: str) -> Ratios:
        """By which an answer of this target is estimated at the moment."""
        experience = self._by_target.get(target)
        return Ratios() if experience is None else experience.ratios

    def learn(self, target: str, count: Count) -> None:
        """Take note of a whole answer. Only what was reported teaches anything."""
        if count.rule is not CountRule.REPORTED or count.basis is None:
            return
        # What was learned last stands last, so that the longest unused is forgotten first.
        before = self._by_target.pop(target, None) or Experience()
        self._by_target[target] = before.plus(count.usage, count.basis)
        if len(self._by_target) > MAX_TARGETS:
            del self._by_target[next(iter(self._by_target))]
