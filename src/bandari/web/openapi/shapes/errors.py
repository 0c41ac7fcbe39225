"""Errors, in each protocol's envelope."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

Code = Annotated[
    str,
    "What went wrong, for programs: stable, and the same word on every surface (see the answer).",
]
Field = Annotated[
    str | None, "The field at fault, as the request spells it: `messages[2].role`, for example."
]


class ErrorDetails(TypedDict):
    """What went wrong."""

    message: Annotated[str, "What went wrong, for people."]
    type: Literal[
        "invalid_request_error",
        "authentication_error",
        "insufficient_quota",
        "permission_error",
        "rate_limit_error",
        "server_error",
    ]
    param: Field
    code: Code


class ErrorResponse(TypedDict):
    """An error in OpenAI's envelope: as a whole answer, and as the last data of a stream."""

    error: ErrorDetails


class TypedErrorData(TypedDict):
    """What the error is called on every other surface."""

    code: Code
    param: Field


class TypedStreamError(TypedDict):
    """An error in oRPC's envelope: as a whole answer, and as the data of an `error` event."""

    defined: Literal[False]
    code: Annotated[
        Literal[
            "BAD_REQUEST",
            "UNAUTHORIZED",
            "PAYMENT_REQUIRED",
            "FORBIDDEN",
            "NOT_FOUND",
            "METHOD_NOT_SUPPORTED",
            "TIMEOUT",
            "CONFLICT",
            "PAYLOAD_TOO_LARGE",
            "UNPROCESSABLE_CONTENT",
            "TOO_MANY_REQUESTS",
            "INTERNAL_SERVER_ERROR",
            "BAD_GATEWAY",
            "SERVICE_UNAVAILABLE",
            "GATEWAY_TIMEOUT",
        ],
        "The status in words.",
    ]
    status: Annotated[int, "The HTTP status, also where the error comes in a stream."]
    message: Annotated[str, "What went wrong, for people."]
    data: TypedErrorData


class MessagesErrorDetails(TypedDict):
    """What went wrong."""

    type: Literal[
        "invalid_request_error",
        "authentication_error",
        "billing_error",
        "permission_error",
        "not_found_error",
        "request_too_large",
        "rate_limit_error",
        "api_error",
        "timeout_error",
        "overloaded_error",
    ]
    message: Annotated[str, "What went wrong, for people."]


class MessagesError(TypedDict):
    """An error in Anthropic's envelope: as a whole answer, and as the last event of a stream."""

    type: Literal["error"]
    error: MessagesErrorDetails
    request_id: NotRequired[Annotated[str | None, "The `request-id` of the answer."]]
