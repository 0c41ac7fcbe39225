"""Embeddings requests, from an ``EmbeddingsRequest`` to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.

Where the request came in this protocol, the client's own JSON is sent on, also for the form of the
vectors: either is read.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bandari.domain.embeddings import EmbeddingsRequest, EncodingFormat
from bandari.wire.bodies import is_null
from bandari.wire.dialect import Dialect
from bandari.wire.embeddings import PROTOCOL
from bandari.wire.embeddings.fields import CARRIED

_encode = msgspec.json.Encoder().encode


def encode_request(request: EmbeddingsRequest, model: str, dialect: Dialect) -> bytes:
    """Spell the request for an upstream, which knows the model as ``model``."""
    original = request.original
    if original is not None and original.protocol == PROTOCOL:
        body: dict[str, Any] = {
            name: raw
            for name, raw in original.fields.items()
            if (name in CARRIED or name in dialect.extra_fields) and not is_null(raw)
        }
    else:
        body = _written(request)
    body["model"] = model
    body.update(dialect.constants)
    return _encode(body)


def _written(request: EmbeddingsRequest) -> dict[str, Any]:
    single = len(request.inputs) == 1
    body: dict[str, Any] = {"input": request.inputs[0] if single else request.inputs}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.encoding_format is not EncodingFormat.FLOAT:
        body["encoding_format"] = request.encoding_format
    if request.user is not None:
        body["user"] = request.user
    return body
