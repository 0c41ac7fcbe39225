"""Keys and what accounts have said of their end users, in memory, for those who let requests in."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from tests.support.clock import SetClock
from tests.support.gates import Gate
from tests.support.recorded_metrics import RecordedMetrics

from bandari.domain import keys
from bandari.domain.accounts import AccountPolicy, EndUserTerms
from bandari.domain.allowance import Limits
from bandari.domain.catalogue import Group
from bandari.domain.keys import ApiKey, FoundKey, KeyPolicy
from bandari.service.access import Access
from bandari.service.groups import Groups
from bandari.service.guesses import Guesses
from bandari.service.ports import Clock, Metrics

PREFIX = "bd_test_"
KEY = keys.spell(PREFIX, b"k" * keys.SECRET_BYTES)
"""Key 3 of account 1, ``amina``."""


def a_key(**changes: Any) -> ApiKey:
    key = ApiKey(3, 1, "amina", "k", "default", "…", 0)
    return replace(key, **changes)


class KeyRing:
    """The ports ``Keys`` and ``Accounts``, as far as access needs them.

    ``asked`` has what was looked up: digests, and end users with their accounts.
    """

    def __init__(self) -> None:
        self.found: dict[bytes, FoundKey] = {}
        self.terms: dict[tuple[int, str], EndUserTerms] = {}
        self.asked: list[object] = []
        self.failing: Exception | None = None
        self.gate: Gate | None = None

    def add(
        self,
        text: str = KEY,
        key: ApiKey | None = None,
        *,
        assets: tuple[str, ...] = ("TOKEN",),
        policy: KeyPolicy | None = None,
        account_policy: AccountPolicy | None = None,
        **changes: Any,
    ) -> str:
        key = key or a_key()
        if policy is not None:
            key = replace(key, policy=policy)
        found = FoundKey(key, assets, account_policy or AccountPolicy())
        self.found[keys.digest(text)] = replace(found, **changes)
        return text

    async def find_key(self, digest: bytes) -> FoundKey | None:
        return await self._look_up(digest, lambda: self.found.get(digest))

    async def end_user_terms(self, account_id: int, name: str) -> EndUserTerms | None:
        return await self._look_up((account_id, name), lambda: self.terms.get((account_id, name)))

    async def _look_up(self, what: object, answer: Any) -> Any:
        self.asked.append(what)
        known = answer()
        if self.gate is not None:
            await self.gate.passing()
        if self.failing is not None:
            raise self.failing
        return known


def one_key() -> KeyRing:
    """With ``KEY`` in it."""
    ring = KeyRing()
    ring.add()
    return ring


def access_to(
    ring: KeyRing,
    clock: Clock | None = None,
    groups: Groups | None = None,
    metrics: Metrics | None = None,
) -> Access:
    clock = clock or SetClock()
    return Access(
        keys=ring,  # type: ignore[arg-type]
        accounts=ring,  # type: ignore[arg-type]
        groups=groups or Groups(),
        guesses=Guesses(clock, metrics or RecordedMetrics()),
        clock=clock,
        prefix=PREFIX,
    )


def rate_of(requests_per_minute: int | None) -> Groups:
    """Groups of which ``default`` limits each key to so many requests."""
    if requests_per_minute is None:
        return Groups()
    limits = Limits(requests_per_minute=requests_per_minute)
    return Groups({"default": Group(name="default", limits=limits)})
