"""Accounts, their end users, and what is in their wallets."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.ledger import MAX_AMOUNT
from bandari.web.openapi.shapes.allowance import Limits
from bandari.web.openapi.shapes.chat_answer import Count
from bandari.wire.admin.bodies import MAX_WHY_CHARACTERS

Name = Annotated[
    str,
    Meta(min_length=1, max_length=100),
    "1 to 100 letters, digits, spaces and any of `. _ @ + -`; a letter or digit first, no space "
    "last.",
]
EndUserName = Annotated[
    str, Meta(min_length=1, max_length=512), "As the account's own system calls him; printable."
]
Milliseconds = Annotated[int, Meta(ge=0), "In milliseconds since 1970, UTC."]
Asset = Annotated[
    str,
    Meta(pattern="^[A-Z][A-Z0-9]{1,15}$"),
    "What is counted in the wallet, in its smallest unit: `TOKEN`, `KES`, … Default `TOKEN`.",
]
Amount = Annotated[int, Meta(ge=1, le=MAX_AMOUNT), "In the asset's smallest unit."]
Why = Annotated[
    str, Meta(min_length=1, max_length=MAX_WHY_CHARACTERS), "What the books keep as the reason."
]
NextId = Annotated[int | None, "What the next page's `after` is; null where this is the last."]
NextName = Annotated[str | None, "What the next page's `after` is; null where this is the last."]


class Wallet(TypedDict):
    """A balance in one asset, in its smallest unit."""

    asset: str
    balance: int
    held: Annotated[Count, "What of the balance is promised to answers that are running."]
    free: Annotated[int, "The rest of it."]
    end_user: Annotated[str | None, "Whose sub-wallet it is; null is the account's own."]


class WalletList(TypedDict):
    """All of them, the oldest first."""

    object: Literal["list"]
    data: list[Wallet]
    next: None


class AccountPolicy(TypedDict):
    """What an account may do, whichever of its keys it uses. What is not said is the default."""

    limits: NotRequired[
        Annotated[
            Limits | None,
            "For all its keys together, in place of its group's where both say something.",
        ]
    ]
    end_user_limits: NotRequired[
        Annotated[Limits | None, "For each end user who has none of his own."]
    ]
    names_end_users: NotRequired[
        Annotated[
            bool | None,
            "Whether `user` and `safety_identifier` name an end user where `X-On-Behalf-Of` does "
            "not. Default true.",
        ]
    ]
    needs_sub_wallets: NotRequired[
        Annotated[
            bool | None,
            "Whether an end user without a wallet of his own is refused, instead of being paid for "
            "by the account. Default false.",
        ]
    ]
    is_suspended: NotRequired[
        Annotated[bool | None, "Whether all its keys are refused. Default false."]
    ]


class Account(TypedDict):
    """A customer: owns wallets and keys."""

    id: int
    name: Name
    created_ms: Milliseconds
    policy: AccountPolicy
    wallets: NotRequired[
        Annotated[list[Wallet], "The account's own, the oldest first. Absent in lists."]
    ]


class AccountList(TypedDict):
    """A page of the accounts, by id."""

    object: Literal["list"]
    data: list[Account]
    next: NextId


class NewAccountRequest(TypedDict):
    """An account to be made."""

    name: Name
    policy: NotRequired[AccountPolicy | None]


class AccountChangeRequest(TypedDict):
    """What is to change of a policy. What is not said stays; null is the default again."""

    policy: AccountPolicy


class CreditRequest(TypedDict):
    """Money that came in from outside."""

    amount: Amount
    why: Why
    asset: NotRequired[Asset | None]
    end_user: NotRequired[
        Annotated[EndUserName | None, "Whose sub-wallet it is for; else the account's own."]
    ]


class AdjustmentRequest(TypedDict):
    """Money between a wallet and a line of the chart of accounts."""

    amount: Annotated[
        int,
        Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT),
        "In the asset's smallest unit; what is negative leaves the wallet. Not 0.",
    ]
    why: Why
    asset: NotRequired[Asset | None]
    end_user: NotRequired[
        Annotated[EndUserName | None, "Whose sub-wallet it is for; else the account's own."]
    ]
    line: NotRequired[
        Annotated[
            Literal[
                "revenue",
                "cash",
                "promotions",
                "suspense",
                "refunds",
                "overruns",
                "receivable",
            ]
            | None,
            "Where it comes from, or goes to. Default `promotions`.",
        ]
    ]


class EndUser(TypedDict):
    """One of an account's own customers, of whom it has said something."""

    name: EndUserName
    created_ms: Milliseconds
    limits: Annotated[Limits | None, "His own; null are those the account has for all."]
    wallets: NotRequired[
        Annotated[list[Wallet], "His sub-wallets, the oldest first. Absent in lists."]
    ]


class EndUserList(TypedDict):
    """A page of them, by name."""

    object: Literal["list"]
    data: list[EndUser]
    next: NextName


class EndUserRequest(TypedDict):
    """The limits that he is to have, in place of those he had."""

    limits: Annotated[Limits | None, "Null: those the account has for all its end users."]


class TransferRequest(TypedDict):
    """Money between the account's own wallet and its end user's."""

    amount: Annotated[
        int,
        Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT),
        "To the end user, in the asset's smallest unit; what is negative goes back. Not 0.",
    ]
    why: Why
    asset: NotRequired[Asset | None]


class Transferred(TypedDict):
    """Both wallets, right after it."""

    account: Wallet
    end_user: Wallet
