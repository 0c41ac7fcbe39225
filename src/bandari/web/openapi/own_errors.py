"""What may go wrong where operators operate, and where customers ask about themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.domain.faults import NotFound
from bandari.domain.outcome import Deny, Reason
from bandari.domain.problem import of_fault, of_refusal
from bandari.service.administration import AlreadyExists, TooLittleFree
from bandari.web.openapi.errors import FAILURES, RETRY, RETRY_LATER, Failure, Protocol
from bandari.web.openapi.shapes.errors import ErrorResponse
from bandari.wire.chat_completions.errors import encode_problem

_TOO_LITTLE: Final = TooLittleFree(
    "Only 12 TOKEN are free in that wallet, and 40 would go out.", param="amount"
)
_NOT_THERE: Final = of_fault(NotFound("There is no account 'amna'.", param="account"))

_GUESSING: Final = Failure(
    "Too many requests with keys that do not open have come from the address.",
    ("too_many_failed_attempts",),
    of_refusal(
        Deny(
            Reason.TOO_MANY_FAILURES,
            "Too many requests with a key that does not open have come from your address. "
            "Wait, and check the key.",
            retry_after_ms=3000,
        )
    ),
    RETRY_LATER,
)

OWN_FAILURES: Final[Mapping[int, Failure]] = {
    **FAILURES,
    404: Failure("The account has no such thing.", ("not_found",), of_fault(NotFound())),
    409: Failure(
        "The wallet has less than would go out.",
        ("insufficient_balance",),
        of_fault(_TOO_LITTLE),
        RETRY,
    ),
    429: _GUESSING,
}
"""Of what customers ask about themselves."""

ADMIN_FAILURES: Final[Mapping[int, Failure]] = {
    **FAILURES,
    401: Failure(
        "Nobody knows who is asking: the admin key is missing, misspelled or unknown, or its "
        "user is disabled.",
        ("missing_api_key", "malformed_api_key", "invalid_api_key", "revoked_api_key"),
        of_refusal(Deny(Reason.UNKNOWN_KEY, "The admin key is unknown.")),
        ("www-authenticate", *RETRY),
    ),
    403: Failure(
        "The user's role does not allow it.",
        ("role_not_allowed",),
        of_refusal(Deny(Reason.WRONG_ROLE, "The role 'auditor' may not change anything.")),
    ),
    404: Failure("There is no such thing.", ("not_found",), _NOT_THERE),
    409: Failure(
        "It cannot be done as things are. Nothing was changed.",
        (
            "already_exists",
            "insufficient_balance",
            "revoked_api_key",
            "user_disabled",
            "last_owner",
            "invalid_configuration",
        ),
        of_fault(AlreadyExists("There is already an account 'amina'.", param="name")),
        RETRY,
    ),
    429: _GUESSING,
}
"""Of the operator API."""

OWN: Final = Protocol("Own", ErrorResponse, encode_problem, limits=(), failures=OWN_FAILURES)
ADMIN: Final = Protocol("Admin", ErrorResponse, encode_problem, limits=(), failures=ADMIN_FAILURES)
