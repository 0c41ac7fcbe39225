"""API keys, for an operator: made, listed, changed, rotated, revoked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from bandari.domain import keys
from bandari.domain.audit_log import Actor
from bandari.domain.catalogue import DEFAULT_GROUP
from bandari.domain.faults import CallerFault, NotFound
from bandari.domain.keys import ApiKey, KeyPolicy
from bandari.service.account_administration import find_account
from bandari.service.groups import Groups
from bandari.service.policies import (
    check_expiry,
    check_grace,
    check_group,
    check_name,
    check_page,
    checked,
)
from bandari.service.ports import Accounts, Clock, Keys

DEFAULT_POLICY: Final = KeyPolicy()


class KeyRevoked(CallerFault):
    """The key is revoked for good."""

    status, code = 409, "revoked_api_key"


class NewKey(Struct, frozen=True):
    """A secret that was just made. ``text`` is shown once and kept nowhere."""

    text: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"NewKey({self.key!r})"


class KeyAdministration:
    """``groups`` are those that keys may belong to, ``prefix`` what every key begins with."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        keys: Keys,
        clock: Clock,
        groups: Groups,
        prefix: str,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._owners = accounts
        self._keys = keys
        self._clock = clock
        self._groups = groups
        self._key_prefix = prefix
        self._random_bytes = random_bytes

    async def create_key(
        self,
        account: str,
        name: str = "",
        group: str = DEFAULT_GROUP,
        *,
        by: Actor,
        policy: KeyPolicy = DEFAULT_POLICY,
    ) -> NewKey:
        """Make a key for the account. Its text is in the answer and nowhere else."""
        now_ms = self._clock.now_ms()
        self._check_terms(name, group)
        policy = checked(policy, "policy")
        check_expiry(policy.expires_ms, now_ms)
        owner = await find_account(self._owners, account)
        text = self._new_text()
        hint = keys.hint(text, self._key_prefix)
        key = await self._keys.create_key(
            owner.id, name, group, keys.digest(text), hint, now_ms, by, policy
        )
        return NewKey(text, key)

    async def keys(
        self, account: str | None = None, after: int = 0, limit: int = 100
    ) -> Sequence[ApiKey]:
        """All keys, or one account's, revoked ones too: by id, those after that id."""
        check_page(limit)
        owner = None if account is None else (await find_account(self._owners, account)).id
        return await self._keys.list_keys(owner, after, limit)

    async def key(self, key_id: int) -> ApiKey:
        """Raises ``NotFound``."""
        return _there(await self._keys.key_of_id(key_id))

    async def find_key(self, which: str) -> ApiKey:
        """The key of that id, or of that text. Raises ``NotFound``."""
        if which.isascii() and which.isdigit() and len(which) <= 18:
            return await self.key(int(which))
        if len(which) <= keys.MAX_KEY_CHARACTERS and which.isprintable():
            found = await self._keys.find_key(keys.digest(which))
            return _there(None if found is None else found.key)
        return _there(None)

    async def update_key(
        self,
        key_id: int,
        *,
        by: Actor,
        name: str | None = None,
        group: str | None = None,
        policy: KeyPolicy | None = None,
    ) -> ApiKey:
        """Change what is said. A policy is in place of the one that the key has.

        Raises ``NotFound`` and ``KeyRevoked``.
        """
        key = await self._usable(key_id)
        now_ms = self._clock.now_ms()
        self._check_terms(name or "", key.group if group is None else group, key.group)
        if policy is not None:
            policy = checked(policy, "policy")
            if policy.expires_ms != key.policy.expires_ms:
                check_expiry(policy.expires_ms, now_ms)
        changed = await self._keys.update_key(
            key_id,
            key.name if name is None else name,
            key.group if group is None else group,
            key.policy if policy is None else policy,
            now_ms,
            by,
        )
        return _there(changed)

    async def rotate_key(self, key_id: int, grace_ms: int, *, by: Actor) -> NewKey:
        """Give the key a new secret; the present one opens too for ``grace_ms`` from now.

        Raises ``NotFound`` and ``KeyRevoked``.
        """
        check_grace(grace_ms)
        await self._usable(key_id)
        now_ms = self._clock.now_ms()
        text = self._new_text()
        hint = keys.hint(text, self._key_prefix)
        key = await self._keys.rotate_key(
            key_id, keys.digest(text), hint, now_ms + grace_ms, now_ms, by
        )
        if key is None:
            raise KeyRevoked
        return NewKey(text, key)

    async def revoke_key(self, which: str | int, *, by: Actor) -> ApiKey:
        """Revoke the key with that id, or with that text, for good."""
        key_id = which if isinstance(which, int) else (await self.find_key(which)).id
        return _there(await self._keys.revoke_key(key_id, self._clock.now_ms(), by))

    def _check_terms(self, name: str, group: str, former_group: str | None = None) -> None:
        """A key may stay in a group that is not configured any more."""
        if name:
            check_name(name)
        if group != former_group:
            check_group(group, [each.name for each in self._groups.all()])

    async def _usable(self, key_id: int) -> ApiKey:
        key = await self.key(key_id)
        if key.revoked_ms is not None:
            raise KeyRevoked(f"The key {key.id} ({key.hint}) is revoked for good.")
        return key

    def _new_text(self) -> str:
        return keys.spell(self._key_prefix, self._random_bytes(keys.SECRET_BYTES))


def _there(key: ApiKey | None) -> ApiKey:
    if key is None:
        # What was given may be a secret that was mistyped, so it is not repeated.
        raise NotFound("There is no such key. Give its id, as the list of keys shows it.")
    return key
