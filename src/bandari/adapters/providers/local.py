"""The engine in the box, as an upstream like any other: llama.cpp's dialect of Chat Completions.

What it does differently was observed by running it; each difference has its test.
"""

from __future__ import annotations

from msgspec import Raw

from bandari.adapters.providers.tokenizers import TOKENIZERS
from bandari.wire.dialect import Dialect

LLAMA_CPP = Dialect(
    extra_fields=frozenset(
        {"top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "chat_template_kwargs"}
    ),
    max_tokens_field="max_tokens",
    constants={"timings_per_token": Raw(b"true")},
    obeys_tool_choice=False,
    streams_logprobs_with_tools=False,
)

TOKENIZER = TOKENIZERS["llama_cpp"]

MAX_CHOICES = 1
"""Its usage counts one choice only, so every choice is a call of its own."""
