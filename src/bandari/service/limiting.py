"""Limits of groups, kept in memory: which request of which key may pass now."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from bandari.domain.catalogue import Group
from bandari.domain.keys import Principal
from bandari.domain.limits import RequestRate, admit
from bandari.domain.outcome import Allow, Deny
from bandari.service.ports import Clock

MAX_KEYS = 100_000
_UNLIMITED = Allow()


class Limiter:
    """Counts requests per key against the rate of the key's group.

    A group that is not configured has the limits of ``default``.
    """

    def __init__(self, groups: Mapping[str, Group], clock: Clock) -> None:
        self._rates = {
            name: RequestRate(group.requests_per_minute)
            for name, group in groups.items()
            if group.requests_per_minute is not None
        }
        self._groups = frozenset(groups)
        self._clock = clock
        self._arrivals: OrderedDict[int, int] = OrderedDict()

    def admit(self, principal: Principal) -> Allow | Deny:
        group = principal.group if principal.group in self._groups else "default"
        rate = self._rates.get(group)
        if rate is None:
            return _UNLIMITED
        key_id = principal.key_id
        outcome, arrival_ns = admit(rate, self._arrivals.get(key_id, 0), self._clock.monotonic_ns())
        self._arrivals[key_id] = arrival_ns
        self._arrivals.move_to_end(key_id)
        if len(self._arrivals) > MAX_KEYS:
            self._arrivals.popitem(last=False)
        return outcome
