"""OpenAI's error envelope: written for clients, and read from upstreams.

What an upstream says about *our* account there (its keys, its quotas) never reaches our clients;
what it says about the client's request does.
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
from bandari.domain.problem import Blame, Problem

MAX_UPSTREAM_MESSAGE: Final = 1000

_TYPE_OF_STATUS: Final = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}

_ABOUT_OUR_ACCOUNT: Final = frozenset(
    {
        "authentication_error",
        "billing_not_active",
        "insufficient_quota",
        "invalid_api_key",
        "permission_error",
    }
)
"""Types and codes of errors that our clients can do nothing about, whatever their status."""

_encode = msgspec.json.Encoder().encode


class _UpstreamError(Struct):
    """The union of what OpenAI-compatible servers put into ``error``."""

    message: str | None = None
    type: str | None = None
    code: Any = None
    param: Any = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _Body(Struct):
    error: _UpstreamError | str | None = None
    message: str | None = None
    detail: Any = None

    @property
    def said(self) -> str | None:
        """What a server without the envelope says (FastAPI: ``detail``, sometimes as a list)."""
        return self.message or (self.detail if isinstance(self.detail, str) else None)


_read_body = msgspec.json.Decoder(_Body).decode
_read_error = msgspec.json.Decoder(_UpstreamError | str).decode


def encode_problem(problem: Problem) -> bytes:
    """The JSON body of an error answer."""
    kind = _TYPE_OF_STATUS.get(problem.status)
    if kind is None:
        kind = "invalid_request_error" if problem.blame is Blame.CALLER else "server_error"
    return _encode(
        {
            "error": {
                "message": problem.message,
                "type": kind,
                "param": problem.param,
                "code": problem.code,
            }
        }
    )


def read_error(status: int, body: bytes, retry_after_ms: int | None = None) -> Fault:
    """The fault that an upstream's error answer stands for."""
    error = _parse(body)
    if status in (401, 402, 403, 404, 405) or _is_about_our_account(error):
        return UpstreamRefused()
    if status in (400, 413, 422) or _is_callers(error):
        return _caller_fault(error)
    if status in (408, 504):
        return UpstreamTimeout()
    if status == 503 and "loading" in (error.message or "").lower():
        return UpstreamNotReady(retry_after_ms=retry_after_ms or 1000)
    if status in (429, 503, 529):
        return UpstreamOverloaded(retry_after_ms=retry_after_ms)
    return UpstreamFault(f"The model's provider failed with status {status}.")


def read_stream_error(error: bytes) -> Fault:
    """The fault that an in-stream ``error`` object stands for."""
    try:
        parsed = _read_error(error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return UpstreamFault()
    if isinstance(parsed, str):
        parsed = _UpstreamError(message=parsed)
    if parsed.code in (401, 402, 403) or _is_about_our_account(parsed):
        return UpstreamRefused()
    if _is_callers(parsed):
        return _caller_fault(parsed)
    if parsed.code in (429, 503, 529):
        return UpstreamOverloaded()
    if parsed.message:
        return UpstreamFault(_bounded(f"The model's provider failed: {parsed.message}"))
    return UpstreamFault()


def _parse(body: bytes) -> _UpstreamError:
    try:
        parsed = _read_body(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _UpstreamError()
    if isinstance(parsed.error, _UpstreamError):
        return parsed.error
    if isinstance(parsed.error, str):
        return _UpstreamError(message=parsed.error)
    return _UpstreamError(message=parsed.said)


def _caller_fault(error: _UpstreamError) -> Fault:
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


def _is_too_long(error: _UpstreamError) -> bool:
    """llama.cpp has a type for it, OpenAI a code, and vLLM only says it."""
    return (
        error.type == "exceed_context_size_error"
        or error.code == "context_length_exceeded"
        or "maximum context length" in (error.message or "")
    )


def _is_callers(error: _UpstreamError) -> bool:
    """llama.cpp answers 500 to an image that its model cannot read."""
    return _is_too_long(error) or "image input is not supported" in (error.message or "")


def _is_about_our_account(error: _UpstreamError) -> bool:
    """Some providers answer 400 to a key that they do not know, and quote it."""
    return (
        error.type in _ABOUT_OUR_ACCOUNT
        or (isinstance(error.code, str) and error.code in _ABOUT_OUR_ACCOUNT)
        or "api key" in (error.message or "").lower()
    )


def _bounded(text: str) -> str:
    return text if len(text) <= MAX_UPSTREAM_MESSAGE else text[:MAX_UPSTREAM_MESSAGE] + "…"
