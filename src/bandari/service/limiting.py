"""Limits of keys, accounts, groups, end users and models: which request may pass now.

Requests of the key, the account and the group are counted at the door, before anything is read.
All else is claimed when it is known what is asked. Whose limits apply is said here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from bandari.domain.allowance import UNBOUNDED, UNLIMITED, Subject
from bandari.domain.catalogue import Model
from bandari.domain.keys import Principal
from bandari.domain.limits import Window, least_left
from bandari.domain.outcome import Allow, Deny, LimitState
from bandari.service.claim_attempt import Attempt
from bandari.service.claims import Claim, Reserved
from bandari.service.limit_refusals import window_refuses, worst
from bandari.service.ports import Clock, Reports
from bandari.service.tallies import Tallies, Tally
from bandari.service.tally_history import History
from bandari.service.wanted import Wanted

_UNLIMITED: Final = Allow()


class Limiter:
    """``reports`` tell what was used before; ``refresh_ms`` is how old what other servers have
    booked may be, None where there are none.
    """

    def __init__(
        self, *, clock: Clock, reports: Reports | None = None, refresh_ms: int | None = None
    ) -> None:
        self.clock = clock
        self._history = (
            None if reports is None else History(reports, clock, refresh_ms, self._is_posting)
        )
        self._posting: dict[Claim, None] = {}
        is_loaded = reports is None
        self._keys = Tallies(Subject.KEY, clock, is_loaded=is_loaded)
        self._accounts = Tallies(Subject.ACCOUNT, clock, is_loaded=is_loaded)
        self._groups = Tallies(Subject.GROUP, clock, is_loaded=is_loaded)
        self._end_users = Tallies(Subject.END_USER, clock, is_loaded=is_loaded)
        self._models = Tallies(Subject.MODEL, clock, is_loaded=is_loaded)

    def admit(self, principal: Principal) -> Allow | Deny:
        """Count one request of the key, its account and its group, if all of them let it pass.

        Raises ``Overloaded`` where one more cannot be followed.
        """
        tallies = self._at_the_door(principal)
        if not tallies:
            return _UNLIMITED
        windows: list[Window] = []
        for tally in tallies:
            windows += tally.terms.requests
        if not windows:
            return _UNLIMITED
        now_ns = self.clock.monotonic_ns()
        for window in windows:
            if window.wait_ns(1, now_ns):
                refusals = [window_refuses(each, 1, now_ns) for each in windows]
                return _refusal([each for each in refusals if each], windows, (), now_ns)
        for window in windows:
            window.book(1, now_ns)
        return Allow(least_left(windows, now_ns))

    async def claim(self, wanted: Wanted) -> Claim | Deny:
        """Reserve what the answer may use, or say why not; a refusal reserves nothing.

        Raises ``StoreUnavailable`` where it cannot be known what was used before, ``Overloaded``
        where one more cannot be followed, and what the prompt's ``make_exact`` raises.
        """
        has_counted = False
        while True:
            tallies: Sequence[Tally] = self._limiting(wanted)
            if self._history is not None and _may_not_know_all(tallies):
                tallies = await self._up_to_date(
                    self._history, tallies, lambda: self._limiting(wanted)
                )
            if not _has_something_to_claim(tallies):
                return Claim(self, wanted, wanted.whole)
            attempt = Attempt(wanted, tallies, self.clock)
            if has_counted or not attempt.may_depend_on_the_bound:
                return self._taken(attempt)
            await wanted.prompt.make_exact()
            has_counted = True

    def _taken(self, attempt: Attempt) -> Claim | Deny:
        wanted, now_ns = attempt.wanted, attempt.now_ns
        if attempt.refusals:
            for window in attempt.overfull:
                window.take_back(1)
            return _refusal(attempt.refusals, attempt.requests, attempt.tokens, now_ns)
        for window in attempt.own_requests:
            window.book(1, now_ns)
        requests = attempt.requests if attempt.own_requests else ()
        reserved = Reserved(
            attempt.terms, attempt.tokens, attempt.allotments, attempt.places, requests
        )
        claim = Claim(self, wanted, attempt.reach, reserved)
        claim.reserve(wanted.prompt.tokens, attempt.ahead * wanted.choices)
        return claim

    async def states(self, principal: Principal) -> Sequence[LimitState]:
        """How the limits stand of the asker's own key, account and end user, but for quotas.

        Those that are shared with other accounts tell of others, and are not told. Raises
        ``StoreUnavailable``.
        """
        tallies: Sequence[Tally] = self._own(principal)
        if tallies and self._history is not None:
            tallies = await self._up_to_date(self._history, tallies, lambda: self._own(principal))
        now_ns, now_ms = self.clock.monotonic_ns(), self.clock.now_ms()
        found: list[LimitState] = []
        for tally in tallies:
            terms = tally.terms
            found += [window.state(now_ns) for window in (*terms.requests, *terms.tokens)]
            found += [spend.state(now_ms) for spend in terms.spends]
            found += [] if terms.places is None else [terms.places.state()]
        return found

    async def _up_to_date(
        self, history: History, tallies: Sequence[Tally], find: Callable[[], Sequence[Tally]]
    ) -> Sequence[Tally]:
        """The same tallies, who know what was used before; ``find`` finds them again."""
        brought: set[Tally] = set()
        while due := [
            tally
            for tally in tallies
            if history.is_due(tally) and (tally.needs_load or tally not in brought)
        ]:
            for tally in due:
                await history.bring(tally)
            brought.update(due)
            # Limits may have changed meanwhile, and tallies may have gone.
            tallies = find()
        return tallies

    def _own(self, principal: Principal) -> list[Tally]:
        found = [
            tally for tally in self._at_the_door(principal) if tally.subject is not Subject.GROUP
        ]
        end_user = self._of_end_user(principal)
        return found if end_user is None else [*found, end_user]

    def _limiting(self, wanted: Wanted) -> list[Tally]:
        principal, model = wanted.principal, wanted.model
        tallies = self._at_the_door(principal)
        if principal.end_user is not None or model.limits is not UNLIMITED:
            tallies += self._behind_it(principal, model)
        return tallies

    def _at_the_door(self, principal: Principal) -> list[Tally]:
        policy, group = principal.policy, principal.group_terms
        found: list[Tally] = []
        limits, beneath, quota = policy.limits, group.limits, policy.quota
        if limits is not UNLIMITED or beneath is not UNLIMITED or quota is not UNBOUNDED:
            tally = self._keys.of(principal.key_id, (limits, beneath), quota)
            if tally is not None:
                found.append(tally)
        limits, beneath = principal.account_policy.limits, group.limits_per_account
        if limits is not UNLIMITED or beneath is not UNLIMITED:
            tally = self._accounts.of(principal.account_id, (limits, beneath))
            if tally is not None:
                found.append(tally)
        if group.limits_together is not UNLIMITED:
            tally = self._groups.of(group.name, (group.limits_together,))
            if tally is not None:
                found.append(tally)
        return found

    def _behind_it(self, principal: Principal, model: Model) -> list[Tally]:
        found = [self._of_end_user(principal)]
        if model.limits is not UNLIMITED:
            found.append(self._models.of(model.id, (model.limits,)))
        return [tally for tally in found if tally is not None]

    def _of_end_user(self, principal: Principal) -> Tally | None:
        if principal.end_user is None:
            return None
        terms = principal.end_user_terms
        own = UNLIMITED if terms is None or terms.limits is None else terms.limits
        of_account = principal.account_policy.end_user_limits
        layers = (own, of_account, principal.group_terms.limits_per_end_user)
        return self._end_users.of((principal.account_id, principal.end_user), layers)

    def tallies_of(self, wanted: Wanted) -> Sequence[Tally]:
        """All that count what such a request uses, whether they limit it or not."""
        principal = wanted.principal
        found = (
            self._keys.by_key.get(principal.key_id),
            self._accounts.by_key.get(principal.account_id),
            self._groups.by_key.get(principal.group_terms.name),
            self._models.by_key.get(wanted.model.id),
            self._end_users.by_key.get((principal.account_id, principal.end_user)),
        )
        return [tally for tally in found if tally is not None and tally.counts_usage]

    def begin_posting(self, claim: Claim) -> None:
        self._posting[claim] = None

    def end_posting(self, claim: Claim) -> None:
        self._posting.pop(claim, None)

    def _is_posting(self, tally: Tally) -> bool:
        return any(tally in self.tallies_of(claim.wanted) for claim in self._posting)


def _has_something_to_claim(tallies: Iterable[Tally]) -> bool:
    for tally in tallies:  # noqa: SIM110 - on the way of every request: a generator takes longer
        if tally.is_claimed:
            return True
    return False


def _may_not_know_all(tallies: Iterable[Tally]) -> bool:
    for tally in tallies:  # noqa: SIM110 - as above
        if tally.asks_the_store:
            return True
    return False


def _refusal(
    refusals: Sequence[Deny], requests: Iterable[Window], tokens: Iterable[Window], now_ns: int
) -> Deny:
    return replace(
        worst(refusals), requests=least_left(requests, now_ns), tokens=least_left(tokens, now_ns)
    )
