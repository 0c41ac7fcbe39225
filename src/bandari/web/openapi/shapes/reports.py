"""Receipts, usage and balances."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from bandari.web.openapi.shapes.accounts import EndUser, Milliseconds, NextId, Wallet
from bandari.web.openapi.shapes.chat_answer import Count

Moment = Annotated[str | None, "The same in ISO 8601, UTC."]


class TokensByKind(TypedDict):
    """Tokens. Input and output are whole, the others parts of them."""

    input_tokens: Count
    cached_tokens: Count
    cache_write_tokens: Count
    output_tokens: Count
    reasoning_tokens: Count
    total_tokens: Count


class EstimateBasis(TypedDict):
    """What an estimate goes by; ratios are in millionths of a token for each byte."""

    input_bytes: Count
    images: Count
    output_bytes: Count
    input_ratio: Count
    output_ratio: Count


class ReceiptEntry(TypedDict):
    """What was charged for one answer, and why."""

    id: Annotated[str, "The answer's `x-bandari-receipt`."]
    account: str
    key_id: int
    end_user: str | None
    model: Annotated[str, "The model's public id."]
    target: NotRequired[Annotated[str, "Which provider has answered; only operators are told."]]
    asset: str
    amount: Annotated[int, "What left the wallet, in the asset's smallest unit."]
    overrun: Annotated[Count, "What the answer cost beyond that; the operator bears it."]
    balance_after: Annotated[int, "The wallet's balance right after it."]
    rate_card_version: int
    price_ratio: Annotated[str, "What the key's group paid of the price: `1`, `3/4`."]
    usage: TokensByKind
    repeated_tokens: Annotated[
        Count, "Those of an answer that was repeated from the cache; its usage is nothing then."
    ]
    rule: Annotated[
        Literal["reported", "counted", "estimated"], "Where the numbers of tokens come from."
    ]
    basis: EstimateBasis | None
    ending: Annotated[
        Literal[
            "completed",
            "client_left",
            "cancelled",
            "upstream_failed",
            "out_of_balance",
            "limit_reached",
            "too_large",
            "server_stopped",
            "server_died",
        ],
        "How the answer ended.",
    ]
    finish_reason: str | None
    reasoning_effort: str | None
    created_ms: Milliseconds
    created: Moment
    ended_ms: Annotated[int, "When it was charged, in milliseconds since 1970, UTC."]
    ended: Moment


class Receipt(ReceiptEntry):
    """What was charged for one answer, and why."""

    object: Literal["receipt"]


class ReceiptList(TypedDict):
    """A page of receipts, in the order in which they were charged."""

    object: Literal["list"]
    data: list[ReceiptEntry]
    next: NextId


class UsageEntry(TypedDict):
    """Charged answers added up, in one asset. What was not in `by` is absent."""

    start_ms: NotRequired[Annotated[int | None, "The hour's, day's or month's beginning."]]
    start: NotRequired[Moment]
    account: NotRequired[str | None]
    key_id: NotRequired[int | None]
    end_user: NotRequired[Annotated[str | None, "Empty: on nobody's behalf."]]
    model: NotRequired[str | None]
    asset: str
    requests: Count
    amount: Annotated[int, "What left wallets, in the asset's smallest unit."]
    overrun: Annotated[Count, "What the operator bore."]
    usage: TokensByKind


class UsageReport(TypedDict):
    """All of it. What is charged in two assets is never added up."""

    object: Literal["list"]
    by: list[Literal["hour", "day", "month", "account", "key", "end_user", "model"]]
    data: list[UsageEntry]


class QuotaPart(TypedDict):
    """Tokens that a key may use in a time."""

    limit: Count
    used: Annotated[Count, "What was charged. Answers that are running are not in it."]
    remaining: Count


class QuotaStanding(TypedDict):
    """Of each part that the key has."""

    lifetime: NotRequired[QuotaPart]
    per_day: NotRequired[QuotaPart]
    per_month: NotRequired[QuotaPart]


class BalanceKey(TypedDict):
    """The key that asks."""

    id: int
    name: str
    group: str
    expires_ms: Annotated[int | None, "In milliseconds since 1970, UTC."]
    quota: QuotaStanding


class LimitStanding(TypedDict):
    """How a limit stands, of the key, the account, or the end user on whose behalf it is asked."""

    name: Annotated[str, "Like `key.tokens_per_minute`."]
    limit: int
    used: Annotated[int, "What was used and has not come back."]
    reserved: Annotated[int, "What answers that are running may still use, or how many there are."]
    remaining: int
    reset_ms: Annotated[
        int | None, "How long until all of it is there again, in milliseconds, if it is known."
    ]


class Balance(TypedDict):
    """What the account has, and what the key that asks may use of it."""

    object: Literal["balance"]
    account: str
    wallets: Annotated[list[Wallet], "The account's own, the oldest first."]
    end_user: Annotated[
        EndUser | None, "With `X-On-Behalf-Of`: what the account has said of him, if it has."
    ]
    key: BalanceKey
    limits: Annotated[
        list[LimitStanding],
        "Those of the key and the account; limits that are shared with others are not told.",
    ]
