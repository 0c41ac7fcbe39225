"""A surface: one client-facing API, and all that it spells in its own way.

The endpoints know no protocol; they are given one of these. A new API is a codec in ``wire``, a
value here, and its route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from bandari.domain.chat import ChatRequest
from bandari.domain.keys import Scope
from bandari.domain.problem import Problem
from bandari.service.inference import Opening
from bandari.service.ports import FrameEncoder
from bandari.service.tracing import request_id
from bandari.wire.chat_completions import errors as chat_errors
from bandari.wire.chat_completions import hybrid
from bandari.wire.chat_completions.decode_request import decode_request
from bandari.wire.chat_completions.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.completions import decode_request as completions_request
from bandari.wire.completions import encode_answer as completions_answer
from bandari.wire.completions.fields import NAMES as COMPLETIONS_NAMES
from bandari.wire.envelope import Envelope
from bandari.wire.messages import decode_request as messages_request
from bandari.wire.messages import encode_answer as messages_answer
from bandari.wire.messages import errors as messages_errors
from bandari.wire.messages.fields import NAMES as MESSAGES_NAMES
from bandari.wire.responses import errors as responses_errors
from bandari.wire.responses.fields import NAMES as RESPONSES_NAMES
from bandari.wire.sse import comment_frame, data_frame
from bandari.wire.typed_stream import errors as typed_errors
from bandari.wire.typed_stream.encode_answer import (
    EMPTY_COMMENT,
    KEEPALIVE_MS,
    TypedStreamEncoder,
)


class DecodeRequest(Protocol):
    def __call__(self, body: bytes, *, max_messages: int) -> ChatRequest:
        """Raises the ``CallerFault`` that names the field at fault."""
        ...


class Surface(Struct, frozen=True, kw_only=True):
    """``opening`` is what a stream begins with, ``headers`` what every answer carries.

    ``name`` is how its recordings are known; it is kept with them. ``scope`` is what a key needs to
    be used here. ``spell_in_stream`` makes of a problem the frames that end a stream, the first of
    which has that 0-based index.
    ``keepalive_ms`` is how long the protocol lets a stream be silent; the settings may say less.
    ``names`` are the protocol's names of fields that the house calls otherwise.
    """

    name: str
    scope: Scope
    spell_problem: Callable[[Problem], bytes]
    spell_in_stream: Callable[[Problem, int], Sequence[bytes]]
    opening: bytes = b""
    keepalive: bytes = comment_frame()
    keepalive_ms: int = 3_600_000
    headers: tuple[tuple[bytes, bytes], ...] = ()
    names: Mapping[str, str] = {}

    def spell(self, problem: Problem) -> bytes:
        """The body of an error, its field called as the client's protocol calls it."""
        return self.spell_problem(renamed(problem, self.names))


class ChatSurface(Surface, frozen=True, kw_only=True):
    """A surface whose requests are nothing but requests for an answer."""

    decode: DecodeRequest
    encoder: Callable[[ChatRequest, Opening], FrameEncoder]


def renamed(problem: Problem, names: Mapping[str, str]) -> Problem:
    """The problem with its field called as the client's protocol calls it."""
    name = problem.param and names.get(problem.param)
    if not name:
        return problem
    message = problem.message.replace(f"'{problem.param}'", f"'{name}'")
    return replace(problem, param=name, message=message)


def envelope_of(prefix: str, opening: Opening) -> Envelope:
    return Envelope(prefix + opening.id, opening.created_s, opening.model, opening.input_tokens)


def _chat_encoder(request: ChatRequest, opening: Opening) -> FrameEncoder:
    envelope = envelope_of("chatcmpl-", opening)
    sampling = request.sampling
    if request.stream:
        return StreamEncoder(envelope, choices=sampling.n, include_usage=request.include_usage)
    return WholeEncoder(envelope, choices=sampling.n, wants_logprobs=sampling.logprobs)


def _typed_encoder(request: ChatRequest, opening: Opening) -> FrameEncoder:
    return TypedStreamEncoder(
        envelope_of("chatcmpl-", opening),
        choices=request.sampling.n,
        include_usage=request.include_usage,
    )


