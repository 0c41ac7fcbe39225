"""Anthropic's model list, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from bandari.domain.catalogue import Model
from bandari.domain.faults import InvalidValue

MAX_LIMIT: Final = 1000
"""The most models of one page, and how many it has where no limit is given.

Anthropic's own default is 20; whoever does not turn pages would miss models.
"""

_encode = msgspec.json.Encoder().encode


def read_limit(text: str | None) -> int:
    """The query's ``limit``. Raises ``InvalidValue`` for what is no number from 1 to 1000."""
    if text is None:
        return MAX_LIMIT
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT:
        return int(text)
    raise InvalidValue(f"'limit' must be an integer from 1 to {MAX_LIMIT}.", param="limit")


def encode_models(
    models: Iterable[Model],
    created: int,
    *,
    limit: int = MAX_LIMIT,
    after_id: str | None = None,
    before_id: str | None = None,
) -> bytes:
    """A page: the first models after ``after_id``, or the last before ``before_id``.

    ``created`` is in seconds since 1970. Raises ``InvalidValue`` for a cursor that names no model.
    """
    listed = list(models)
    if after_id is not None and before_id is not None:
        raise InvalidValue("'before_id' cannot be given with 'after_id'.", param="before_id")
    if before_id is not None:
        rest = listed[: _position(listed, before_id, "before_id")]
        page = rest[-limit:]
    else:
        start = 0 if after_id is None else _position(listed, after_id, "after_id") + 1
        rest = listed[start:]
        page = rest[:limit]
    return _encode(
        {
            "data": [_fields(model, created) for model in page],
            "has_more": len(page) < len(rest),
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }
    )


def encode_model(model: Model, created: int) -> bytes:
    return _encode(_fields(model, created))


def _position(models: Sequence[Model], cursor: str, name: str) -> int:
    for position, model in enumerate(models):
        if model.id == cursor:
            return position
    raise InvalidValue(f"'{name}' is not the id of a listed model.", param=name)


def _fields(model: Model, created: int) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.id,
        "display_name": model.id,
        "created_at": datetime.fromtimestamp(created, UTC),
        "lifecycle": "active",
        "max_input_tokens": model.context_window,
        "max_tokens": model.max_output_tokens,
    }
