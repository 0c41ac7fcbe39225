"""What an upstream says where it gives no embeddings. The envelope is that of Chat Completions."""

from __future__ import annotations

import re

from bandari.domain.faults import ContextLengthExceeded, Fault
from bandari.wire.chat_completions.errors import read_error as read_chat_error

_TOO_LARGE = re.compile(rb"input \((\d{1,12}) tokens\) is too large to process")
"""llama.cpp, with status 500, of an input that does not fit into one batch."""


def read_error(status: int, body: bytes, retry_after_ms: int | None = None) -> Fault:
    """The fault that an upstream's error answer stands for."""
    too_large = _TOO_LARGE.search(body)
    if too_large is not None:
        return ContextLengthExceeded(
            f"An input has {too_large[1].decode()} tokens, which are more than the model's context "
            "window holds.",
            param="input",
        )
    fault = read_chat_error(status, body, retry_after_ms)
    if isinstance(fault, ContextLengthExceeded):
        return ContextLengthExceeded(fault.message, param="input")
    return fault
