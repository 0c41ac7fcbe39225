"""Who is asking: from the key in a request to a ``Principal``, or why it does not open.

What the store knows of a key is remembered for a second, so that it is asked once a second for each
key, and a change shows within a second. Keys that do not exist are not remembered, but counted by
where they come from. Keys are compared by their digests only: how long that takes tells nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from bandari.domain import keys as spelling
from bandari.domain.accounts import EndUserTerms
from bandari.domain.keys import MAX_KEY_CHARACTERS, FoundKey, Principal
from bandari.domain.outcome import Deny, Reason
from bandari.service.groups import Groups
from bandari.service.guesses import Guesses
from bandari.service.ports import Accounts, Clock, Keys
from bandari.service.remembered import Remembered

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Known(Struct, frozen=True):
    """A key that was found. ``networks`` are None where it may come from anywhere.

    ``opens``: whoever has it comes in, from wherever and however late it is.
    """

    found: FoundKey
    principal: Principal
    networks: tuple[_Network, ...] | None
    opens: bool


class _Said(Struct, frozen=True):
    """What an account has said of an end user, be it nothing."""

    terms: EndUserTerms | None


class Access:
    """Authenticates keys of one prefix."""

    def __init__(
        self,
        *,
        keys: Keys,
        accounts: Accounts,
        groups: Groups,
        guesses: Guesses,
        clock: Clock,
        prefix: str,
    ) -> None:
        self._keys = keys
        self._accounts = accounts
        self._groups = groups
        self._guesses = guesses
        self._clock = clock
        self._prefix = prefix
        self._known: Remembered[bytes, _Known] = Remembered(self._look_up, clock)
        self._said: Remembered[tuple[int, str], _Said] = Remembered(self._look_up_terms, clock)

    async def authenticate(self, text: str | None, source: str) -> Principal | Deny:
        """The principal whose key this is, or why not. ``source`` is the client's address.

        The key's text is never kept, nor in a message.
        """
        if not text:
            return Deny(
                Reason.MISSING_KEY,
                "No API key was given. Send it as 'Authorization: Bearer YOUR_KEY'.",
            )
        if len(text) > MAX_KEY_CHARACTERS:
            return self.refuse_malformed(source, self._malformed)
        digest = spelling.digest(text)
        known = self._known.fresh(digest)
        if known is None:
            if not spelling.is_well_formed(text, self._prefix):
                return self.refuse_malformed(source, self._malformed)
            if self._known.was_there(digest):
                known = await self._known.get(digest)
            else:
                tried = await self._try(digest, source)
                if isinstance(tried, Deny):
                    return tried
                known = tried
            if known is None:
                return Deny(Reason.UNKNOWN_KEY, "The API key is unknown.")
        if known.opens:
            return known.principal
        return self._refusal(known, source) or known.principal

    def refuse_malformed(self, source: str, detail: str) -> Deny:
        """What to say to who has sent something that can be no key."""
        return self._guesses.failed(source) or Deny(Reason.MALFORMED_KEY, detail)

    async def on_behalf(self, principal: Principal, end_user: str) -> Principal:
        """The principal, asking for that end user of its account."""
        terms = None
        if principal.has_end_users:
            said = await self._said.get((principal.account_id, end_user))
            assert said is not None, "something is always said, be it nothing"
            terms = said.terms
        return replace(principal, end_user=end_user, end_user_terms=terms)

    def forget(self) -> None:
        """Ask the store and the groups again for everybody, from the next request on."""
        self._known.forget()
        self._said.forget()

    @property
    def _malformed(self) -> str:
        return (
            f"The API key is not a key of this service: one begins with '{self._prefix}' and "
            "has its full length. Check that it was copied whole."
        )

    async def _try(self, digest: bytes, source: str) -> _Known | Deny | None:
        """Look up a key that may be a guess."""
        attempt = await self._guesses.attempt(source)
        if isinstance(attempt, Deny):
            return attempt
        failed = False
        try:
            known = await self._known.get(digest)
            failed = known is None
        finally:
            attempt.end(failed=failed)
        return known

    async def _look_up(self, digest: bytes) -> _Known | None:
        found = await self._keys.find_key(digest)
        if found is None:
            return None
        key = found.key
        principal = Principal(
            key_id=key.id,
            account_id=key.account_id,
            account=key.account,
            group=key.group,
            assets=found.assets,
            policy=key.policy,
            account_policy=found.account_policy,
            has_end_users=found.has_end_users,
            group_terms=self._groups.of(key.group),
        )
        networks = key.policy.networks
        return _Known(
            found=found,
            principal=principal,
            networks=_parsed(networks) if networks else None,
            opens=_opens(found),
        )

    async def _look_up_terms(self, whose: tuple[int, str]) -> _Said:
        return _Said(await self._accounts.end_user_terms(*whose))

    def _refusal(self, known: _Known, source: str) -> Deny | None:
        """Why a key that there is does not open now."""
        found, key = known.found, known.found.key
        if key.revoked_ms is not None:
            return Deny(Reason.REVOKED_KEY, "The API key has been revoked.")
        if found.is_former and self._is_past(key.former_expires_ms or 0):
            return Deny(
                Reason.REVOKED_KEY,
                "The API key was replaced by a new one, and the time in which both open has "
                "passed. Use the new one.",
            )
        expires_ms = key.policy.expires_ms
        if expires_ms is not None and self._is_past(expires_ms):
            return Deny(Reason.EXPIRED_KEY, "The API key has expired.")
        if found.account_policy.is_suspended:
            return Deny(
                Reason.SUSPENDED_ACCOUNT,
                "The account of this API key is suspended. Ask the operator of this service.",
            )
        if known.networks is not None and not _is_within(source, known.networks):
            where = f"from {source}" if source else "from where you are"
            return Deny(Reason.WRONG_NETWORK, f"The API key may not be used {where}.")
        return None

    def _is_past(self, time_ms: int) -> bool:
        return self._clock.now_ms() >= time_ms


def _opens(found: FoundKey) -> bool:
    """Whether nothing has to be looked at for each request: what ``_refusal`` looks at."""
    key = found.key
    return (
        key.revoked_ms is None
        and not found.is_former
        and key.policy.expires_ms is None
        and not found.account_policy.is_suspended
        and not key.policy.networks
    )


def _parsed(networks: Sequence[str]) -> tuple[_Network, ...]:
    """The networks. What is none lets nobody in."""
    parsed = []
    for text in networks:
        try:
            parsed.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            continue
    return tuple(parsed)


def _is_within(source: str, networks: Sequence[_Network]) -> bool:
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return False
    return any(address in network for network in networks)
