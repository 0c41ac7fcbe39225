"""The administrative half of the store, in memory: accounts, wallets, keys and receipts.

Responses are kept in memory too, by a double of their own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec import structs
from tests.support.responses_in_memory import ResponsesInMemory

from bandari.domain.keys import ApiKey
from bandari.domain.ledger import (
    Account,
    Difference,
    Line,
    Receipt,
    TransactionKind,
    Verification,
    Wallet,
)
from bandari.service.ports import NameTaken


class MemoryStore:
    """One object for four ports, as far as administration needs them, and ``responses``."""

    def __init__(self) -> None:
        self.all_accounts: list[Account] = []
        self.all_wallets: list[Wallet] = []
        self.all_keys: list[tuple[bytes, ApiKey]] = []
        self.receipts: dict[str, Receipt] = {}
        self.transfers: list[tuple[str, int, Line, TransactionKind, str, str]] = []
        self.differences: tuple[Difference, ...] = ()
        self.accounts = self.keys = self.ledger = self
        self.responses = ResponsesInMemory()

    @asynccontextmanager
    async def open(self, *_: object) -> AsyncIterator[MemoryStore]:
        yield self

    async def create_account(self, name: str, now_ms: int) -> Account:
        if await self.find_account(name) is not None:
            raise NameTaken
        account = Account(len(self.all_accounts) + 1, name, now_ms)
        self.all_accounts.append(account)
        return account

    async def find_account(self, name: str) -> Account | None:
        return next((account for account in self.all_accounts if account.name == name), None)

    async def wallets(self, account_id: int) -> Sequence[Wallet]:
        return [wallet for wallet in self.all_wallets if wallet.account_id == account_id]

    async def transfer(
        self,
        account_id: int,
        asset: str,
        amount: int,
        line: Line,
        kind: TransactionKind,
        who: str,
        why: str,
        now_ms: int,
    ) -> Wallet | None:
        self.transfers.append((asset, amount, line, kind, who, why))
        for at, wallet in enumerate(self.all_wallets):
            if (wallet.account_id, wallet.asset) == (account_id, asset):
                changed = structs.replace(wallet, balance=wallet.balance + amount)
                self.all_wallets[at] = changed
                return changed
        wallet = Wallet(len(self.all_wallets) + 1, account_id, asset, amount, 0)
        self.all_wallets.append(wallet)
        return wallet

    async def create_key(
        self, account_id: int, name: str, group: str, digest: bytes, hint: str, now_ms: int
    ) -> ApiKey:
        owner = self.all_accounts[account_id - 1].name
        key = ApiKey(len(self.all_keys) + 1, account_id, owner, name, group, hint, now_ms)
        self.all_keys.append((digest, key))
        return key

    async def find_key(self, digest: bytes) -> tuple[ApiKey, tuple[str, ...]] | None:
        return next(((key, ()) for stored, key in self.all_keys if stored == digest), None)

    async def list_keys(self, account_id: int | None = None) -> Sequence[ApiKey]:
        return [key for _, key in self.all_keys if account_id in (None, key.account_id)]

    async def revoke_key(self, key_id: int, now_ms: int) -> ApiKey | None:
        for at, (digest, key) in enumerate(self.all_keys):
            if key.id == key_id:
                revoked = structs.replace(key, revoked_ms=key.revoked_ms or now_ms)
                self.all_keys[at] = (digest, revoked)
                return revoked
        return None

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        return self.receipts.get(receipt_id)

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        if on_progress is not None:
            on_progress(1, 1)
        return Verification(1, 2, 4, 0, 1, self.differences)


class StoppedClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms

    def monotonic_ns(self) -> int:
        return self.time_ms * 1_000_000
