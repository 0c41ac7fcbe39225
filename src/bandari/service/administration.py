"""What an operator does, whoever asks: the command line or the operator API.

What is given is checked here; the store keeps what it is given. Everything raises faults whose
message is a sentence for the person who asked.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Final

from bandari.domain.audit_log import Actor, AuditEntry
from bandari.domain.catalogue import Group
from bandari.domain.ledger import Line, TransactionKind
from bandari.domain.pricing import TOKEN
from bandari.service.account_administration import (
    AccountAdministration,
    AlreadyExists,
    Statement,
    TooLittleFree,
)
from bandari.service.groups import Groups
from bandari.service.guesses import Guesses
from bandari.service.key_administration import KeyAdministration, KeyRevoked, NewKey
from bandari.service.operators import Action, NewUser, Operator, Operators
from bandari.service.policies import check_page
from bandari.service.ports import Accounts, AuditLog, Clock, Keys, Users

__all__ = [
    "FIRST_ACCOUNT",
    "FIRST_CREDIT",
    "Action",
    "Administration",
    "AlreadyExists",
    "KeyRevoked",
    "NewKey",
    "NewUser",
    "Operator",
    "Statement",
    "TooLittleFree",
]

FIRST_ACCOUNT: Final = "first"
FIRST_CREDIT: Final = 1_000_000
_ITSELF: Final = Actor("bandari")


class Administration(AccountAdministration, KeyAdministration, Operators):
    """Accounts, money and end users; keys; users and who may operate; the log of changes.

    ``groups`` are those that keys may belong to; ``admin_key`` is the owner's from the
    environment, if there is one; ``guesses`` limit how fast admin keys can be tried out.
    """

    def __init__(
        self,
        *,
        accounts: Accounts,
        keys: Keys,
        users: Users,
        audit_log: AuditLog,
        clock: Clock,
        groups: Groups,
        key_prefix: str,
        admin_key: str | None = None,
        guesses: Guesses | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        AccountAdministration.__init__(self, accounts=accounts, clock=clock)
        KeyAdministration.__init__(
            self,
            accounts=accounts,
            keys=keys,
            clock=clock,
            groups=groups,
            prefix=key_prefix,
            random_bytes=random_bytes,
        )
        Operators.__init__(
            self,
            users=users,
            clock=clock,
            admin_key=admin_key,
            guesses=guesses,
            random_bytes=random_bytes,
        )
        self._audit_log = audit_log

    async def audit_entries(
        self,
        *,
        subject: str | None = None,
        who: str | None = None,
        before: int | None = None,
        limit: int = 100,
    ) -> Sequence[AuditEntry]:
        """What was changed, the latest first; those with ids below ``before``."""
        check_page(limit)
        return await self._audit_log.entries(subject=subject, who=who, before=before, limit=limit)

    def groups(self) -> Sequence[Group]:
        """Those that keys may belong to, by name."""
        return self._groups.all()

    async def first_key(self) -> NewKey | None:
        """A key with some credit for whoever has just installed this; None once there are keys."""
        if await self._keys.list_keys(limit=1):
            return None
        now_ms = self._clock.now_ms()
        account = await self._accounts.find_account(FIRST_ACCOUNT)
        if account is None:
            account = await self._accounts.create_account(FIRST_ACCOUNT, now_ms, _ITSELF)
        if not await self._accounts.wallets(account.id):
            await self._accounts.transfer(
                account.id,
                TOKEN,
                FIRST_CREDIT,
                Line.PROMOTIONS,
                TransactionKind.CREDIT,
                "to try it out",
                now_ms,
                _ITSELF,
            )
        return await self.create_key(FIRST_ACCOUNT, "first", by=_ITSELF)
