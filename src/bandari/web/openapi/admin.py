"""The operator API: what its operations have in common, and the accounts among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bandari.web.openapi.errors import ASKING, CHANGING
from bandari.web.openapi.headers import IDENTITY
from bandari.web.openapi.operation import Answer, Example, Operation, Section
from bandari.web.openapi.own_errors import ADMIN
from bandari.web.openapi.samples import ACCOUNT, END_USER, SUB_WALLET, WALLET, said
from bandari.web.openapi.schema import Shape
from bandari.web.openapi.shapes.accounts import (
    Account,
    AccountChangeRequest,
    AccountList,
    AdjustmentRequest,
    CreditRequest,
    EndUser,
    EndUserList,
    EndUserRequest,
    NewAccountRequest,
    Transferred,
    TransferRequest,
    Wallet,
    WalletList,
)
from bandari.wire.admin import answers

BASES: Final = ("/admin/v1",)
SCHEMES: Final = ("adminBearer", "adminKey")


def operation(
    id: str,  # noqa: A002 - as the field is called
    method: str,
    path: str,
    summary: str,
    description: str,
    shape: Shape,
    example: Any,
    *,
    parameters: tuple[str, ...] = (),
    body: Shape | None = None,
    examples: Mapping[str, Example] | None = None,
    failures: tuple[int, ...] = (),
) -> Operation:
    """An operation of operators; ``failures`` are those that not every one has."""
    return Operation(
        id=id,
        method=method,
        path=path,
        summary=summary,
        description=description,
        answer=Answer(
            "Done." if method != "get" else "What was asked for.",
            shape=shape,
            headers=IDENTITY,
            examples={"answer": Example("An answer", example)},
        ),
        body=body,
        examples=examples or {},
        parameters=(*parameters, "RequestId"),
        protocol=ADMIN,
        failures=tuple(sorted({*(ASKING if body is None else CHANGING), *failures})),
    )


ONE_ACCOUNT: Final = said(answers.encode(answers.account(ACCOUNT, (WALLET,))))
ONE_END_USER: Final = said(answers.encode(answers.end_user(END_USER, (SUB_WALLET,))))
MOVED: Final = {"account": answers.wallet(WALLET), "end_user": answers.wallet(SUB_WALLET)}

NEW_ACCOUNT: Final[NewAccountRequest] = {
    "name": "baraka",
    "policy": {
        "limits": {"requests_per_minute": 600},
        "end_user_limits": {"tokens_per_day": 20000},
    },
}
ACCOUNT_CHANGE: Final[AccountChangeRequest] = {
    "policy": {"limits": {"spend_per_month": {"KES": 50_000_000_000}}, "is_suspended": False}
}
CREDIT: Final[CreditRequest] = {"amount": 1_000_000, "why": "M-Pesa SFE7K2X1QZ"}
ADJUSTMENT: Final[AdjustmentRequest] = {
    "amount": -500,
    "asset": "TOKEN",
    "why": "credited twice by mistake",
    "line": "cash",
}
END_USER_LIMITS: Final[EndUserRequest] = {
    "limits": {"tokens_per_day": 20_000, "requests_per_minute": 10}
}
TRANSFER: Final[TransferRequest] = {"amount": 50_000, "why": "December's allowance"}

ACCOUNTS: Final = Section(
    "Operating: accounts",
    "For operators, with an admin key. Who the customers are, what they may, and what is in their "
    "wallets. Every change is in the log, with who has made it. A field or parameter that is not "
    "known is refused.",
    (
        operation(
            "adminListAccounts",
            "get",
            "/accounts",
            "List the accounts",
            "Page by page, by id.",
            AccountList,
            said(answers.encode_page([answers.account(ACCOUNT)])),
            parameters=("AfterId", "PageLimit"),
        ),
        operation(
            "adminCreateAccount",
            "post",
            "/accounts",
            "Make an account",
            "It has no wallet before there is money in one.",
            Account,
            said(answers.encode(answers.account(ACCOUNT, ()))),
            body=NewAccountRequest,
            examples={"account": Example("An account with limits", NEW_ACCOUNT)},
            failures=(409,),
        ),
        operation(
            "adminGetAccount",
            "get",
            "/accounts/{account}",
            "Look at an account",
            "With its own wallets.",
            Account,
            ONE_ACCOUNT,
            parameters=("AccountName",),
            failures=(404,),
        ),
        operation(
            "adminChangeAccount",
            "patch",
            "/accounts/{account}",
            "Change what an account may",
            "What is not said stays, name by name in `limits` too; null is the default again. A "
            "request that comes a second later is treated by it.",
            Account,
            ONE_ACCOUNT,
            parameters=("AccountName",),
            body=AccountChangeRequest,
            examples={"policy": Example("A limit for the month", ACCOUNT_CHANGE)},
            failures=(404,),
        ),
        operation(
            "adminListWallets",
            "get",
            "/accounts/{account}/wallets",
            "List an account's wallets",
            "Its own; those of an end user are with him.",
            WalletList,
            said(answers.encode_page([answers.wallet(WALLET)])),
            parameters=("AccountName",),
            failures=(404,),
        ),
        operation(
            "adminCredit",
            "post",
            "/accounts/{account}/credits",
            "Put money in a wallet",
            "Money that came in from outside, out of `cash`. The wallet is made if it is new. Sent "
            "twice it is booked twice: `Idempotency-Key` is refused, so that nobody counts on it.",
            Wallet,
            answers.wallet(WALLET),
            parameters=("AccountName",),
            body=CreditRequest,
            examples={"credit": Example("A top-up", CREDIT)},
            failures=(404,),
        ),
        operation(
            "adminAdjust",
            "post",
            "/accounts/{account}/adjustments",
            "Put a wallet right",
            "More, or less where the amount is negative; never more than is free. Sent twice it is "
            "booked twice.",
            Wallet,
            answers.wallet(WALLET),
            parameters=("AccountName",),
            body=AdjustmentRequest,
            examples={"adjustment": Example("Too much was credited", ADJUSTMENT)},
            failures=(404, 409),
        ),
        operation(
            "adminListEndUsers",
            "get",
            "/accounts/{account}/end-users",
            "List an account's end users",
            "Those of whom something was said, by name; others may use the account too.",
            EndUserList,
            said(answers.encode_page([answers.end_user(END_USER)])),
            parameters=("AccountName", "AfterName", "PageLimit"),
            failures=(404,),
        ),
        operation(
            "adminGetEndUser",
            "get",
            "/accounts/{account}/end-users/{end_user}",
            "Look at an end user",
            "With his wallets.",
            EndUser,
            ONE_END_USER,
            parameters=("AccountName", "EndUserName"),
            failures=(404,),
        ),
        operation(
            "adminPutEndUser",
            "put",
            "/accounts/{account}/end-users/{end_user}",
            "Limit an end user",
            "In place of the limits that he had. He is made if he is new.",
            EndUser,
            ONE_END_USER,
            parameters=("AccountName", "EndUserName"),
            body=EndUserRequest,
            examples={"limits": Example("Limits of his own", END_USER_LIMITS)},
            failures=(404,),
        ),
        operation(
            "adminTransfer",
            "post",
            "/accounts/{account}/end-users/{end_user}/transfers",
            "Move money to an end user's wallet",
            "From the account's own wallet; back, where the amount is negative. He and his wallet "
            "are made if they are new. Sent twice it is booked twice.",
            Transferred,
            MOVED,
            parameters=("AccountName", "EndUserName"),
            body=TransferRequest,
            examples={"transfer": Example("An allowance", TRANSFER)},
            failures=(404, 409),
        ),
    ),
    bases=BASES,
    schemes=SCHEMES,
)
