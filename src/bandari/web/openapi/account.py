"""What a customer asks about himself, with his own key."""

from __future__ import annotations

from typing import Any, Final

from bandari.domain.outcome import LimitState
from bandari.web.openapi.admin import END_USER_LIMITS, MOVED, ONE_END_USER, TRANSFER
from bandari.web.openapi.admin_reports import exported
from bandari.web.openapi.errors import ASKING, CHANGING
from bandari.web.openapi.headers import IDENTITY
from bandari.web.openapi.operation import Answer, Example, Operation, Section
from bandari.web.openapi.own_errors import OWN
from bandari.web.openapi.samples import (
    ACCOUNT,
    BY,
    END_USER,
    KEY,
    RECEIPT,
    SUB_WALLET,
    USAGE_ROW,
    WALLET,
    said,
)
from bandari.web.openapi.schema import Shape
from bandari.web.openapi.shapes.accounts import (
    EndUser,
    EndUserList,
    EndUserRequest,
    Transferred,
    TransferRequest,
)
from bandari.web.openapi.shapes.reports import Balance, Receipt, ReceiptList, UsageReport
from bandari.wire.admin import answers
from bandari.wire.reports import bodies

_FILTERS: Final = ("OfOwnKey", "OfEndUser", "OfModel", "Start", "End")


def _operation(
    id: str,  # noqa: A002 - as the field is called
    method: str,
    path: str,
    summary: str,
    description: str,
    shape: Shape,
    example: Any,
    parameters: tuple[str, ...],
    failures: tuple[int, ...] = ASKING,
    body: Shape | None = None,
    examples: dict[str, Example] | None = None,
) -> Operation:
    return Operation(
        id=id,
        method=method,
        path=path,
        summary=summary,
        description=description,
        answer=Answer(
            "What was asked for.",
            shape=shape,
            headers=IDENTITY,
            examples={"answer": Example("An answer", example)},
        ),
        parameters=(*parameters, "OnBehalfOf", "RequestId"),
        body=body,
        examples=examples or {},
        protocol=OWN,
        failures=failures,
    )


_QUOTA: Final = {"per_month": (5_000_000, 29)}
_BALANCE: Final = answers.encode_balance(
    ACCOUNT,
    (WALLET,),
    KEY,
    _QUOTA,
    answers.end_user(END_USER, (SUB_WALLET,)),
    (LimitState("key.tokens_per_minute", 20_000, 1_300, 1_064, 7_092),),
)

OWN_ACCOUNT: Final = Section(
    "Balance and usage",
    "What the key's own account has, and what was charged. For keys with the scope `usage`.",
    (
        _operation(
            "getBalance",
            "get",
            "/balance",
            "Ask for the balance",
            "Of each wallet, and what is left of the key's quota.",
            Balance,
            said(_BALANCE),
            (),
        ),
        exported(
            _operation(
                "getUsage",
                "get",
                "/usage",
                "Add up usage",
                "It agrees with the receipts to the unit. Without `by` it is one row for each "
                "asset; with `X-On-Behalf-Of` it is of that end user.",
                UsageReport,
                said(bodies.usage_body([USAGE_ROW], BY)),
                (*_FILTERS, "By", "Format"),
            )
        ),
        exported(
            _operation(
                "listReceipts",
                "get",
                "/receipts",
                "List receipts",
                "In the order in which they were charged; with `X-On-Behalf-Of`, of that end user.",
                ReceiptList,
                said(bodies.receipts_body([RECEIPT], None, tells_target=False)),
                (*_FILTERS, "AfterId", "PageLimit", "Format"),
            )
        ),
        _operation(
            "getReceipt",
            "get",
            "/receipts/{receipt}",
            "Look at a receipt",
            "What an answer cost, and why.",
            Receipt,
            said(bodies.receipt_body(RECEIPT, tells_target=False)),
            ("ReceiptId",),
            (*ASKING, 404),
        ),
    ),
)

OWN_END_USERS: Final = Section(
    "End users",
    "An account's own customers: their limits, and the money they may spend. For keys with the "
    "scope `end_users`.",
    (
        _operation(
            "listEndUsers",
            "get",
            "/end-users",
            "List the end users",
            "Those of whom the account has said something, by name; others may use it too.",
            EndUserList,
            said(answers.encode_page([answers.end_user(END_USER)])),
            ("AfterName", "PageLimit"),
        ),
        _operation(
            "getEndUser",
            "get",
            "/end-users/{end_user}",
            "Look at an end user",
            "With his wallets.",
            EndUser,
            ONE_END_USER,
            ("EndUserName",),
            (*ASKING, 404),
        ),
        _operation(
            "putEndUser",
            "put",
            "/end-users/{end_user}",
            "Limit an end user",
            "In place of the limits that he had. He is made if he is new.",
            EndUser,
            ONE_END_USER,
            ("EndUserName",),
            CHANGING,
            EndUserRequest,
            {"limits": Example("Limits of his own", END_USER_LIMITS)},
        ),
        _operation(
            "transferToEndUser",
            "post",
            "/end-users/{end_user}/transfers",
            "Move money to an end user's wallet",
            "From the account's own wallet; back, where the amount is negative. He and his wallet "
            "are made if they are new. Sent twice it is booked twice: `Idempotency-Key` is "
            "refused, so that nobody counts on it.",
            Transferred,
            MOVED,
            ("EndUserName",),
            (*CHANGING, 409),
            TransferRequest,
            {"transfer": Example("An allowance", TRANSFER)},
        ),
    ),
)
