"""What a world knows of its answers, and the terms that each of them had: for those who judge.

The terms are worked out here again from what was asked and what is set (``docs/streams.md``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.simulation.books_model import Ended
from tests.simulation.disk import Disk
from tests.simulation.streams.answers import Answer
from tests.simulation.streams.draws import CACHE_TTL_S
from tests.simulation.streams.servers import Keeping
from tests.simulation.trace import Trace

from bandari.domain.catalogue import Model
from bandari.domain.recordings import CacheUse

SLACK_S = 1.0
"""What is due at an instant may be noticed so much later, or earlier."""

_AMPLE_BYTES = 2**20


class Terms:
    """``is_tight``: servers have so little room that what has ended may go early."""

    def __init__(self, keeping: Keeping, models: Sequence[Model], *, is_tight: bool) -> None:
        self.is_tight = is_tight
        self._streams = keeping.streams
        self._models = {model.id: model for model in models}
        self._least_cache_bytes = min(keeping.max_cache_bytes, keeping.max_cached_answer_bytes)

    @property
    def keeps_answers(self) -> bool:
        return self._streams.keep != "off"

    @property
    def key_s(self) -> float:
        """How long an Idempotency-Key is taken."""
        return self._streams.idempotency_hours * 3600.0

    @property
    def has_ample_cache(self) -> bool:
        """Whether no answer of these worlds is too large for it, nor all of them."""
        return self._least_cache_bytes >= _AMPLE_BYTES

    def is_durable(self, answer: Answer) -> bool:
        wish = answer.wish
        return wish.key is not None or wish.is_stored or self._streams.keep == "database"

    def window_s(self, answer: Answer) -> float:
        """Without an end where it goes on to its own, whoever reads."""
        settings, wish = self._streams, answer.wish
        if not self.keeps_answers:
            return 0.0
        if wish.is_background:
            return math.inf
        window_s = wish.window_s
        if window_s is None:
            window_s = answer.principal.policy.resume_window_s
        if window_s is None:
            window_s = settings.resume_window_s.get(wish.scope, 0)
        if wish.key is not None and wish.window_s is None:
            window_s = max(window_s, settings.keyed_resume_window_s)
        return float(min(window_s, settings.max_resume_window_s))

    def cache_use(self, answer: Answer) -> CacheUse:
        if not self.keeps_answers or answer.wish.is_background:
            return CacheUse.OFF
        model = self._models[answer.wish.request.model]
        return answer.wish.cache or answer.principal.policy.cache or model.cache

    def ttl_s(self, answer: Answer) -> float:
        """How long it is kept in the cache, if it is."""
        model = self._models[answer.wish.request.model]
        return answer.principal.policy.cache_ttl_s or model.cache_ttl_s or CACHE_TTL_S


@dataclass
class Record:
    """``answers`` is by the recording's id, ``deleting`` since when somebody tries to delete it."""

    disk: Disk
    trace: Trace
    now: Callable[[], float]
    terms: Terms
    answers: dict[str, Answer] = field(default_factory=dict)
    deleting: dict[str, float] = field(default_factory=dict)

    def ended(self, answer: Answer) -> Ended | None:
        """How its hold ended, if it has, by the model of the books."""
        return self.disk.model.ended.get(answer.hold_id)
