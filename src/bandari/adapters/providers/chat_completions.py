"""An upstream that speaks Chat Completions over HTTP.

Joins the codec to the transport. Asks for a stream wherever the provider can stream, also for
clients that want the answer whole: only so are there counts when an answer is interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec

from bandari.adapters.providers.tokenizers import MAX_COUNT_BYTES, Tokenizer, read_count
from bandari.adapters.providers.transport import MAX_ERROR_BODY_BYTES, Reply, Transport
from bandari.domain.chat import ChatRequest
from bandari.domain.events import Event
from bandari.domain.faults import Fault, UpstreamFault, UpstreamInterrupted, UpstreamMalformed
from bandari.wire.chat_completions import DONE
from bandari.wire.chat_completions.decode_answer import AnswerDecoder
from bandari.wire.chat_completions.encode_request import encode_request
from bandari.wire.chat_completions.errors import read_error
from bandari.wire.chat_completions.fields import Dialect, ignored_fields
from bandari.wire.sse import SseDecoder

MAX_RETRY_AFTER_S = 86_400

END_OF_BODY_S = 1.0
"""How long the end of a stream's body may take after ``[DONE]``, so that its connection can be used
again.
"""

COUNT_S = 10.0
"""How long counting a prompt or an answer may take; after that it is bounded, or estimated, by its
bytes.
"""


class Address(msgspec.Struct, frozen=True):
    """Where an upstream is at the moment, and what opens it. ``base_url`` ends before ``/chat``."""

    base_url: str
    headers: Mapping[str, str]


class ChatCompletionsUpstream:
    """``address`` is asked before each request, because an engine moves when it restarts.

    It raises an ``UpstreamFault`` while there is nobody to ask. ``tokenizer`` is how the server
    counts tokens, if it does.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        address: Callable[[], Address],
        dialect: Dialect,
        *,
        max_choices: int = 128,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.name = name
        self.max_choices = max_choices
        self._transport = transport
        self._address = address
        self._dialect = dialect
        self._tokenizer = tokenizer
        self.counts_text = tokenizer is not None

    def ignored(self, request: ChatRequest) -> tuple[str, ...]:
        return ignored_fields(request, self._dialect)

    @asynccontextmanager
    async def generate(
        self, request: ChatRequest, model: str
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        body = encode_request(request, model, self._dialect)
        address = self._address()
        url = f"{address.base_url}/chat/completions"
        async with self._transport.post(url, address.headers, body) as reply:
            if reply.status != 200:
                raise await _refusal(reply)
            sampling = request.sampling
            decoder = AnswerDecoder(
                sampling.n,
                sampling.top_logprobs or 0,
                single_call=request.parallel_tool_calls is False,
            )
            kind = reply.header("content-type") or ""
            if kind.lower().startswith("text/event-stream"):
                yield _streamed(reply, decoder)
            else:
                yield _whole(reply, decoder)

    async def count_input(self, request: ChatRequest, model: str) -> int | None:
        if self._tokenizer is None:
            return None
        body = encode_request(request, model, self._dialect)
        return await self._count(self._tokenizer.prompt_url, body)

    async def count_text(self, text: str, model: str) -> int | None:
        if self._tokenizer is None:
            return None
        body = self._tokenizer.text_body(text, model)
        return await self._count(self._tokenizer.text_url, body)

    async def _count(self, url_of: Callable[[str], str], body: bytes) -> int | None:
        try:
            address = self._address()
            async with (
                asyncio.timeout(COUNT_S),
                self._transport.post(url_of(address.base_url), address.headers, body) as reply,
            ):
                if reply.status != 200:
                    return None
                return read_count(await reply.body(MAX_COUNT_BYTES))
        except (UpstreamFault, TimeoutError, msgspec.DecodeError):
            return None


async def _streamed(reply: Reply, decoder: AnswerDecoder) -> AsyncIterator[Sequence[Event]]:
    sse = SseDecoder()
    chunks = reply.chunks()
    is_done = False
    async for chunk in chunks:
        for event in sse.feed(chunk):
            events = decoder.stream_event(event)
            if events:
                yield events
            if decoder.has_enough:
                return
            is_done = is_done or event.data == DONE
        if is_done:
            await _read_to_end(chunks)
            return
    if not decoder.ended:
        raise UpstreamInterrupted


async def _read_to_end(chunks: AsyncIterator[bytes]) -> None:
    """The answer is complete: what becomes of the connection now is all one to it."""
    with contextlib.suppress(UpstreamFault, TimeoutError):
        async with asyncio.timeout(END_OF_BODY_S):
            async for _ in chunks:
                pass


async def _whole(reply: Reply, decoder: AnswerDecoder) -> AsyncIterator[Sequence[Event]]:
    yield decoder.body(await reply.body())
    if not decoder.ended:
        raise UpstreamMalformed("The model's provider sent an answer without a finish reason.")


async def _refusal(reply: Reply) -> Fault:
    try:
        body = await reply.body(MAX_ERROR_BODY_BYTES)
    except UpstreamFault:
        body = b""
    return read_error(reply.status, body, _retry_after_ms(reply))


def _retry_after_ms(reply: Reply) -> int | None:
    """``retry-after-ms``, or ``retry-after`` in seconds; its form as a date is not used here."""
    for name, factor in (("retry-after-ms", 1), ("retry-after", 1000)):
        text = reply.header(name)
        if text is not None and text.isascii() and text.isdigit() and len(text) < 9:
            return min(int(text) * factor, MAX_RETRY_AFTER_S * 1000)
    return None
