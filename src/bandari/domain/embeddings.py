"""A request for embeddings and what answers it, in no protocol's spelling.

An embedding is the place of one input among all others, as a vector of numbers. No token is
generated: what is paid for is the prompt, which is all inputs together.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

from bandari.domain.chat import Original
from bandari.domain.faults import ContextLengthExceeded
from bandari.domain.usage import Usage

MAX_INPUTS: Final = 2048

ADDED_TOKENS: Final = 8
"""What a model may put around each text, beyond the text's own tokens."""

Input = str | tuple[int, ...]
"""A text, or the tokens of one in the model's own vocabulary."""


class EncodingFormat(StrEnum):
    """How the client wants to read a vector: as numbers, or as the bytes of its float32 values."""

    FLOAT = "float"
    BASE64 = "base64"


class EmbeddingsRequest(Struct, frozen=True):
    """``inputs`` are all texts or all tokens, and none is empty.

    ``dimensions``: how many numbers a vector is to have, where the model can choose.
    ``input_bytes`` is the UTF-8 size of all texts: with what the model adds, an upper bound of
    their tokens.
    """

    model: str
    inputs: tuple[Input, ...]
    dimensions: int | None = None
    encoding_format: EncodingFormat = EncodingFormat.FLOAT
    user: str | None = None
    input_bytes: int = 0
    original: Original | None = None

    @property
    def given_tokens(self) -> int | None:
        """How many tokens there are, where the client sent tokens."""
        if isinstance(self.inputs[0], str):
            return None
        return sum(len(each) for each in self.inputs)

    def most_tokens(self, context_window: int) -> int:
        """The bound of the prompt: no tokenizer makes two tokens of one byte, and no input has
        more than the window.
        """
        given = self.given_tokens
        if given is not None:
            return given
        return sum(
            min(len(each.encode()) + ADDED_TOKENS, context_window)
            for each in self.inputs
            if isinstance(each, str)
        )


class Embeddings(Struct, frozen=True):
    """One vector for each input, in the inputs' order.

    A vector is its numbers as little-endian float32; all have the same length. ``usage`` is what
    the upstream reported, if it did.
    """

    vectors: tuple[bytes, ...]
    usage: Usage | None = None


def check_fits(request: EmbeddingsRequest, context_window: int) -> None:
    """Raise ``ContextLengthExceeded`` for tokens that are more than the model reads at once."""
    if request.given_tokens is None:
        return
    for position, tokens in enumerate(request.inputs):
        if len(tokens) > context_window:
            name = "input" if len(request.inputs) == 1 else f"input[{position}]"
            raise ContextLengthExceeded(
                f"'{name}' has {len(tokens)} tokens; the model's context window holds "
                f"{context_window}.",
                param=name,
            )
