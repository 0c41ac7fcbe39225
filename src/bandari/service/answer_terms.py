"""How an answer is recorded and kept, beside what is asked: values that its request, its key, its
model and the settings decide together.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from bandari.domain.catalogue import Model
from bandari.domain.faults import NotCached
from bandari.domain.keys import Principal
from bandari.domain.recordings import CacheUse
from bandari.service.durable import Durability


class AnswerTerms(Struct, frozen=True, kw_only=True):
    """``window_s`` is the resume window, None where it goes on to its end, whoever reads.

    ``durable`` is None where its frames are in memory only. ``cache`` is what the request says of
    it, None where it says nothing; ``may_repeat`` is false where the cache is out of question.
    """

    surface: str = ""
    window_s: int | None = 0
    durable: Durability | None = None
    cache: CacheUse | None = None
    may_repeat: bool = True


PLAIN: Final = AnswerTerms()


def cache_use(terms: AnswerTerms, principal: Principal, model: Model) -> CacheUse:
    """What the request says, else its key, else its model.

    Raises ``NotCached`` where nothing is ever in the cache and nothing else is wanted.
    """
    if not terms.may_repeat:
        if terms.cache is CacheUse.ONLY:
            raise NotCached
        return CacheUse.OFF
    return terms.cache or principal.policy.cache or model.cache


def cache_ttl_s(principal: Principal, model: Model, otherwise: int) -> int:
    """How long the answer is kept for requests like it: what the key says, else the model."""
    return principal.policy.cache_ttl_s or model.cache_ttl_s or otherwise
