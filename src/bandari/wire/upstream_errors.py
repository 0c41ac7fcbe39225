"""What an upstream says when it fails, in whichever envelope, as the fault that it is for us.

What it says about *our* account there (its keys, its quotas) never reaches our clients; what it
says about the client's request does. Which types a protocol has is its codec's business.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from bandari.domain.faults import (
    ContextLengthExceeded,
    Fault,
    UpstreamFault,
    UpstreamInvalidRequest,
    UpstreamNotReady,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)

MAX_UPSTREAM_MESSAGE: Final = 1000

_ACCOUNT_KINDS: Final = frozenset(
    {
        "authentication_error",
        "billing_error",
        "billing_not_active",
        "insufficient_quota",
        "invalid_api_key",
        "permission_error",
    }
)
"""Types and codes of errors that our clients can do nothing about, whatever their status."""

_ACCOUNT_CODES: Final = (
    "claude_code_key_",
    "cmek_",
    "contract_spend_",
    "enforced_spend_",
    "linked_organization_",
    "organization_",
)
"""How the codes begin that Anthropic gives in ``details`` to what is amiss with an account."""

_ACCOUNT_PHRASES: Final = (
    "api key",
    "credit balance is too low",
    "organization has been disabled",
    "api usage limits",
)

_TOO_LONG_PHRASES: Final = (
    "maximum context length",
    "prompt is too long",
    "exceed context limit",
)


class UpstreamError(Struct):
    """The union of what servers put into ``error``."""

    message: str | None = None
    type: str | None = None
    code: Any = None
    param: Any = None
    details: Any = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Body(Struct):
    error: UpstreamError | str | None = None
    message: str | None = None
    detail: Any = None

    @property
    def said(self) -> str | None:
        """What a server without the envelope says (FastAPI: ``detail``, sometimes as a list)."""
        return self.message or (self.detail if isinstance(self.detail, str) else None)


_read_body = msgspec.json.Decoder(_Body).decode
_read_error = msgspec.json.Decoder(UpstreamError | str).decode


def parse_body(body: bytes) -> UpstreamError:
    """The error in the body of an answer; an empty one where there is none to be read."""
    try:
        parsed = _read_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UpstreamError()
    if isinstance(parsed.error, UpstreamError):
        return parsed.error
    return UpstreamError(message=parsed.error or parsed.said)


def parse_error(error: bytes) -> UpstreamError:
    """The error that is an object, or a mere string; an empty one where it is neither."""
    try:
        parsed = _read_error(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UpstreamError()
    return UpstreamError(message=parsed) if isinstance(parsed, str) else parsed


def fault_of_status(status: int, error: UpstreamError, retry_after_ms: int | None = None) -> Fault:
    """What an answer with this status means. The message of a failure of theirs is not told."""
    if status in (401, 402, 403, 404, 405) or _is_about_our_account(error):
        return UpstreamRefused()
    if status in (400, 413, 422) or _is_callers(error):
        return _callers_fault(error)
    if status in (408, 504):
        return UpstreamTimeout()
    if status == 503 and "loading" in (error.message or "").lower():
        return UpstreamNotReady(retry_after_ms=retry_after_ms or 1000)
    if status in (429, 503, 529):
        return UpstreamOverloaded(retry_after_ms=retry_after_ms)
    return UpstreamFault(f"The model's provider failed with status {status}.")


def fault_in_stream(error: UpstreamError, code: Any) -> Fault:
    """What an error in a stream means. ``code`` is the status it would have had, if it says so."""
    if code in (401, 402, 403) or _is_about_our_account(error):
        return UpstreamRefused()
    if _is_callers(error):
        return _callers_fault(error)
    if code in (429, 503, 529):
        return UpstreamOverloaded()
    if error.message:
        return UpstreamFault(_bounded(f"The model's provider failed: {error.message}"))
    return UpstreamFault()


def _callers_fault(error: UpstreamError) -> Fault:
    """What is wrong with the client's request, in the upstream's words."""
    if _is_too_long(error):
        if error.n_prompt_tokens is not None and error.n_ctx is not None:
            return ContextLengthExceeded(
                f"The prompt has {error.n_prompt_tokens} tokens; the model's context window holds "
                f"{error.n_ctx}.",
                param="messages",
            )
        return ContextLengthExceeded(error.message and _bounded(error.message), param="messages")
    param = error.param if isinstance(error.param, str) else None
    return UpstreamInvalidRequest(error.message and _bounded(error.message), param=param)


def _is_about_our_account(error: UpstreamError) -> bool:
    """Some providers answer 400 to a key that they do not know, and quote it."""
    code = error.details.get("error_code") if isinstance(error.details, dict) else None
    said = (error.message or "").lower()
    return (
        error.type in _ACCOUNT_KINDS
        or (isinstance(error.code, str) and error.code in _ACCOUNT_KINDS)
        or (isinstance(code, str) and code.startswith(_ACCOUNT_CODES))
        or any(phrase in said for phrase in _ACCOUNT_PHRASES)
    )


def _is_too_long(error: UpstreamError) -> bool:
    """llama.cpp has a type for it, OpenAI a code; others only say it."""
    said = error.message or ""
    return (
        error.type == "exceed_context_size_error"
        or error.code == "context_length_exceeded"
        or any(phrase in said for phrase in _TOO_LONG_PHRASES)
    )


def _is_callers(error: UpstreamError) -> bool:
    """llama.cpp answers 500 to an image that its model cannot read."""
    return _is_too_long(error) or "image input is not supported" in (error.message or "")


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_UPSTREAM_MESSAGE else text[:MAX_UPSTREAM_MESSAGE] + "…"
