"""The whole way of a request, without sockets: endpoints, codecs, books, and a provider's bytes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from tests.support.client import Client, request
from tests.support.embedding_house import EmbeddingHouse
from tests.support.key_ring import KEY, access_to, one_key
from tests.support.memory_store import MemoryStore
from tests.support.operated_house import administration_over, nothing_to_reload, reporting_over
from tests.support.reports_in_memory import ReportsInMemory
from tests.support.responses_in_memory import ResponsesInMemory
from tests.support.samples import a_model
from tests.support.small_house import SmallHouse

from bandari.adapters.providers.protocols import PROTOCOLS
from bandari.adapters.providers.upstream import Address, ProviderUpstream
from bandari.domain.catalogue import Target
from bandari.service.counting import Counting
from bandari.service.limiting import Limiter
from bandari.service.responses import StoredResponses
from bandari.web.app import App
from bandari.web.chat_settings import ChatSettings
from bandari.web.keys import KeyCheck
from bandari.web.routes import House, routes
from bandari.wire.dialect import Dialect

PATHS = {
    "chat_completions": "/v1/chat/completions",
    "messages": "/v1/messages",
    "responses": "/v1/responses",
}


class PlayedReply:
    """The port ``Reply``: bytes that are there at once."""

    def __init__(self, body: bytes, content_type: str, failure: Exception | None) -> None:
        self.status = 200
        self._content_type = content_type
        self._body = body
        self._failure = failure

    def header(self, name: str) -> str | None:
        return self._content_type if name == "content-type" else None

    async def chunk(self) -> bytes:
        if not self._body and self._failure is not None:
            raise self._failure
        body, self._body = self._body, b""
        return body

    async def feed(self, take: Callable[[bytes], bool]) -> bool:
        while chunk := await self.chunk():
            if not take(chunk):
                return True
        return False

    async def body(self, max_bytes: int) -> bytes:
        assert len(self._body) <= max_bytes
        return await self.chunk()


class PlayedTransport:
    """The port ``Transport``: one answer to everything; remembers what was asked.

    ``failure`` is what reading raises where the answer ends.
    """

    def __init__(self, body: bytes, *, is_stream: bool, failure: Exception | None = None) -> None:
        self._body = body
        self._failure = failure
        self._content_type = "text/event-stream" if is_stream else "application/json"
        self.asked: list[dict[str, Any]] = []

    def post(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> AbstractAsyncContextManager[PlayedReply]:
        del url, headers
        self.asked.append(json.loads(body))
        return self._reply()

    @asynccontextmanager
    async def _reply(self) -> AsyncIterator[PlayedReply]:
        yield PlayedReply(self._body, self._content_type, self._failure)

    async def close(self) -> None:
        """Nothing is open."""


class Crossing:
    """A client of one protocol over a provider of another, which answers with ``body``."""

    def __init__(
        self, upstream: str, body: bytes, *, streams: bool, failure: Exception | None = None
    ) -> None:
        self.transport = PlayedTransport(body, is_stream=streams, failure=failure)
        provider = ProviderUpstream(
            "acme",
            self.transport,
            lambda: Address("https://llm.acme.example/v1", {}),
            PROTOCOLS[upstream],
            Dialect(streams=streams),
        )
        self.house = SmallHouse(
            {"acme": provider},  # type: ignore[dict-item]
            model=a_model(targets=(Target("acme", "acme-1"),)),
        )
        house, store = self.house, MemoryStore()
        self._app = App(
            routes(
                House(
                    keys=KeyCheck(access_to(one_key(), house.clock)),
                    limiter=Limiter(clock=house.clock),
                    inference=house.inference,
                    counting=Counting(house.models, house.upstreams, house.estimates),
                    embedding=EmbeddingHouse().embedding,
                    responses=StoredResponses(
                        ResponsesInMemory(), house.clock, epoch=1, retention_ms=60_000
                    ),
                    streams=house.streams(),
                    models=house.models,
                    metrics=house.metrics,
                    settings=ChatSettings(),
                    now_s=lambda: 1_700_000_000,
                    obstacles=list,
                    administration=administration_over(store, house.clock),
                    reporting=reporting_over(ReportsInMemory(), store),
                    reload=nothing_to_reload,
                )
            ),
            house.metrics,
            lambda: "req_made",
            lambda *_: None,
        )

    async def ask(self, client: str, fields: Mapping[str, Any]) -> Client:
        body = json.dumps({"model": "bandari-1", **fields}, separators=(",", ":")).encode()
        headers = [("x-api-key", KEY), ("anthropic-version", "2023-06-01")]
        return await request(self._app, "POST", PATHS[client], headers=headers, body=body)
