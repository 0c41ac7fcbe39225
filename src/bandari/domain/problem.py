"""What the client is told when it does not get its answer: one value, from a refusal or a fault.

Every codec renders a ``Problem`` in its own envelope, as a whole body and mid-stream.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from bandari.domain.faults import CallerFault, Fault, UpstreamFault
from bandari.domain.outcome import Deny, Reason


class Blame(Enum):
    """Who has to act for the request to succeed next time."""

    CALLER = "caller"
    UPSTREAM = "upstream"
    OURS = "ours"


class Problem(Struct, frozen=True):
    """An error for the client.

    ``status`` is the HTTP status it would have before a stream began.
    """

    status: int
    code: str
    message: str
    blame: Blame
    param: str | None = None
    retry: bool = False
    retry_after_ms: int | None = None
    allow: str | None = None


_STATUS_OF_REASON = {
    Reason.MISSING_KEY: 401,
    Reason.MALFORMED_KEY: 401,
    Reason.UNKNOWN_KEY: 401,
    Reason.REVOKED_KEY: 401,
    Reason.EXPIRED_KEY: 401,
    Reason.TOO_MANY_FAILURES: 429,
    Reason.SUSPENDED_ACCOUNT: 403,
    Reason.WRONG_NETWORK: 403,
    Reason.WRONG_SCOPE: 403,
    Reason.WRONG_ROLE: 403,
    Reason.INSUFFICIENT_BALANCE: 402,
    Reason.KEY_QUOTA: 429,
    Reason.SPEND_LIMIT: 429,
    Reason.RATE_LIMIT: 429,
    Reason.CONCURRENCY_LIMIT: 429,
}


def of_refusal(deny: Deny) -> Problem:
    """The problem that a policy's refusal is for the client."""
    status = _STATUS_OF_REASON[deny.reason]
    return Problem(
        status=status,
        code=deny.reason.value,
        message=deny.detail,
        blame=Blame.CALLER,
        retry=deny.retry_after_ms is not None,
        retry_after_ms=deny.retry_after_ms,
    )


def of_fault(fault: Fault) -> Problem:
    """The problem that a fault is for the client."""
    if isinstance(fault, CallerFault):
        blame = Blame.CALLER
    elif isinstance(fault, UpstreamFault):
        blame = Blame.UPSTREAM
    else:
        blame = Blame.OURS
    return Problem(
        status=fault.status,
        code=fault.code,
        message=fault.message,
        blame=blame,
        param=fault.param,
        retry=fault.retry,
        retry_after_ms=fault.retry_after_ms,
    )
