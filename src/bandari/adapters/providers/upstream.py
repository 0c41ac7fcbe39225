"""An upstream over HTTP, in whichever protocol its provider speaks.

Joins a codec to the transport. Asks for a stream wherever the provider can stream, also for clients
that want the answer whole: only so are there counts when an answer is interrupted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from bandari.adapters.providers.protocols import AnswerDecoder, UpstreamProtocol
from bandari.adapters.providers.refusals import refusal
from bandari.adapters.providers.tokenizers import MAX_COUNT_BYTES, Tokenizer, read_count
from bandari.adapters.providers.transport import (
    MAX_BODY_BYTES,
    Reply,
    Transport,
)
from bandari.domain.chat import ChatRequest
from bandari.domain.events import Event
from bandari.domain.faults import (
    CallerFault,
    UpstreamFault,
    UpstreamInterrupted,
    UpstreamMalformed,
)
from bandari.service.ports import Take
from bandari.wire.dialect import Dialect
from bandari.wire.sse import SseDecoder

END_OF_BODY_S = 1.0
"""How long the end of a stream's body may take after its last event, so that its connection can be
used again.
"""

COUNT_S = 10.0
"""How long counting a prompt or an answer may take; after that it is bounded, or estimated, by its
bytes.
"""


class Address(msgspec.Struct, frozen=True):
    """Where an upstream is at the moment, and what opens it. ``base_url`` ends with ``/v1``."""

    base_url: str
    headers: Mapping[str, str]


class ProviderUpstream:
    """``address`` is asked before each request, because an engine moves when it restarts.

    It raises an ``UpstreamFault`` while there is nobody to ask. ``tokenizer`` is how the server
    counts tokens, if it does.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        address: Callable[[], Address],
        protocol: UpstreamProtocol,
        dialect: Dialect,
        *,
        max_choices: int = 128,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.name = name
        self.max_choices = min(max_choices, protocol.max_choices)
        self._transport = transport
        self._address = address
        self._protocol = protocol
        self._dialect = dialect
        self._tokenizer = tokenizer
        self.counts_text = tokenizer is not None and tokenizer.text_path is not None

    def ignored(self, request: ChatRequest) -> tuple[str, ...]:
        return self._protocol.ignored_fields(request, self._dialect)

    def generate(self, request: ChatRequest, model: str, take: Take | None = None) -> _Call:
        protocol = self._protocol
        body = protocol.encode_request(request, model, self._dialect)
        return _Call(self._transport, self._address, protocol, request, body, take)

    async def count_input(self, request: ChatRequest, model: str) -> int | None:
        if self._tokenizer is None:
            return None
        try:
            body = self._tokenizer.prompt_body(request, model, self._dialect)
        except CallerFault:
            return None
        return await self._count(self._tokenizer.prompt_path, body)

    async def count_text(self, text: str, model: str) -> int | None:
        if self._tokenizer is None or self._tokenizer.text_path is None:
            return None
        body = self._tokenizer.text_body(text, model)
        return await self._count(self._tokenizer.text_path, body)

    async def _count(self, path: str, body: bytes) -> int | None:
        try:
            address = self._address()
            url = address.base_url.removesuffix("/v1") + path
            async with (
                asyncio.timeout(COUNT_S),
                self._transport.post(url, address.headers, body) as reply,
            ):
                if reply.status != 200:
                    return None
                return read_count(await reply.body(MAX_COUNT_BYTES))
        except (UpstreamFault, TimeoutError, msgspec.DecodeError):
            return None


class _Call:
    """One answer asked for: entered once the upstream has begun to give it."""

    __slots__ = ("_address", "_body", "_post", "_protocol", "_request", "_take", "_transport")

    _post: AbstractAsyncContextManager[Reply]

    def __init__(
        self,
        transport: Transport,
        address: Callable[[], Address],
        protocol: UpstreamProtocol,
        request: ChatRequest,
        body: bytes,
        take: Take | None,
    ) -> None:
        self._take = take
        self._transport = transport
        self._address = address
        self._protocol = protocol
        self._request = request
        self._body = body

    async def __aenter__(self) -> AsyncIterator[Sequence[Event]]:
        address = self._address()
        url = address.base_url + self._protocol.path
        self._post = self._transport.post(url, address.headers, self._body)
        reply = await self._post.__aenter__()
        try:
            if reply.status != 200:
                raise await refusal(reply, self._protocol.read_error)
        except BaseException as error:
            await self._post.__aexit__(type(error), error, error.__traceback__)
            raise
        decoder = self._protocol.answer_decoder(self._request)
        kind = reply.header("content-type") or ""
        is_stream = kind.lower().startswith("text/event-stream")
        return _Streamed(reply, decoder, self._take) if is_stream else _Whole(reply, decoder)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._post.__aexit__(kind, error, trace)


class _Streamed:
    """A streamed answer: what each of its SSE events says."""

    __slots__ = (
        "_decoder",
        "_failure",
        "_is_done",
        "_is_over",
        "_ready",
        "_reply",
        "_sse",
        "_take",
    )

    def __init__(self, reply: Reply, decoder: AnswerDecoder, take: Take | None) -> None:
        self._reply = reply
        self._decoder = decoder
        self._take = take
        self._sse = SseDecoder()
        self._ready: list[Sequence[Event]] = []  # a deque takes ten times as much for none
        self._failure: Exception | None = None
        self._is_done = self._is_over = False

    def __aiter__(self) -> _Streamed:
        return self

    async def __anext__(self) -> Sequence[Event]:
        ready = self._ready
        while not ready:
            if self._failure is not None:
                raise self._failure
            if self._is_done:
                await _read_to_end(self._reply)
                self._is_over = True
            if self._is_over:
                raise StopAsyncIteration
            if not await self._reply.feed(self._chunk):
                if not self._decoder.ended:
                    raise UpstreamInterrupted
                self._is_over = True
        return ready.pop(0)

    def _chunk(self, chunk: bytes) -> bool:
        """Read what has come, and give it to who takes it. False where the iteration has to go on.

        What events say before one that cannot be read comes first.
        """
        try:
            for event in self._sse.feed(chunk):
                events = self._decoder.stream_event(event)
                if events:
                    self._give(events)
                if self._decoder.has_enough:
                    self._is_over = True
                    break
                if self._decoder.is_over:
                    self._is_done = True
        except Exception as failure:  # noqa: BLE001 - whose ever it is: the iteration raises it
            self._failure = failure
        return not (self._ready or self._failure or self._is_done or self._is_over)

    def _give(self, events: Sequence[Event]) -> None:
        if self._take is None or self._ready:
            self._ready.append(events)
        elif not self._take(events):
            self._ready.append(())


class _Whole:
    """An answer in one piece."""

    __slots__ = ("_decoder", "_reply")

    def __init__(self, reply: Reply, decoder: AnswerDecoder) -> None:
        self._reply: Reply | None = reply
        self._decoder = decoder

    def __aiter__(self) -> _Whole:
        return self

    async def __anext__(self) -> Sequence[Event]:
        reply, self._reply = self._reply, None
        if reply is not None:
            return self._decoder.body(await reply.body(MAX_BODY_BYTES))
        if not self._decoder.ended:
            raise UpstreamMalformed("The model's provider sent an answer without a finish reason.")
        raise StopAsyncIteration


async def _read_to_end(reply: Reply) -> None:
    """The answer is complete: what becomes of the connection now is all one to it."""
    with contextlib.suppress(UpstreamFault, TimeoutError):
        async with asyncio.timeout(END_OF_BODY_S):
            while await reply.chunk():
                pass
