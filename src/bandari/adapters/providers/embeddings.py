"""An upstream that makes embeddings over HTTP, in OpenAI's protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from bandari.adapters.providers.refusals import refusal
from bandari.adapters.providers.tokenizers import MAX_COUNT_BYTES, Tokenizer, read_count
from bandari.adapters.providers.transport import MAX_BODY_BYTES, Transport
from bandari.adapters.providers.upstream import COUNT_S, Address
from bandari.domain.embeddings import Embeddings, EmbeddingsRequest
from bandari.domain.faults import UpstreamFault
from bandari.service.turns import in_turns
from bandari.wire.dialect import Dialect
from bandari.wire.embeddings.decode_answer import decode_answer
from bandari.wire.embeddings.encode_request import encode_request
from bandari.wire.embeddings.errors import read_error
from bandari.wire.embeddings.fields import ignored_fields

MAX_COUNTED_INPUTS = 16
"""Texts are counted one call each: of more than so many, their number of bytes is good enough."""


class ProviderEmbeddings:
    """``address`` is asked before each request, and raises an ``UpstreamFault`` while there is
    nobody to ask. ``tokenizer`` is how the server counts tokens, if it does.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        address: Callable[[], Address],
        dialect: Dialect,
        *,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.name = name
        self._transport = transport
        self._address = address
        self._dialect = dialect
        self._tokenizer = tokenizer

    def ignored(self, request: EmbeddingsRequest) -> tuple[str, ...]:
        return ignored_fields(request, self._dialect)

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embeddings:
        address = self._address()
        body = encode_request(request, model, self._dialect)
        url = f"{address.base_url}/embeddings"
        async with self._transport.post(url, address.headers, body) as reply:
            if reply.status != 200:
                raise await refusal(reply, read_error)
            answer = await reply.body(MAX_BODY_BYTES)
        return await in_turns(
            decode_answer(answer, inputs=len(request.inputs), dimensions=request.dimensions)
        )

    async def count_input(self, request: EmbeddingsRequest, model: str) -> int | None:
        if request.given_tokens is not None:
            return request.given_tokens
        tokenizer = self._tokenizer
        if tokenizer is None or len(request.inputs) > MAX_COUNTED_INPUTS:
            return None
        total = 0
        try:
            async with asyncio.timeout(COUNT_S):
                for text in request.inputs:
                    count = await self._count(tokenizer, text, model)
                    if count is None:
                        return None
                    total += count
        except (UpstreamFault, TimeoutError, msgspec.DecodeError):
            return None
        return total

    async def _count(self, tokenizer: Tokenizer, text: object, model: str) -> int | None:
        """Like a prompt, with what the model puts around a text; not like a part of an answer."""
        if tokenizer.text_path is None:
            return None
        address = self._address()
        added = dict.fromkeys(tokenizer.text_fields, True)
        body = msgspec.json.encode({"model": model, tokenizer.text_field: text, **added})
        url = address.base_url.removesuffix("/v1") + tokenizer.text_path
        async with self._transport.post(url, address.headers, body) as reply:
            if reply.status != 200:
                return None
            return read_count(await reply.body(MAX_COUNT_BYTES))
