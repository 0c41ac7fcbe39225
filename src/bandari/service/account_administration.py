"""Accounts, their money and their end users, for an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bandari.domain.accounts import Account, AccountPolicy, EndUser
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor
from bandari.domain.faults import CallerFault, InvalidValue, NotFound
from bandari.domain.ledger import MAX_AMOUNT, Line, TransactionKind, Wallet
from bandari.domain.pricing import TOKEN
from bandari.service.policies import (
    check_amount,
    check_asset,
    check_end_user,
    check_name,
    check_page,
    check_why,
    checked,
    shown,
)
from bandari.service.ports import Accounts, Clock, NameTaken

DEFAULT_POLICY: Final = AccountPolicy()


class AlreadyExists(CallerFault):
    """There is already one of that name."""

    status, code = 409, "already_exists"


class TooLittleFree(CallerFault):
    """What is free in the wallet is less than that."""

    status, code = 409, "insufficient_balance"


class Statement(Struct, frozen=True):
    """An account and its own wallets, oldest first."""

    account: Account
    wallets: tuple[Wallet, ...]


class AccountAdministration:
    """Every method raises ``NotFound`` if there is no account of that name."""

    def __init__(self, *, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock

    async def create_account(
        self, name: str, by: Actor, policy: AccountPolicy = DEFAULT_POLICY
    ) -> Account:
        """Raises ``AlreadyExists``."""
        check_name(name)
        policy = checked(policy, "policy")
        try:
            return await self._accounts.create_account(name, self._clock.now_ms(), by, policy)
        except NameTaken:
            raise AlreadyExists(f"There is already an account '{name}'.", param="name") from None

    async def account(self, name: str) -> Statement:
        account = await self._find(name)
        return Statement(account, tuple(await self._accounts.wallets(account.id)))

    async def accounts(self, after: int = 0, limit: int = 100) -> Sequence[Account]:
        """By id, those after that id."""
        check_page(limit)
        return await self._accounts.list_accounts(after, limit)

    async def set_account_policy(self, name: str, policy: AccountPolicy, by: Actor) -> Account:
        """In place of the policy that it has."""
        policy = checked(policy, "policy")
        account = await self._find(name)
        now_ms = self._clock.now_ms()
        changed = await self._accounts.set_account_policy(account.id, policy, now_ms, by)
        return _there(changed, name)

    async def credit(
        self,
        name: str,
        amount: int,
        asset: str = TOKEN,
        *,
        why: str,
        by: Actor,
        end_user: str = "",
    ) -> Wallet:
        """Put ``amount`` (in the asset's smallest unit) into a wallet, out of cash.

        The wallet is the account's own, or that of its end user. It is made if it is new.
        """
        check_amount(amount)
        return await self._book(
            name, amount, asset, Line.CASH, TransactionKind.CREDIT, why, by, end_user
        )

    async def adjust(
        self,
        name: str,
        amount: int,
        asset: str = TOKEN,
        *,
        why: str,
        by: Actor,
        end_user: str = "",
        line: Line = Line.PROMOTIONS,
    ) -> Wallet:
        """Put right what a wallet has: ``amount`` more, or less where it is negative.

        Raises ``TooLittleFree`` where more is taken than running answers leave free.
        """
        check_amount(amount, may_be_negative=True)
        return await self._book(
            name, amount, asset, line, TransactionKind.ADJUSTMENT, why, by, end_user
        )

    async def transfer(
        self, name: str, end_user: str, amount: int, asset: str = TOKEN, *, why: str, by: Actor
    ) -> tuple[Wallet, Wallet]:
        """Move ``amount`` from the account's own wallet to its end user's; negative: back.

        Returns the account's wallet and the end user's. Raises ``TooLittleFree``.
        """
        check_end_user(end_user)
        check_amount(amount, may_be_negative=True)
        check_asset(asset)
        check_why(why)
        account = await self._find(name)
        await self._check_room(account.id, end_user if amount > 0 else "", abs(amount), asset)
        moved = await self._accounts.move(
            account.id, end_user, asset, amount, why, self._clock.now_ms(), by
        )
        if moved is None:
            raise await self._too_little(account.id, "" if amount > 0 else end_user, amount, asset)
        return moved

    async def end_users(self, name: str, after: str = "", limit: int = 100) -> Sequence[EndUser]:
        """Those of whom the account has said something, by name, after that name."""
        check_page(limit)
        account = await self._find(name)
        return await self._accounts.list_end_users(account.id, after, limit)

    async def end_user(self, account: str, name: str) -> tuple[EndUser, Sequence[Wallet]]:
        """One of them, and his wallets, oldest first."""
        owner = await self._find(account)
        check_end_user(name)
        end_user = await self._accounts.end_user(owner.id, name)
        if end_user is None:
            raise NotFound(
                f"The account '{account}' has said nothing of an end user '{shown(name)}'.",
                param="end_user",
            )
        return end_user, await self._accounts.wallets(owner.id, name)

    async def set_end_user_limits(
        self, account: str, name: str, limits: Limits | None, *, by: Actor
    ) -> EndUser:
        """His own limits. None: those that the account has for all its end users."""
        check_end_user(name)
        if limits is not None:
            limits = checked(limits, "limits")
        owner = await self._find(account)
        return await self._accounts.set_end_user_limits(
            owner.id, name, limits, self._clock.now_ms(), by
        )

    async def _book(
        self,
        name: str,
        amount: int,
        asset: str,
        line: Line,
        kind: TransactionKind,
        why: str,
        by: Actor,
        end_user: str,
    ) -> Wallet:
        check_asset(asset)
        check_why(why)
        if end_user:
            check_end_user(end_user)
        account = await self._find(name)
        if amount > 0:
            await self._check_room(account.id, end_user, amount, asset)
        now_ms = self._clock.now_ms()
        wallet = await self._accounts.transfer(
            account.id, asset, amount, line, kind, why, now_ms, by, end_user
        )
        if wallet is None:
            raise await self._too_little(account.id, end_user, amount, asset)
        return wallet

    async def _find(self, name: str) -> Account:
        return await find_account(self._accounts, name)

    async def _check_room(self, account_id: int, end_user: str, amount: int, asset: str) -> None:
        """A balance stays a number that every client can read."""
        wallet = await self._wallet(account_id, end_user, asset)
        balance = 0 if wallet is None else wallet.balance
        if balance + amount > MAX_AMOUNT:
            raise InvalidValue(
                f"The balance is {balance} {asset}, and may not exceed {MAX_AMOUNT}.",
                param="amount",
            )

    async def _too_little(
        self, account_id: int, end_user: str, amount: int, asset: str
    ) -> TooLittleFree:
        wallet = await self._wallet(account_id, end_user, asset)
        free = 0 if wallet is None else wallet.free
        return TooLittleFree(
            f"Only {free} {asset} are free in that wallet, and {abs(amount)} would go out.",
            param="amount",
        )

    async def _wallet(self, account_id: int, end_user: str, asset: str) -> Wallet | None:
        wallets = await self._accounts.wallets(account_id, end_user)
        return next((wallet for wallet in wallets if wallet.asset == asset), None)


async def find_account(accounts: Accounts, name: str) -> Account:
    """Raises ``NotFound``."""
    check_name(name, "account")
    return _there(await accounts.find_account(name), name)


def _there(account: Account | None, name: str) -> Account:
    if account is None:
        raise NotFound(f"There is no account '{name}'.", param="account")
    return account
