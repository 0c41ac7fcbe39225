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
    Reason.INSUFFICIENT_BALANCE: 402,
    Reason.REQUESTS_PER_MINUTE: 429,
    Reason.TOO_MANY_STREAMS: 429,
}
_CODE_OF_REASON = {Reason.REQUESTS_PER_MINUTE: "rate_limit_exceeded"}


def of_refusal(deny: Deny) -> Problem:
    """The problem that a policy's refusal is for the client."""
    status = _STATUS_OF_REASON[deny.reason]
    return Problem(
        status=status,
        code=_CODE_OF_REASON.get(deny.reason, deny.reason.value),
        message=deny.detail,
        blame=Blame.CALLER,
        retry=status == 429,
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
