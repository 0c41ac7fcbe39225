"""OpenAI's model list, with what the clients of MKA1's catalogue want beside it.

What Bandari does not know of a model is null.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from bandari.domain.catalogue import EMBEDDING, Model

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
        **_catalogued(model),
    }


_UNKNOWN: Final = dict.fromkeys(
    (
        "max_image_resolution",
        "min_image_resolution",
        "embedding_dimension_range",
        "parameter_count",
        "active_parameter_count",
        "release_date",
        "serving_locations",
        "developer",
        "base_model",
        "weights",
        "license",
        "languages",
        "tts",
        "limitations",
    )
)
_LIFECYCLE: Final = {
    "status": "active",
    "deprecated_at": None,
    "retires_at": None,
    "successor": None,
}


def _catalogued(model: Model) -> dict[str, Any]:
    embeds = model.endpoints == EMBEDDING
    return _UNKNOWN | {
        "model_type": "embeddings" if embeds else "llm",
        "input_modalities": ["text"],
        "output_modalities": ["embeddings" if embeds else "text"],
        "lifecycle": _LIFECYCLE,
        "capabilities": {
            "supports_temperature": not embeds,
            "supports_top_p": not embeds,
            "supports_reasoning": False,
            "supports_reasoning_effort": False,
            "supports_structured_outputs": None,
        },
    }
