"""The fields of a legacy Completions request by what may become of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bandari.wire.chat_completions.fields import CARRIED as CHAT_FIELDS

SAME: Final = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "max_tokens",
        "stop",
        "n",
        "seed",
        "logit_bias",
        "presence_penalty",
        "frequency_penalty",
        "user",
    }
)
"""Fields that mean the same in Chat Completions, bounds and all."""

OWN: Final = frozenset({"prompt", "logprobs", "echo", "suffix", "best_of"})
"""Fields that Chat Completions has not, or means otherwise."""

FOREIGN: Final = CHAT_FIELDS - SAME - OWN
"""Fields that have a meaning in a chat only: here they have none."""

NAMES: Final[Mapping[str, str]] = {"messages": "prompt", "top_logprobs": "logprobs"}
"""This protocol's names of what the house calls otherwise."""
