"""OpenAI's model list, with what the clients of MKA1's catalogue want beside it.

What Bandari does not know of a model is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from bandari.domain.catalogue import EMBEDDING, Model
from bandari.domain.faults import InvalidValue

LatencyOf = Callable[[Model], int | None]
"""A model's usual time to its first token, in milliseconds, as far as there is one."""

_encode = msgspec.json.Encoder().encode


class Sort(StrEnum):
    """By what the list is ordered."""

    CONTEXT_WINDOW = "context_window"
    """The largest first."""
    LATENCY = "latency"
    """The fastest first, and last those that have not answered yet."""


def read_sort(text: str | None) -> Sort | None:
    """The query's ``sort``. Raises ``InvalidValue``."""
    if not text:
        return None
    try:
        return Sort(text)
    except ValueError:
        raise InvalidValue(f"'sort' must be one of {', '.join(Sort)}.", param="sort") from None


def encode_models(
    models: Iterable[Model], created: int, latency_of: LatencyOf, sort: Sort | None = None
) -> bytes:
    """The ``list`` object. ``created`` is in seconds since 1970."""
    entries = [_fields(model, created, latency_of) for model in models]
    if sort is Sort.CONTEXT_WINDOW:
        entries.sort(key=lambda entry: -entry["context_window"])
    elif sort is Sort.LATENCY:
        entries.sort(key=_latency_in)
    return _encode({"object": "list", "data": entries})


def encode_model(model: Model, created: int, latency_of: LatencyOf) -> bytes:
    return _encode(_fields(model, created, latency_of))


def _latency_in(entry: dict[str, Any]) -> float:
    latency_ms: int | None = entry["latency_ms"]
    return math.inf if latency_ms is None else latency_ms


def _fields(model: Model, created: int, latency_of: LatencyOf) -> dict[str, Any]:
    return {
        "id": model.id,
        "object": "model",
        "created": created,
        "owned_by": model.owned_by,
        "context_window": model.context_window,
        "max_output_tokens": model.max_output_tokens,
        "latency_ms": latency_of(model),
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
