from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.support.client import Client, start
from tests.support.embedding_house import EmbeddingHouse
from tests.support.key_ring import KEY, access_to, one_key, rate_of
from tests.support.memory_store import MemoryStore
from tests.support.operated_house import administration_over, nothing_to_reload, reporting_over
from tests.support.reports_in_memory import ReportsInMemory
from tests.support.responses_in_memory import ResponsesInMemory
from tests.support.small_house import SmallHouse

from bandari.service.counting import Counting
from bandari.service.latencies import Latencies
from bandari.service.recording import Space
from bandari.service.recordings import Recordings
from bandari.service.responses import StoredResponses
from bandari.web.app import App
from bandari.web.chat_settings import ChatSettings
from bandari.web.keys import KeyCheck
from bandari.web.routes import House, routes
from bandari.web.surface import SURFACES


def pytest_asyncio_loop_factories(config, item):
    """A module may name other ``LOOPS`` than asyncio's own."""
    return getattr(item.module, "LOOPS", {"asyncio": asyncio.new_event_loop})


class Front:
    """The application over a small house, and a client to it. ``ring`` has the keys."""

    def __init__(self, house: SmallHouse, *, rate: int | None = None, **settings: int) -> None:
        self.ring = one_key()
        self.groups = rate_of(rate)
        self.latencies = Latencies()
        self.house = house
        self.metrics = house.metrics
        self.obstacles: list[str] = []
        self.logged: list[tuple[str, str, int, float]] = []
        self.stored = ResponsesInMemory()
        self.responses = StoredResponses(self.stored, house.clock, epoch=1, retention_ms=60_000)
        self.settings = settings
        self.app = self._app(self.responses, house.recordings)

    def another_server(self) -> App:
        """On the same store; it is not at the answers of this one."""
        responses = StoredResponses(self.stored, self.house.clock, epoch=2, retention_ms=60_000)
        return self._app(responses, Recordings(Space(1_000_000)))

    def _app(self, responses: StoredResponses, recordings: Recordings) -> App:
        house, store = self.house, MemoryStore()
        return App(
            routes(
                House(
                    keys=KeyCheck(access_to(self.ring, house.clock, self.groups, house.metrics)),
                    limiter=house.limiter,
                    inference=house.inference,
                    counting=Counting(house.models, house.upstreams, house.estimates),
                    models=house.models,
                    metrics=house.metrics,
                    settings=ChatSettings(**self.settings),
                    embedding=EmbeddingHouse().embedding,
                    responses=responses,
                    streams=house.streams(
                        recordings=recordings,
                        spell_problem={
                            name: surface.spell_in_stream for name, surface in SURFACES.items()
                        },
                    ),
                    now_s=lambda: 1_700_000_000,
                    obstacles=lambda: self.obstacles,
                    administration=administration_over(store, house.clock),
                    reporting=reporting_over(ReportsInMemory(), store),
                    reload=nothing_to_reload,
                    latencies=self.latencies,
                )
            ),
            house.metrics,
            lambda: "req_made",
            lambda *request: self.logged.append(request),
        )

    def start(
        self,
        *,
        key: str | None = KEY,
        path: str = "/v1/chat/completions",
        headers: tuple[tuple[str, str], ...] = (),
        **fields: Any,
    ):
        """A chat request under way: the client and the application's task."""
        client = Client(json.dumps(_body(fields)).encode())
        if key is not None:
            headers = (("authorization", f"Bearer {key}"), *headers)
        return client, start(self.app, client, "POST", path, headers)

    async def chat(self, **options: Any) -> Client:
        client, task = self.start(**options)
        await task
        return client


def _body(fields: dict[str, Any]) -> dict[str, Any]:
    return {"model": "bandari-1", "messages": [{"role": "user", "content": "Habari?"}]} | fields


@pytest.fixture
def front():
    return Front


@pytest.fixture
def key():
    return KEY
