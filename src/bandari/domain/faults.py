"""The taxonomy of faults, split by blame: the caller (4xx), the upstream (502-504), ourselves
(5xx).

The docstring of a class is its message. ``code`` is stable and machine-readable. A protocol's
envelope around it is the business of that protocol's codec, never of this file.
"""

from __future__ import annotations

from typing import ClassVar


class Fault(Exception):
    """Something went wrong."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        """``param`` names the field at fault, in the client's spelling (``messages[2].role``)."""
        self.message = message or (type(self).__doc__ or "").strip()
        self.param = param
        self.retry_after_ms = retry_after_ms
        super().__init__(self.message)


class CallerFault(Fault):
    """The request cannot be served as it is."""

    status, code = 400, "invalid_request"


class InvalidRequest(CallerFault):
    """The request is not valid."""

    status, code = 400, "invalid_request"


class InvalidValue(CallerFault):
    """A field has a value that is out of bounds or of the wrong type."""

    status, code = 400, "invalid_value"


class MissingField(CallerFault):
    """A required field is missing."""

    status, code = 400, "missing_required_parameter"


class UnsupportedField(CallerFault):
    """A field is not supported here."""

    status, code = 400, "unsupported_parameter"


class InvalidJson(CallerFault):
    """The request body is not valid JSON."""

    status, code = 400, "invalid_json"


class ContextLengthExceeded(CallerFault):
    """The prompt is longer than the model's context window."""

    status, code = 400, "context_length_exceeded"


class ModelNotFound(CallerFault):
    """The model does not exist, or this key may not use it."""

    status, code = 404, "model_not_found"


class NotFound(CallerFault):
    """There is nothing at this URL."""

    status, code = 404, "not_found"


class MethodNotAllowed(CallerFault):
    """This URL does not answer this method."""

    status, code = 405, "method_not_allowed"


class RequestTimeout(CallerFault):
    """The request body did not arrive in time."""

    status, code = 408, "request_timeout"


class RequestTooLarge(CallerFault):
    """The request body is too large."""

    status, code = 413, "request_too_large"


class UpstreamFault(Fault):
    """The model's provider failed."""

    status, code, retry = 502, "upstream_error", True


class UpstreamUnreachable(UpstreamFault):
    """The model's provider cannot be reached."""

    status, code, retry = 502, "upstream_unreachable", True


class UpstreamInterrupted(UpstreamFault):
    """The model's provider broke the answer off before its end."""

    status, code, retry = 502, "upstream_interrupted", True


class UpstreamMalformed(UpstreamFault):
    """The model's provider sent an answer that cannot be read."""

    status, code, retry = 502, "upstream_malformed", True


class UpstreamOverloaded(UpstreamFault):
    """The model's provider is overloaded or limits our requests."""

    status, code, retry = 503, "upstream_overloaded", True


class UpstreamNotReady(UpstreamFault):
    """The model is being loaded; try again in a moment."""

    status, code, retry = 503, "upstream_not_ready", True


class UpstreamTimeout(UpstreamFault):
    """The model's provider did not answer in time."""

    status, code, retry = 504, "upstream_timeout", True


class UpstreamRefused(UpstreamFault):
    """The model's provider refused the request for a reason that is not the caller's."""

    status, code, retry = 502, "upstream_refused", False


class UpstreamInvalidRequest(CallerFault):
    """The model's provider found the request invalid."""

    status, code = 400, "upstream_invalid_request"


class OwnFault(Fault):
    """Something failed on our side."""

    status, code, retry = 500, "internal_error", True


class StoreUnavailable(OwnFault):
    """The ledger cannot be written at the moment."""

    status, code, retry = 503, "store_unavailable", True


class Draining(OwnFault):
    """The server is shutting down and takes no new requests."""

    status, code, retry = 503, "draining", True


class Overloaded(OwnFault):
    """The server holds as many open requests as it may."""

    status, code, retry = 503, "overloaded", True


class Interrupted(OwnFault):
    """The answer was broken off by this server."""

    status, code, retry = 500, "interrupted", True
