"""The fields of an Embeddings request by what may become of them.

Every field is carried, given to the providers that name it, or ignored and said so.
"""

from __future__ import annotations

from typing import Final

from bandari.domain.embeddings import EmbeddingsRequest
from bandari.wire.dialect import Dialect

CARRIED: Final = frozenset({"model", "input", "dimensions", "encoding_format", "user"})
"""Fields that have their effect with every upstream. All others go to those that name them."""


def ignored_fields(request: EmbeddingsRequest, dialect: Dialect) -> tuple[str, ...]:
    """The names of the client's fields that an upstream of this dialect is not given, sorted."""
    original = request.original
    if original is None or not original.unknown:
        return ()
    return tuple(name for name in original.unknown if name not in dialect.extra_fields)
