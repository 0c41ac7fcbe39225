"""A surface: one client-facing API, and all that it spells in its own way.

The endpoints know no protocol; they are given one of these. A new API is a codec in ``wire``, a
value here, and its route.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

from msgspec import Struct

from bandari.domain.chat import ChatRequest
from bandari.domain.problem import Problem
from bandari.service.inference import Opening
from bandari.service.ports import FrameEncoder
from bandari.wire.chat_completions import errors as chat_errors
from bandari.wire.chat_completions.decode_request import decode_request
from bandari.wire.chat_completions.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.envelope import Envelope
from bandari.wire.sse import comment_frame
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


class Surface(Struct, frozen=True):
    """``opening`` is what a stream begins with, ``headers`` what every answer carries.

    ``keepalive_ms`` is how long the protocol lets a stream be silent; the settings may say less.
    ``names`` are the protocol's names of fields that the house calls otherwise.
    """

    decode: DecodeRequest
    encoder: Callable[[ChatRequest, Opening], FrameEncoder]
    spell_problem: Callable[[Problem], bytes]
    opening: bytes = b""
    keepalive: bytes = comment_frame()
    keepalive_ms: int = 3_600_000
    headers: tuple[tuple[bytes, bytes], ...] = ()
    names: Mapping[str, str] = {}


def _envelope(prefix: str, opening: Opening) -> Envelope:
    return Envelope(prefix + opening.id, opening.created_s, opening.model, opening.input_tokens)


def _chat_encoder(request: ChatRequest, opening: Opening) -> FrameEncoder:
    envelope = _envelope("chatcmpl-", opening)
    sampling = request.sampling
    if request.stream:
        return StreamEncoder(envelope, choices=sampling.n, include_usage=request.include_usage)
    return WholeEncoder(envelope, choices=sampling.n, wants_logprobs=sampling.logprobs)


def _typed_encoder(request: ChatRequest, opening: Opening) -> FrameEncoder:
    return TypedStreamEncoder(
        _envelope("chatcmpl-", opening),
        choices=request.sampling.n,
        include_usage=request.include_usage,
    )


CHAT_COMPLETIONS: Final = Surface(
    decode=decode_request,
    encoder=_chat_encoder,
    spell_problem=chat_errors.encode_problem,
)

TYPED_STREAM: Final = Surface(
    decode=partial(decode_request, always_streams=True),
    encoder=_typed_encoder,
    spell_problem=typed_errors.encode_problem,
    opening=EMPTY_COMMENT,
    keepalive=EMPTY_COMMENT,
    keepalive_ms=KEEPALIVE_MS,
    # Since 2026-11-01 (RFC 9745), in favour of the Responses surface.
    headers=((b"deprecation", b"@1793491200"),),
)
