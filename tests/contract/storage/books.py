"""A store with a customer in it, for tests."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from bandari.adapters.storage import Store
from bandari.domain.accounts import Account
from bandari.domain.audit_log import Actor
from bandari.domain.estimate import Basis, Ratios
from bandari.domain.keys import ApiKey
from bandari.domain.ledger import (
    Charge,
    Count,
    Ending,
    Hold,
    Line,
    TransactionKind,
    Wallet,
)
from bandari.domain.pricing import TOKEN, RateCard, token_card
from bandari.domain.usage import CountRule, Usage

BY = Actor("test")
_numbers = itertools.count(1)


@dataclass
class Books:
    """One account with one key and a wallet, in an open epoch."""

    store: Store
    account: Account
    key: ApiKey
    card: RateCard
    epoch: int
    names: itertools.count[int] = field(default_factory=itertools.count)

    async def credit(self, amount: int, asset: str = TOKEN, end_user: str = "") -> Wallet | None:
        """Into the account's own wallet, or into an end user's."""
        return await self.store.accounts.transfer(
            *(self.account.id, asset, amount, Line.CASH, TransactionKind.CREDIT),
            *("credit", 1, BY, end_user),
        )

    def hold(self, hold_id: str | None = None, amount: int = 100, **fields: object) -> Hold:
        values = {
            "id": hold_id or f"hold-{self.account.id}-{next(self.names)}",
            "account_id": self.account.id,
            "asset": TOKEN,
            "amount": amount,
            "epoch": self.epoch,
            "key_id": self.key.id,
            "model": "m",
            "rate_card_id": self.card.id,
            "created_ms": 10,
            **fields,
        }
        return Hold(**values)  # type: ignore[arg-type]

    async def place(self, hold_id: str | None = None, amount: int = 100) -> str:
        hold = self.hold(hold_id, amount)
        placement = await self.store.ledger.place(hold)
        assert placement.placed
        return hold.id

    async def wallet(self, asset: str = TOKEN, end_user: str = "") -> Wallet:
        wallets = await self.store.accounts.wallets(self.account.id, end_user)
        return next(wallet for wallet in wallets if wallet.asset == asset)

    async def amounts(self, end_user: str = "") -> tuple[int, int]:
        """The wallet's balance and what is held of it."""
        wallet = await self.wallet(end_user=end_user)
        return wallet.balance, wallet.held


def a_count(
    input_tokens: int, output_tokens: int, rule: CountRule = CountRule.REPORTED, **kinds: int
) -> Count:
    basis = Basis(input_bytes=150, images=1, output_bytes=90, ratios=Ratios(240_000, 260_000))
    return Count(Usage(input_tokens, output_tokens, **kinds), rule, basis)


def charge(hold_id: str, amount: int = 60, **fields: object) -> Charge:
    values = {
        "hold_id": hold_id,
        "amount": amount,
        "count": a_count(40, 20, cached_tokens=8, reasoning_tokens=5),
        "ending": Ending.COMPLETED,
        "target": "local:m",
        "ended_ms": 20,
        "finish_reason": "stop",
        **fields,
    }
    return Charge(**values)  # type: ignore[arg-type]


async def open_books(store: Store, balance: int = 1_000, epoch: int | None = None) -> Books:
    """A new customer with ``balance`` tokens."""
    number = next(_numbers)
    account = await store.accounts.create_account(f"customer {number}", 1, BY)
    digest = number.to_bytes(32)
    key = await store.keys.create_key(account.id, "laptop", "default", digest, "…abcd", 2, BY)
    (card,) = await store.rate_cards.pin([token_card("m")])
    if epoch is None:
        epoch = await store.ledger.open_epoch(3)
    books = Books(store, account, key, card, epoch)
    if balance:
        await books.credit(balance)
    return books
