"""The protocols that providers may speak: one row each, and all of a row is its codec's.

A new protocol is a codec in ``wire`` and a row here; the contract tests of upstreams run over the
rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from msgspec import Struct

from bandari.domain.bounds import MAX_CHOICES
from bandari.domain.chat import ChatRequest
from bandari.domain.events import Event
from bandari.domain.faults import Fault
from bandari.wire import chat_completions, messages, responses
from bandari.wire.chat_completions import decode_answer as chat_answer
from bandari.wire.chat_completions import encode_request as chat_request
from bandari.wire.chat_completions import errors as chat_errors
from bandari.wire.chat_completions import fields as chat_fields
from bandari.wire.dialect import Dialect
from bandari.wire.messages import decode_answer as messages_answer
from bandari.wire.messages import encode_request as messages_request
from bandari.wire.messages import errors as messages_errors
from bandari.wire.messages import fields as messages_fields
from bandari.wire.responses import decode_answer as responses_answer
from bandari.wire.responses import encode_request as responses_request
from bandari.wire.responses import errors as responses_errors
from bandari.wire.responses import fields as responses_fields
from bandari.wire.sse import SseEvent


class AnswerDecoder(Protocol):
    """Reads one answer, as a stream or in one piece."""

    @property
    def ended(self) -> bool:
        """Whether the upstream said that the answer is complete."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether the stream's last event has come: nothing follows but the end of the body."""
        ...

    @property
    def has_enough(self) -> bool:
        """Whether the rest of the stream would be cut away, so that it need not be read."""
        ...

    def stream_event(self, event: SseEvent) -> Sequence[Event]:
        """What one SSE event says. An error event raises the ``Fault`` that it stands for."""
        ...

    def body(self, body: bytes) -> Sequence[Event]:
        """What a whole, unstreamed answer says."""
        ...


class UpstreamProtocol(Struct, frozen=True):
    """``path`` is appended to a base URL that ends with ``/v1``.

    ``credentials`` are the headers that carry a provider's key, ``headers`` those of every request.
    ``max_choices`` is how many one call may ask for.
    """

    path: str
    encode_request: Callable[[ChatRequest, str, Dialect], bytes]
    ignored_fields: Callable[[ChatRequest, Dialect], tuple[str, ...]]
    answer_decoder: Callable[[ChatRequest], AnswerDecoder]
    read_error: Callable[[int, bytes, int | None], Fault]
    credentials: Callable[[str], Mapping[str, str]]
    headers: Mapping[str, str] = {}
    max_choices: int = MAX_CHOICES


def _bearer(api_key: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer {api_key}"}


def _chat_decoder(request: ChatRequest) -> AnswerDecoder:
    sampling = request.sampling
    return chat_answer.AnswerDecoder(
        sampling.n,
        sampling.top_logprobs or 0,
        single_call=request.parallel_tool_calls is False,
    )


def _messages_decoder(request: ChatRequest) -> AnswerDecoder:
    return messages_answer.AnswerDecoder(single_call=request.parallel_tool_calls is False)


def _responses_decoder(request: ChatRequest) -> AnswerDecoder:
    return responses_answer.AnswerDecoder(
        request.sampling.top_logprobs or 0, single_call=request.parallel_tool_calls is False
    )


PROTOCOLS: Final[Mapping[str, UpstreamProtocol]] = {
    chat_completions.PROTOCOL: UpstreamProtocol(
        path="/chat/completions",
        encode_request=chat_request.encode_request,
        ignored_fields=chat_fields.ignored_fields,
        answer_decoder=_chat_decoder,
        read_error=chat_errors.read_error,
        credentials=_bearer,
    ),
    messages.PROTOCOL: UpstreamProtocol(
        path="/messages",
        encode_request=messages_request.encode_request,
        ignored_fields=messages_fields.ignored_fields,
        answer_decoder=_messages_decoder,
        read_error=messages_errors.read_error,
        credentials=lambda api_key: {"x-api-key": api_key},
        headers={"anthropic-version": messages.VERSION},
        max_choices=1,
    ),
    responses.PROTOCOL: UpstreamProtocol(
        path="/responses",
        encode_request=responses_request.encode_request,
        ignored_fields=responses_fields.ignored_fields,
        answer_decoder=_responses_decoder,
        read_error=responses_errors.read_error,
        credentials=_bearer,
        max_choices=1,
    ),
}
