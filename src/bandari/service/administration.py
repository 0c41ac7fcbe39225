"""What an operator does with accounts and keys, whoever asks: the command line or the operator API.

Names and amounts are checked here; the store keeps what it is given. Everything raises faults whose
message is a sentence for the person who asked.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Sequence
from typing import Final

from msgspec import Struct

from bandari.domain import keys
from bandari.domain.catalogue import nearest
from bandari.domain.faults import CallerFault, InvalidValue, NotFound
from bandari.domain.keys import ApiKey
from bandari.domain.ledger import (
    MAX_AMOUNT,
    Account,
    Line,
    Receipt,
    TransactionKind,
    Wallet,
)
from bandari.domain.pricing import TOKEN
from bandari.service.ports import Accounts, Clock, Keys, Ledger, NameTaken

DEFAULT_GROUP: Final = "default"
FIRST_ACCOUNT: Final = "first"
FIRST_CREDIT: Final = 1_000_000
_NAME = re.compile(r"\w[\w.@+ -]{0,98}[\w.@+-]|\w")
_ASSET = re.compile(r"[A-Z][A-Z0-9]{1,15}")


class AlreadyExists(CallerFault):
    """There is already one of that name."""

    status, code = 409, "already_exists"


class Statement(Struct, frozen=True):
    """An account and its wallets, oldest first."""

    account: Account
    wallets: tuple[Wallet, ...]


class NewKey(Struct, frozen=True):
    """A key that was just made. ``text`` is shown once and kept nowhere."""

    text: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"NewKey({self.key!r})"


class Administration:
    """Accounts, credit, keys and receipts. ``groups`` are those that keys may belong to."""

    def __init__(
        self,
        accounts: Accounts,
        key_store: Keys,
        ledger: Ledger,
        clock: Clock,
        key_prefix: str,
        groups: Collection[str] = (DEFAULT_GROUP,),
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._accounts = accounts
        self._keys = key_store
        self._ledger = ledger
        self._clock = clock
        self._key_prefix = key_prefix
        self._groups = groups
        self._random_bytes = random_bytes

    async def create_account(self, name: str) -> Account:
        """Raises ``AlreadyExists`` and ``InvalidValue``."""
        _check_name(name)
        try:
            return await self._accounts.create_account(name, self._clock.now_ms())
        except NameTaken:
            raise AlreadyExists(f"There is already an account '{name}'.", param="name") from None

    async def credit(
        self, name: str, amount: int, asset: str = TOKEN, *, who: str, why: str
    ) -> Wallet:
        """Put ``amount`` (in the asset's smallest unit) into the account's wallet, out of cash."""
        if not 1 <= amount <= MAX_AMOUNT:
            raise InvalidValue(
                f"The amount must be from 1 to {MAX_AMOUNT}, and is {amount}.", param="amount"
            )
        if not _ASSET.fullmatch(asset):
            raise InvalidValue(
                "An asset is 2 to 16 capital letters and digits, like TOKEN or KES.", param="asset"
            )
        statement = await self.statement(name)
        balance = sum(wallet.balance for wallet in statement.wallets if wallet.asset == asset)
        if balance + amount > MAX_AMOUNT:
            raise InvalidValue(
                f"The balance is {balance} {asset}, and may not exceed {MAX_AMOUNT}.",
                param="amount",
            )
        wallet = await self._accounts.transfer(
            statement.account.id,
            asset,
            amount,
            Line.CASH,
            TransactionKind.CREDIT,
            who,
            why,
            self._clock.now_ms(),
        )
        assert wallet is not None, "only what goes out can be too much"
        return wallet

    async def statement(self, name: str) -> Statement:
        """Raises ``NotFound``."""
        account = await self._find(name)
        return Statement(account, tuple(await self._accounts.wallets(account.id)))

    async def create_key(self, account: str, name: str = "", group: str = DEFAULT_GROUP) -> NewKey:
        """Make a key for the account. Its text is in the answer and nowhere else."""
        if name:
            _check_name(name)
        if group not in self._groups:
            hints = nearest(group, self._groups, 1) or tuple(sorted(self._groups))
            raise NotFound(
                f"There is no group '{_shown(group)}'; known: {', '.join(hints)}.", param="group"
            )
        owner = await self._find(account)
        text = keys.spell(self._key_prefix, self._random_bytes(keys.SECRET_BYTES))
        key = await self._keys.create_key(
            owner.id,
            name,
            group,
            keys.digest(text),
            keys.hint(text, self._key_prefix),
            self._clock.now_ms(),
        )
        return NewKey(text, key)

    async def list_keys(self, account: str | None = None) -> Sequence[ApiKey]:
        """All keys, or one account's, revoked ones too."""
        owner = None if account is None else await self._find(account)
        return await self._keys.list_keys(None if owner is None else owner.id)

    async def revoke_key(self, which: str) -> ApiKey:
        """Revoke the key with that id, or with that text, for good."""
        key_id: int | None = None
        if which.isascii() and which.isdigit() and len(which) <= 18:
            key_id = int(which)
        elif len(which) <= keys.MAX_KEY_CHARACTERS:
            found = await self._keys.find_key(keys.digest(which))
            key_id = None if found is None else found[0].id
        key = None
        if key_id is not None:
            key = await self._keys.revoke_key(key_id, self._clock.now_ms())
        if key is None:
            # What was given may be a secret that was mistyped, so it is not repeated.
            raise NotFound("There is no such key. Give its id, as the list of keys shows it.")
        return key

    async def receipt(self, receipt_id: str) -> Receipt:
        """Raises ``NotFound``."""
        receipt = await self._ledger.receipt(receipt_id)
        if receipt is None:
            raise NotFound(f"There is no receipt '{_shown(receipt_id)}'.")
        return receipt

    async def first_key(self) -> NewKey | None:
        """A key with some credit for whoever has just installed this; None once there are keys."""
        if await self._keys.list_keys():
            return None
        now_ms = self._clock.now_ms()
        account = await self._accounts.find_account(FIRST_ACCOUNT)
        if account is None:
            account = await self._accounts.create_account(FIRST_ACCOUNT, now_ms)
        if not await self._accounts.wallets(account.id):
            await self._accounts.transfer(
                account.id,
                TOKEN,
                FIRST_CREDIT,
                Line.PROMOTIONS,
                TransactionKind.CREDIT,
                "bandari",
                "to try it out",
                now_ms,
            )
        return await self.create_key(FIRST_ACCOUNT, "first")

    async def _find(self, name: str) -> Account:
        _check_name(name)
        account = await self._accounts.find_account(name)
        if account is None:
            raise NotFound(f"There is no account '{name}'.", param="account")
        return account


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidValue(
            f"'{_shown(name)}' is not a name: 1 to 100 letters, digits, spaces and any of . _ @ + "
            "-, a letter or digit first and no space last.",
            param="name",
        )


def _shown(text: str) -> str:
    text = text if len(text) <= 100 else text[:100] + "…"
    return text if text.isprintable() else ascii(text)[1:-1]
