"""OpenAI's model list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from bandari.domain.catalogue import Model

_encode = msgspec.json.Encoder().encode


def encode_models(models: Iterable[Model], created: int) -> bytes:
    """The ``list`` object. ``created`` is in seconds since 1970."""
    return _encode({"object": "list", "data": [_fields(model, created) for model in models]})


def encode_model(model: Model, created: int) -> bytes:
    return _encode(_fields(model, created))


def _fields(model: Model, created: int) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": model.owned_by,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "endpoints": model.endpoints,
    }
