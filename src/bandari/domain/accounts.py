"""Accounts and the people around them: whose the wallets and keys are, and who may operate.

Nothing here knows money; wallets are in ``ledger``.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from bandari.domain.allowance import UNLIMITED, Limits


class AccountPolicy(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What an account may do, whichever of its keys it uses.

    ``limits`` hold for all its keys together, in place of its group's where both say something;
    ``end_user_limits`` for each end user who has none of his own. ``names_end_users``: whether
    ``user`` and ``safety_identifier`` name one, where ``X-On-Behalf-Of`` does not.
    ``needs_sub_wallets``: an end user without a wallet of his own is refused, instead of being
    paid for by the account.
    """

    limits: Limits = UNLIMITED
    end_user_limits: Limits = UNLIMITED
    names_end_users: bool = True
    needs_sub_wallets: bool = False
    is_suspended: bool = False


class Account(Struct, frozen=True):
    """A customer: owns wallets and keys."""

    id: int
    name: str
    created_ms: int
    policy: AccountPolicy = AccountPolicy()


class EndUser(Struct, frozen=True):
    """One of an account's own customers, of whom it has said something. ``limits`` are his own."""

    account_id: int
    name: str
    created_ms: int
    limits: Limits | None = None


class EndUserTerms(Struct, frozen=True):
    """What a request on an end user's behalf has to know: his limits, and his wallets' assets."""

    limits: Limits | None = None
    assets: tuple[str, ...] = ()


class Role(StrEnum):
    """What a user may do in the operator API."""

    OWNER = "owner"
    """Everything, users included."""
    OPERATOR = "operator"
    """Everything but users."""
    AUDITOR = "auditor"
    """Only look."""


class User(Struct, frozen=True):
    """A person who operates. Comes in by an admin key, of which the store knows the digest."""

    id: int
    name: str
    role: Role
    hint: str
    created_ms: int
    disabled_ms: int | None = None
