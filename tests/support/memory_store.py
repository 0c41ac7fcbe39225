"""The administrative half of the store, in memory: accounts, wallets, keys, users and receipts.

Responses, recordings and the audit log are kept in memory too, by doubles of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace
from tests.support.audit_in_memory import AuditInMemory
from tests.support.recordings_in_memory import RecordingsInMemory
from tests.support.responses_in_memory import ResponsesInMemory

from bandari.domain.accounts import Account, AccountPolicy, EndUser, EndUserTerms, Role, User
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor
from bandari.domain.keys import ApiKey, FoundKey, KeyPolicy
from bandari.domain.ledger import (
    Difference,
    Line,
    Receipt,
    TransactionKind,
    Verification,
    Wallet,
)
from bandari.service.ports import NameTaken

_NO_ACCOUNT_POLICY = AccountPolicy()
_NO_KEY_POLICY = KeyPolicy()


class MemoryStore(AuditInMemory):
    """One object for six ports, as far as administration needs them; and what is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.all_accounts: list[Account] = []
        self.all_end_users: dict[tuple[int, str], EndUser] = {}
        self.all_wallets: list[Wallet] = []
        self.all_keys: list[tuple[bytes, ApiKey]] = []
        self.former_digests: dict[int, bytes] = {}
        self.all_users: list[tuple[bytes, User]] = []
        self.receipts: dict[str, Receipt] = {}
        self.transfers: list[tuple[str, int, Line, TransactionKind, str, str]] = []
        self.differences: tuple[Difference, ...] = ()
        self.accounts = self.keys = self.users = self.audit_log = self.ledger = self
        self.responses = ResponsesInMemory()
        self.recordings = RecordingsInMemory(receipts=self.receipts)

    @asynccontextmanager
    async def open(self, *_: object) -> AsyncIterator[MemoryStore]:
        yield self

    # Accounts.

    async def create_account(
        self, name: str, now_ms: int, by: Actor, policy: AccountPolicy = _NO_ACCOUNT_POLICY
    ) -> Account:
        if await self.find_account(name) is not None:
            raise NameTaken
        account = Account(len(self.all_accounts) + 1, name, now_ms, policy)
        self.all_accounts.append(account)
        self.enter("account.create", f"account {account.id}", None, account, now_ms, by)
        return account

    async def find_account(self, name: str) -> Account | None:
        return next((account for account in self.all_accounts if account.name == name), None)

    async def account_of_id(self, account_id: int) -> Account | None:
        return next((account for account in self.all_accounts if account.id == account_id), None)

    async def list_accounts(self, after: int, limit: int) -> Sequence[Account]:
        return [account for account in self.all_accounts if account.id > after][:limit]

    async def set_account_policy(
        self, account_id: int, policy: AccountPolicy, now_ms: int, by: Actor
    ) -> Account | None:
        before = await self.account_of_id(account_id)
        if before is None or before.policy == policy:
            return before
        after = replace(before, policy=policy)
        self.all_accounts[account_id - 1] = after
        self.enter("account.policy", f"account {account_id}", before, after, now_ms, by)
        return after

    # End users.

    async def set_end_user_limits(
        self, account_id: int, name: str, limits: Limits | None, now_ms: int, by: Actor
    ) -> EndUser:
        before = self._add_end_user(account_id, name, now_ms, by)
        after = replace(before, limits=limits)
        self.all_end_users[account_id, name] = after
        if after != before:
            subject = f"end_user {account_id}/{name}"
            self.enter("end_user.limits", subject, before, after, now_ms, by)
        return after

    async def end_user(self, account_id: int, name: str) -> EndUser | None:
        return self.all_end_users.get((account_id, name))

    async def end_user_terms(self, account_id: int, name: str) -> EndUserTerms | None:
        known = await self.end_user(account_id, name)
        if known is None:
            return None
        wallets = await self.wallets(account_id, name)
        return EndUserTerms(known.limits, tuple(wallet.asset for wallet in wallets))

    async def list_end_users(self, account_id: int, after: str, limit: int) -> Sequence[EndUser]:
        of_account = (one for (owner, _), one in self.all_end_users.items() if owner == account_id)
        by_name = sorted(of_account, key=lambda one: one.name)
        return [one for one in by_name if one.name > after][:limit]

    # Money.

    async def wallets(self, account_id: int, end_user: str = "") -> Sequence[Wallet]:
        whose = (account_id, end_user)
        return [one for one in self.all_wallets if (one.account_id, one.end_user) == whose]

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
        before = self._wallet(account_id, end_user, asset)
        if amount < 0 and (before is None or before.free < -amount):
            return None
        self.transfers.append((asset, amount, line, kind, by.name, why))
        if end_user:
            self._add_end_user(account_id, end_user, now_ms, by)
        after = self._pay(account_id, end_user, asset, amount)
        subject = f"end_user {account_id}/{end_user}" if end_user else f"account {account_id}"
        self.enter(f"wallet.{kind.value}", subject, before, after, now_ms, by)
        return after

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
        source = self._wallet(account_id, "" if amount > 0 else end_user, asset)
        if source is None or source.free < abs(amount):
            return None
        self._add_end_user(account_id, end_user, now_ms, by)
        own = self._pay(account_id, "", asset, -amount)
        his = self._pay(account_id, end_user, asset, amount)
        subject = f"end_user {account_id}/{end_user}"
        self.enter("wallet.transfer", subject, source, {"amount": amount, "why": why}, now_ms, by)
        return own, his

    # Keys.

    async def create_key(
        self,
        account_id: int,
        name: str,
        group: str,
        digest: bytes,
        hint: str,
        now_ms: int,
        by: Actor,
        policy: KeyPolicy = _NO_KEY_POLICY,
    ) -> ApiKey:
        owner = self.all_accounts[account_id - 1].name
        number = len(self.all_keys) + 1
        key = ApiKey(number, account_id, owner, name, group, hint, now_ms, None, policy)
        self.all_keys.append((digest, key))
        self.enter("key.create", f"key {key.id}", None, key, now_ms, by)
        return key

    async def find_key(self, digest: bytes) -> FoundKey | None:
        for present, key in self.all_keys:
            is_former = self.former_digests.get(key.id) == digest
            if present == digest or is_former:
                account = self.all_accounts[key.account_id - 1]
                wallets = await self.wallets(key.account_id)
                has_end_users = any(owner == account.id for owner, _ in self.all_end_users)
                assets = tuple(wallet.asset for wallet in wallets)
                return FoundKey(key, assets, account.policy, has_end_users, is_former)
        return None

    async def key_of_id(self, key_id: int) -> ApiKey | None:
        return next((key for _, key in self.all_keys if key.id == key_id), None)

    async def list_keys(
        self, account_id: int | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[ApiKey]:
        wanted = [key for _, key in self.all_keys if account_id in (None, key.account_id)]
        return [key for key in wanted if key.id > after][:limit]

    async def update_key(
        self, key_id: int, name: str, group: str, policy: KeyPolicy, now_ms: int, by: Actor
    ) -> ApiKey | None:
        key = await self.key_of_id(key_id)
        if key is None:
            return None
        after = replace(key, name=name, group=group, policy=policy)
        return self._change_key("key.update", key, after, now_ms, by)

    async def rotate_key(
        self,
        key_id: int,
        digest: bytes,
        hint: str,
        former_expires_ms: int,
        now_ms: int,
        by: Actor,
    ) -> ApiKey | None:
        key = await self.key_of_id(key_id)
        if key is None or key.revoked_ms is not None:
            return None
        self.former_digests[key_id] = self.all_keys[key_id - 1][0]
        self.all_keys[key_id - 1] = (digest, key)
        after = replace(key, hint=hint, former_hint=key.hint, former_expires_ms=former_expires_ms)
        return self._change_key("key.rotate", key, after, now_ms, by)

    async def revoke_key(self, key_id: int, now_ms: int, by: Actor) -> ApiKey | None:
        key = await self.key_of_id(key_id)
        if key is None or key.revoked_ms is not None:
            return key
        return self._change_key("key.revoke", key, replace(key, revoked_ms=now_ms), now_ms, by)

    # Users.

    async def create_user(
        self, name: str, role: Role, digest: bytes, hint: str, now_ms: int, by: Actor
    ) -> User:
        if any(user.name == name for _, user in self.all_users):
            raise NameTaken
        user = User(len(self.all_users) + 1, name, role, hint, now_ms)
        self.all_users.append((digest, user))
        self.enter("user.create", f"user {user.id}", None, user, now_ms, by)
        return user

    async def find_user(self, digest: bytes) -> User | None:
        return next((user for stored, user in self.all_users if stored == digest), None)

    async def user_of_id(self, user_id: int) -> User | None:
        return next((user for _, user in self.all_users if user.id == user_id), None)

    async def list_users(self, after: int, limit: int) -> Sequence[User]:
        return [user for _, user in self.all_users if user.id > after][:limit]

    async def set_role(self, user_id: int, role: Role, now_ms: int, by: Actor) -> User | None:
        user = await self.user_of_id(user_id)
        if user is None or user.role is role:
            return user
        return self._change_user("user.role", user, replace(user, role=role), now_ms, by)

    async def set_user_key(
        self, user_id: int, digest: bytes, hint: str, now_ms: int, by: Actor
    ) -> User | None:
        user = await self.user_of_id(user_id)
        if user is None:
            return None
        self.all_users[user_id - 1] = (digest, user)
        return self._change_user("user.key", user, replace(user, hint=hint), now_ms, by)

    async def disable_user(self, user_id: int, now_ms: int, by: Actor) -> User | None:
        user = await self.user_of_id(user_id)
        if user is None or user.disabled_ms is not None:
            return user
        return self._change_user(
            "user.disable", user, replace(user, disabled_ms=now_ms), now_ms, by
        )

    # The ledger.

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        return self.receipts.get(receipt_id)

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        if on_progress is not None:
            on_progress(1, 1)
        return Verification(1, 2, 4, 0, 1, self.differences)

    def _change_key(
        self, action: str, before: ApiKey, after: ApiKey, now_ms: int, by: Actor
    ) -> ApiKey:
        self.all_keys[after.id - 1] = (self.all_keys[after.id - 1][0], after)
        if after != before:
            self.enter(action, f"key {after.id}", before, after, now_ms, by)
        return after

    def _change_user(self, action: str, before: User, after: User, now_ms: int, by: Actor) -> User:
        self.all_users[after.id - 1] = (self.all_users[after.id - 1][0], after)
        self.enter(action, f"user {after.id}", before, after, now_ms, by)
        return after

    def _add_end_user(self, account_id: int, name: str, now_ms: int, by: Actor) -> EndUser:
        known = self.all_end_users.get((account_id, name))
        if known is None:
            known = self.all_end_users[account_id, name] = EndUser(account_id, name, now_ms)
            subject = f"end_user {account_id}/{name}"
            self.enter("end_user.create", subject, None, known, now_ms, by)
        return known

    def _wallet(self, account_id: int, end_user: str, asset: str) -> Wallet | None:
        whose = (account_id, end_user, asset)
        for wallet in self.all_wallets:
            if (wallet.account_id, wallet.end_user, wallet.asset) == whose:
                return wallet
        return None

    def _pay(self, account_id: int, end_user: str, asset: str, amount: int) -> Wallet:
        wallet = self._wallet(account_id, end_user, asset)
        if wallet is None:
            wallet = Wallet(len(self.all_wallets) + 1, account_id, asset, 0, 0, end_user)
            self.all_wallets.append(wallet)
        after = replace(wallet, balance=wallet.balance + amount)
        self.all_wallets[wallet.id - 1] = after
        return after


class StoppedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_ns(self) -> int:
        return self.time_ms * 1_000_000