def _completions_encoder(request: ChatRequest, opening: Opening) -> FrameEncoder:
    envelope = envelope_of("cmpl-", opening)
    choices = request.sampling.n
    if request.stream:
        return completions_answer.StreamEncoder(
            envelope, choices=choices, include_usage=request.include_usage
        )
    return completions_answer.WholeEncoder(envelope, choices=choices)


def _messages_encoder(request: ChatRequest, opening: Opening) -> FrameEncoder:
    envelope = envelope_of("msg_", opening)
    kind = messages_answer.StreamEncoder if request.stream else messages_answer.WholeEncoder
    return kind(envelope)


def _spell_for_messages(problem: Problem) -> bytes:
    return messages_errors.encode_problem(problem, request_id.get())


def _data_in_stream(problem: Problem, index: int) -> Sequence[bytes]:  # noqa: ARG001 - the surface's
    return (data_frame(chat_errors.encode_problem(problem)),)


def _typed_in_stream(problem: Problem, index: int) -> Sequence[bytes]:  # noqa: ARG001 - the surface's
    return (typed_errors.error_event(problem),)


def _messages_in_stream(problem: Problem, index: int) -> Sequence[bytes]:  # noqa: ARG001 - the surface's
    return (messages_answer.error_event(problem),)


def _responses_in_stream(problem: Problem, index: int) -> Sequence[bytes]:
    return (responses_errors.error_event(problem, index),)


CHAT_COMPLETIONS: Final = ChatSurface(
    name="chat_completions",
    spell_in_stream=_data_in_stream,
    scope=Scope.CHAT_COMPLETIONS,
    decode=decode_request,
    encoder=_chat_encoder,
    spell_problem=chat_errors.encode_problem,
)

TYPED_STREAM: Final = ChatSurface(
    name="typed_stream",
    spell_in_stream=_typed_in_stream,
    scope=Scope.TYPED_STREAM,
    decode=partial(decode_request, always_streams=True),
    encoder=_typed_encoder,
    spell_problem=typed_errors.encode_problem,
    opening=EMPTY_COMMENT,
    keepalive=EMPTY_COMMENT,
    keepalive_ms=KEEPALIVE_MS,
    # Since 2026-11-01 (RFC 9745), in favour of the Responses surface.
    headers=(
        (b"deprecation", b"@1793491200"),
        (b"link", b'</api/v1/llm/responses>; rel="successor-version"'),
    ),
)

MESSAGES: Final = ChatSurface(
    name="messages",
    spell_in_stream=_messages_in_stream,
    scope=Scope.MESSAGES,
    decode=messages_request.decode_request,
    encoder=_messages_encoder,
    spell_problem=_spell_for_messages,
    keepalive=messages_answer.PING,
    names=MESSAGES_NAMES,
)

HYBRID: Final = ChatSurface(
    name="messages_hybrid",
    spell_in_stream=_data_in_stream,
    scope=Scope.MESSAGES,
    decode=hybrid.decode_request,
    encoder=_chat_encoder,
    spell_problem=chat_errors.encode_problem,
)
"""Messages without an ``anthropic-version``: Chat Completions with ``system`` beside."""

COMPLETIONS: Final = ChatSurface(
    name="completions",
    spell_in_stream=_data_in_stream,
    scope=Scope.COMPLETIONS,
    decode=completions_request.decode_request,
    encoder=_completions_encoder,
    spell_problem=chat_errors.encode_problem,
    names=COMPLETIONS_NAMES,
)
"""The legacy surface: one prompt, through the model's chat template."""

RESPONSES: Final = Surface(
    name="responses",
    spell_in_stream=_responses_in_stream,
    scope=Scope.RESPONSES,
    spell_problem=chat_errors.encode_problem,
    names=RESPONSES_NAMES,
)

COMPACTION: Final = replace(RESPONSES, name="compaction")
"""A conversation in short: one JSON body, by the rules of Responses."""

SURFACES: Final = {
    surface.name: surface
    for surface in (
        *(CHAT_COMPLETIONS, COMPLETIONS, MESSAGES, HYBRID, TYPED_STREAM),
        *(RESPONSES, COMPACTION),
    )
}
"""By name: all whose answers are recorded."""
