"""What is fixed of an answer before it begins, for the encoders of every protocol."""

from __future__ import annotations

from msgspec import Struct


class Envelope(Struct, frozen=True):
    """``model`` is the public id; ``created`` is in seconds since 1970.

    ``input_tokens`` is the prompt's size as far as it is known before the upstream tells it.
    """

    id: str
    created: int
    model: str
    input_tokens: int = 0
