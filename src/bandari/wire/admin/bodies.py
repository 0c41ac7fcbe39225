"""What operators and customers ask to be done, as the bodies of their requests say it.

Here are only types and plain bounds. Names, assets and policies (``Any``: what JSON says) are
checked by who does it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from bandari.domain.accounts import Role
from bandari.domain.ledger import MAX_AMOUNT, Line
from bandari.domain.pricing import TOKEN

MAX_WHY_CHARACTERS: Final = 500
MAX_GRACE_S: Final = 30 * 86_400
"""How long the secret before a rotation may go on to open, in seconds."""

Why = Annotated[str, Meta(min_length=1, max_length=MAX_WHY_CHARACTERS)]
Text = Annotated[str, Meta(max_length=512)]
Amount = Annotated[int, Meta(ge=1, le=MAX_AMOUNT)]
Signed = Annotated[int, Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]


class NewAccount(Struct, frozen=True):
    name: Text
    policy: Any = None


class AccountChange(Struct, frozen=True):
    """``policy`` has what is to change; null in it is the default again."""

    policy: dict[str, Any]


class Credit(Struct, frozen=True):
    """Money that came in from outside, in the asset's smallest unit."""

    amount: Amount
    why: Why
    asset: Text = TOKEN
    end_user: Text = ""


class Adjustment(Struct, frozen=True):
    """Money between a wallet and a line of the chart; a negative amount leaves the wallet."""

    amount: Signed
    why: Why
    asset: Text = TOKEN
    end_user: Text = ""
    line: Line = Line.PROMOTIONS


class Transfer(Struct, frozen=True):
    """Money from an account's own wallet to its end user's; a negative amount goes back."""

    amount: Signed
    why: Why
    asset: Text = TOKEN


class EndUserChange(Struct, frozen=True):
    """Null limits are those that the account has for all its end users."""

    limits: Any


class NewKeyOf(Struct, frozen=True):
    account: Text
    name: Text = ""
    group: Text | None = None
    policy: Any = None


class KeyChange(Struct, frozen=True):
    """What is not said stays. ``policy`` has what is to change; null in it is the default again."""

    name: Text | None = None
    group: Text | None = None
    policy: dict[str, Any] | None = None


class Rotation(Struct, frozen=True):
    """For how many seconds the secret until now goes on to open."""

    grace_seconds: Annotated[int, Meta(ge=0, le=MAX_GRACE_S)] = 0


class NewUserOf(Struct, frozen=True):
    name: Text
    role: Role


class RoleChange(Struct, frozen=True):
    role: Role
