"""Who there is and what they may: accounts, keys, end users, operators, and the log of changes.

Every method that changes something writes its entry of the audit log in the same transaction: with
what was before and what is after, as the store has them, and without any secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bandari.domain.accounts import Account, AccountPolicy, EndUser, EndUserTerms, Role, User
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor, AuditEntry
from bandari.domain.keys import ApiKey, FoundKey, KeyPolicy
from bandari.domain.ledger import Line, TransactionKind, Wallet


class NameTaken(Exception):
    """There is already one of that name."""


class Accounts(Protocol):
    """Accounts, their wallets, and money that moves other than by charges.

    A list gives those after ``after`` (an id, or a name), in its order, at most ``limit``.
    """

    async def create_account(
        self, name: str, now_ms: int, by: Actor, policy: AccountPolicy = ...
    ) -> Account:
        """Raises ``NameTaken``."""
        ...

    async def find_account(self, name: str) -> Account | None: ...

    async def account_of_id(self, account_id: int) -> Account | None: ...

    async def list_accounts(self, after: int, limit: int) -> Sequence[Account]:
        """By id."""
        ...

    async def set_account_policy(
        self, account_id: int, policy: AccountPolicy, now_ms: int, by: Actor
    ) -> Account | None:
        """None if there is no such account."""
        ...

    async def wallets(self, account_id: int, end_user: str = "") -> Sequence[Wallet]:
        """The account's own wallets, or those of one of its end users, oldest first."""
        ...

    async def transfer(
        self,
        account_id: int,
        asset: str,
        amount: int,
        line: Line,
        kind: TransactionKind,
        why: str,
        now_ms: int,
        by: Actor,
        end_user: str = "",
    ) -> Wallet | None:
        """Move ``amount`` (negative: out) between a line of the chart and a wallet.

        Creates the wallet if it is new, and the end user. Returns None, and does nothing, if what
        is free is too little for what goes out.
        """
        ...

    async def move(
        self,
        account_id: int,
        end_user: str,
        asset: str,
        amount: int,
        why: str,
        now_ms: int,
        by: Actor,
    ) -> tuple[Wallet, Wallet] | None:
        """Move ``amount`` (negative: back) from the account's own wallet to its end user's.

        Creates the end user and his wallet if they are new. Returns the account's wallet and his.
        None, and nothing done, if what is free is too little.
        """
        ...

    async def set_end_user_limits(
        self, account_id: int, name: str, limits: Limits | None, now_ms: int, by: Actor
    ) -> EndUser:
        """Creates the end user if he is new. None: the account's for all its end users."""
        ...

    async def end_user(self, account_id: int, name: str) -> EndUser | None: ...

    async def end_user_terms(self, account_id: int, name: str) -> EndUserTerms | None:
        """On the way of every request on his behalf. None if the account has said nothing."""
        ...

    async def list_end_users(self, account_id: int, after: str, limit: int) -> Sequence[EndUser]:
        """By name."""
        ...


class Keys(Protocol):
    async def create_key(
        self,
        account_id: int,
        name: str,
        group: str,
        digest: bytes,
        hint: str,
        now_ms: int,
        by: Actor,
        policy: KeyPolicy = ...,
    ) -> ApiKey: ...

    async def find_key(self, digest: bytes) -> FoundKey | None:
        """The key of that digest, revoked or not; its former digest finds it too, expired or not.

        On the way of every request.
        """
        ...

    async def key_of_id(self, key_id: int) -> ApiKey | None: ...

    async def list_keys(
        self, account_id: int | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[ApiKey]:
        """By id, those after ``after``."""
        ...

    async def update_key(
        self, key_id: int, name: str, group: str, policy: KeyPolicy, now_ms: int, by: Actor
    ) -> ApiKey | None:
        """None if there is no such key."""
        ...

    async def rotate_key(
        self,
        key_id: int,
        digest: bytes,
        hint: str,
        former_expires_ms: int,
        now_ms: int,
        by: Actor,
    ) -> ApiKey | None:
        """Give the key a new secret; the present one opens too until ``former_expires_ms``.

        The one before it opens no more. None, and nothing done, if there is no such key or it is
        revoked.
        """
        ...

    async def revoke_key(self, key_id: int, now_ms: int, by: Actor) -> ApiKey | None:
        """Revoke for good; the first revocation's time stays. None if there is no such key."""
        ...


class Users(Protocol):
    """People who operate."""

    async def create_user(
        self, name: str, role: Role, digest: bytes, hint: str, now_ms: int, by: Actor
    ) -> User:
        """Raises ``NameTaken``."""
        ...

    async def find_user(self, digest: bytes) -> User | None:
        """Whose admin key that is, disabled or not."""
        ...

    async def user_of_id(self, user_id: int) -> User | None: ...

    async def list_users(self, after: int, limit: int) -> Sequence[User]:
        """By id."""
        ...

    async def set_role(self, user_id: int, role: Role, now_ms: int, by: Actor) -> User | None: ...

    async def set_user_key(
        self, user_id: int, digest: bytes, hint: str, now_ms: int, by: Actor
    ) -> User | None:
        """The former admin key opens no more."""
        ...

    async def disable_user(self, user_id: int, now_ms: int, by: Actor) -> User | None:
        """For good; the first time stays."""
        ...


class AuditLog(Protocol):
    async def entries(
        self, *, subject: str | None, who: str | None, before: int | None, limit: int
    ) -> Sequence[AuditEntry]:
        """The latest first, those with ids below ``before``. ``subject`` is exact."""
        ...

    async def write(
        self, action: str, subject: str, before: object, after: object, now_ms: int, by: Actor
    ) -> None:
        """For a change that is not the store's own, like a reload."""
        ...
