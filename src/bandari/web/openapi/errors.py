"""What may go wrong, by status; and each protocol's way to say it.

The examples are written by the same encoders that write the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

import msgspec
from msgspec import Struct, field

from bandari.domain.faults import (
    IdempotencyKeyReused,
    InvalidValue,
    ModelNotFound,
    OwnFault,
    RequestTimeout,
    RequestTooLarge,
    UpstreamInterrupted,
    UpstreamOverloaded,
    UpstreamTimeout,
)
from bandari.domain.outcome import Deny, Reason
from bandari.domain.problem import Problem, of_fault, of_refusal
from bandari.web.openapi.headers import IDENTITY, LIMITS, MESSAGES_LIMITS, response_headers
from bandari.web.openapi.json_values import JsonObject
from bandari.web.openapi.schema import Schemas, Shape
from bandari.web.openapi.shapes.errors import ErrorResponse, MessagesError, TypedStreamError
from bandari.wire.chat_completions import errors as chat_errors
from bandari.wire.messages import errors as messages_errors
from bandari.wire.typed_stream import errors as typed_errors


class Failure(Struct, frozen=True):
    """``codes`` are all that an answer of this status may have; ``example`` has one of them.

    ``names_limit``: it may be a limit's, and says which.
    """

    description: str
    codes: tuple[str, ...]
    example: Problem
    headers: tuple[str, ...] = ()
    names_limit: bool = False


BEFORE_THE_DOOR: Final = (401, 403)
"""What is told of limits comes with everything else."""
RETRY: Final = ("x-should-retry",)
RETRY_LATER: Final = ("retry-after", "retry-after-ms", *RETRY)

FAILURES: Final[Mapping[int, Failure]] = {
    400: Failure(
        "The request cannot be served as it is; the error names the field at fault.",
        (
            "invalid_json",
            "invalid_request",
            "invalid_value",
            "missing_required_parameter",
            "unsupported_parameter",
            "context_length_exceeded",
            "upstream_invalid_request",
        ),
        of_fault(
            InvalidValue("'temperature' must be between 0 and 2, and is 3.", param="temperature")
        ),
    ),
    401: Failure(
        "Nobody knows who is asking: the key is missing, misspelled, unknown, revoked or expired.",
        (
            "missing_api_key",
            "malformed_api_key",
            "invalid_api_key",
            "revoked_api_key",
            "expired_api_key",
        ),
        of_refusal(Deny(Reason.UNKNOWN_KEY, "The API key is unknown.")),
        ("www-authenticate", *RETRY),
    ),
    402: Failure(
        "The balance does not cover the request. Nothing was charged.",
        ("insufficient_balance",),
        of_refusal(
            Deny(
                Reason.INSUFFICIENT_BALANCE,
                "The balance does not cover this request: 12 TOKEN are free, and the prompt with "
                "the shortest useful answer may cost 40. Top up and try again.",
            )
        ),
        RETRY,
    ),
    403: Failure(
        "The key does not open this: its account is suspended, or it is for other uses or other "
        "networks.",
        ("account_suspended", "scope_not_allowed", "network_not_allowed"),
        of_refusal(
            Deny(
                Reason.WRONG_SCOPE,
                "This API key may not be used for messages: it may be used for embeddings only.",
            )
        ),
    ),
    404: Failure(
        "There is no such thing, or this key may not use it. The nearest models are named.",
        (
            "model_not_found",
            "response_not_found",
            "stream_not_found",
            "not_cached",
            "not_found",
        ),
        of_fault(
            ModelNotFound(
                "The model 'bandari-tin' does not exist. Did you mean 'bandari-tiny'?",
                param="model",
            )
        ),
    ),
    408: Failure(
        "The body of the request did not come in time.",
        ("request_timeout",),
        of_fault(RequestTimeout("The request body did not arrive within 30 s.")),
        RETRY,
    ),
    409: Failure(
        "The request does not go with what there is: no stream can go on with it, its "
        "`Idempotency-Key` was given with another, or the answer is not in a state for that. "
        "Nothing was generated or charged.",
        ("stream_not_resumable", "idempotency_key_reused", "cancelled", "running_elsewhere"),
        of_fault(IdempotencyKeyReused()),
        RETRY,
    ),
    413: Failure(
        "The body of the request is too large.",
        ("request_too_large",),
        of_fault(RequestTooLarge("The request body exceeds the limit of 33554432 bytes.")),
    ),
    429: Failure(
        "A limit or a quota has nothing left for now; `x-bandari-limit` names it. Or too many "
        "requests with keys that do not open have come from the address.",
        (
            "rate_limit_exceeded",
            "concurrency_limit_exceeded",
            "spend_limit_exceeded",
            "insufficient_quota",
            "too_many_failed_attempts",
        ),
        of_refusal(
            Deny(
                Reason.RATE_LIMIT,
                "Rate limit reached: 600 requests per minute. Try again in 0.1 s.",
                retry_after_ms=100,
            )
        ),
        RETRY_LATER,
        names_limit=True,
    ),
    500: Failure(
        "Something failed on the server's side.",
        ("internal_error", "interrupted", "answer_too_large"),
        of_fault(OwnFault()),
        RETRY,
    ),
    502: Failure(
        "The model's provider failed, and so did those that were tried after it. Where nothing was "
        "generated, nothing is charged.",
        (
            "upstream_error",
            "upstream_unreachable",
            "upstream_interrupted",
            "upstream_malformed",
            "upstream_refused",
        ),
        of_fault(UpstreamInterrupted()),
        RETRY,
    ),
    503: Failure(
        "The request cannot be served now: the provider, this server or its ledger has too much "
        "to do, or is about to start or to stop.",
        (
            "upstream_overloaded",
            "upstream_not_ready",
            "store_unavailable",
            "draining",
            "overloaded",
        ),
        of_fault(UpstreamOverloaded()),
        RETRY_LATER,
    ),
    504: Failure(
        "The model's provider did not answer in time.",
        ("upstream_timeout",),
        of_fault(UpstreamTimeout()),
        RETRY,
    ),
}


class Protocol(Struct, frozen=True):
    """``name`` begins the names of its answers: ``OpenAi404``. ``tells_code``: errors have one.

    ``limits`` are the headers in which it tells of limits.
    """

    name: str
    shape: Shape
    spell: Callable[[Problem], bytes]
    headers: tuple[str, ...] = IDENTITY
    tells_code: bool = True
    limits: tuple[str, ...] = LIMITS
    failures: Mapping[int, Failure] = field(default_factory=lambda: FAILURES)


ASKING: Final = (400, 401, 403, 429, 500, 503)
"""What may go wrong where something is looked up."""
ANSWERING: Final = (400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504)
"""What may go wrong where a model answers."""
WRITING: Final = (*ANSWERING, 409)
"""The same where the answer is recorded, and others may come to read it."""
CHANGING: Final = (*ASKING, 408, 413)
"""What may go wrong where something is changed."""

OPENAI: Final = Protocol("OpenAi", ErrorResponse, chat_errors.encode_problem)
TYPED: Final = Protocol(
    "Typed",
    TypedStreamError,
    typed_errors.encode_problem,
    (*IDENTITY, "deprecation", "link"),
)
MESSAGES: Final = Protocol(
    "Messages",
    MessagesError,
    partial(messages_errors.encode_problem, request_id="req_01m7z9ezq80sxqqxma2n101g6n"),
    (*IDENTITY, "request-id"),
    tells_code=False,
    limits=(*LIMITS, *MESSAGES_LIMITS),
)
EITHER: Final = Protocol(
    "Either",
    MessagesError | ErrorResponse,
    partial(messages_errors.encode_problem, request_id="req_01m7z9ezq80sxqqxma2n101g6n"),
    (*IDENTITY, "request-id"),
    limits=(*LIMITS, *MESSAGES_LIMITS),
)
"""Of URLs at which a client with ``anthropic-version`` speaks Messages, and others OpenAI's."""


def error_answers(used: Iterable[tuple[Protocol, int]], schemas: Schemas) -> JsonObject:
    """The components that operations refer to: of each protocol, answers by status."""
    return {
        answer_name(protocol, status): _answer(protocol, protocol.failures[status], schemas)
        for protocol, status in used
    }


def answer_name(protocol: Protocol, status: int) -> str:
    return f"{protocol.name}{status}"


def _answer(protocol: Protocol, failure: Failure, schemas: Schemas) -> JsonObject:
    description = failure.description
    if protocol.tells_code:
        codes = ", ".join(f"`{code}`" for code in failure.codes)
        description += f" `code`: {codes}."
    # Told at the door, and so with whatever goes wrong behind it.
    limits = protocol.limits if failure.example.status not in BEFORE_THE_DOOR else ()
    if failure.names_limit:
        limits = (*limits, "x-bandari-limit")
    return {
        "description": description,
        "headers": response_headers((*protocol.headers, *failure.headers, *limits)),
        "content": {
            "application/json": {
                "schema": schemas.of(protocol.shape),
                "example": msgspec.json.decode(protocol.spell(failure.example)),
            }
        },
    }
