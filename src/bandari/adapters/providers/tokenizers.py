"""Servers that count tokens when they are asked: where, how, and what they answer. Rows of data.

Used where an answer's own counts are missing, and where a prompt's bound in bytes leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from bandari.domain.chat import ChatRequest
from bandari.wire.chat_completions import encode_request as chat_request
from bandari.wire.dialect import Dialect
from bandari.wire.messages.count_tokens import encode_count_request

MAX_COUNT_BYTES: Final = 16 * 1024 * 1024
"""The largest answer that is read: these servers list every token."""


class Tokenizer(msgspec.Struct, frozen=True):
    """How one kind of server counts. A path is appended to the server's root, without ``/v1``.

    ``prompt_path`` is given what ``prompt_body`` makes of a request, and ``text_path`` an object
    with the text in ``text_field`` and ``text_fields`` beside it; without a path, texts alone
    cannot be counted.
    """

    prompt_path: str
    prompt_body: Callable[[ChatRequest, str, Dialect], bytes]
    text_path: str | None = None
    text_field: str = ""
    text_fields: Mapping[str, Any] = {}

    def text_body(self, text: str, model: str) -> bytes:
        return msgspec.json.encode({"model": model, self.text_field: text, **self.text_fields})


TOKENIZERS: Final[Mapping[str, Tokenizer]] = {
    "llama_cpp": Tokenizer(
        prompt_path="/v1/chat/completions/input_tokens",
        prompt_body=chat_request.encode_request,
        text_path="/tokenize",
        text_field="content",
        text_fields={"add_special": False},
    ),
    "anthropic": Tokenizer(
        prompt_path="/v1/messages/count_tokens",
        prompt_body=encode_count_request,
    ),
    "vllm": Tokenizer(
        prompt_path="/tokenize",
        prompt_body=chat_request.encode_request,
        text_path="/tokenize",
        text_field="prompt",
        text_fields={"add_special_tokens": False},
    ),
}


class _Answer(msgspec.Struct):
    count: int | None = None
    input_tokens: int | None = None
    tokens: list[msgspec.Raw] | None = None


_read = msgspec.json.Decoder(_Answer).decode


def read_count(body: bytes) -> int | None:
    """The number of tokens that a server's answer tells. Raises ``msgspec.DecodeError``."""
    answer = _read(body)
    for count in (answer.input_tokens, answer.count):
        if count is not None:
            return count if count >= 0 else None
    return None if answer.tokens is None else len(answer.tokens)
