"""The same question over HTTP at every surface of an application without a server, and what a
client does with its stream: reads it, leaves it, comes back for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.support.client import App, Client, request
from tests.support.gates import Gate
from tests.support.key_ring import KEY
from tests.support.scripted_upstream import (
    Script,
    ScriptedUpstream,
    answer,
    counted,
    finish,
    text,
    usage,
)
from tests.support.small_house import SmallHouse

from bandari.service.stream_terms import StreamSettings
from bandari.service.streams import Streams

Headers = tuple[tuple[str, str], ...]

QUESTION = [{"role": "user", "content": "Habari?"}]


class Spoken(NamedTuple):
    """``between`` are the events that have no index: comments, and what keeps a stream alive."""

    path: str
    body: Mapping[str, Any]
    headers: Headers = ()
    between: tuple[bytes, ...] = (b": ping\n\n", b": \n\n")
    opening: bytes = b""


SPOKEN = {
    "chat_completions": Spoken("/v1/chat/completions", {"messages": QUESTION}),
    "completions": Spoken("/v1/completions", {"prompt": "Habari?"}),
    "messages": Spoken(
        "/v1/messages",
        {"messages": QUESTION, "max_tokens": 100},
        (("anthropic-version", "2023-06-01"),),
        (b'event: ping\ndata: {"type": "ping"}\n\n',),
    ),
    "messages_hybrid": Spoken("/v1/messages", {"messages": QUESTION, "max_tokens": 100}),
    "responses": Spoken("/v1/responses", {"input": "Habari?", "store": False}),
    "typed_stream": Spoken(
        "/api/v1/llm/chat/completions/stream", {"messages": QUESTION}, opening=b": \n\n"
    ),
}
ALL = tuple(SPOKEN)
WHOLE = tuple(name for name in ALL if name != "typed_stream")


WINDOW = ("x-resume-window", "30")
WORDS = (text("Habari "), text("njema "), text("🦁"), finish(), usage(12, 4))
"""An answer of six events at Chat Completions."""


def house_with(*steps: Any, **options: Any) -> SmallHouse:
    return SmallHouse(ScriptedUpstream(Script(*steps)), **options)


def paused(*gates: Gate) -> SmallHouse:
    """A house whose answer waits between its words."""
    steps: list[Any] = []
    for gate in gates:
        steps += [text("Habari "), counted(2, prompt=9), gate]
    return house_with(*steps, *answer("njema"))


class SetHouse(SmallHouse):
    """With other settings of its streams."""

    def __init__(self, *steps: Any, stream_settings: StreamSettings) -> None:
        super().__init__(ScriptedUpstream(Script(*steps)))
        self._stream_settings = stream_settings

    def streams(self, settings: StreamSettings | None = None, **options: Any) -> Streams:
        return super().streams(settings or self._stream_settings, **options)


class Caller:
    """Asks one application with one key."""

    def __init__(self, app: App, surface: str = "chat_completions", key: str = KEY) -> None:
        self.app = app
        self.spoken = SPOKEN[surface]
        self.key: Headers = (("authorization", f"Bearer {key}"),)

    def start(
        self, *headers: tuple[str, str], stream: bool = True, query: str = "", **fields: Any
    ) -> tuple[Client, asyncio.Task[None]]:
        """A question under way."""
        body = {"model": "bandari-1", **self.spoken.body, "stream": stream} | fields
        client = Client(json.dumps(body).encode())
        given = (*self.key, *headers, *self.spoken.headers)
        exchange = client.exchange("POST", self.spoken.path, given, query=query)

        async def call() -> None:
            await self.app(exchange)

        return client, asyncio.create_task(call())

    async def ask(self, *headers: tuple[str, str], **options: Any) -> Client:
        client, task = self.start(*headers, **options)
        await task
        return client

    def following(
        self, stream_id: str, *headers: tuple[str, str], query: str = "", method: str = "GET"
    ) -> tuple[Client, asyncio.Task[None]]:
        """A client that reads a stream by its id."""
        client = Client()
        path = f"/v1/streams/{stream_id}"
        exchange = client.exchange(method, path, (*self.key, *headers), query=query)

        async def call() -> None:
            await self.app(exchange)

        return client, asyncio.create_task(call())

    async def follow(self, stream_id: str, *headers: tuple[str, str], **options: Any) -> Client:
        client, task = self.following(stream_id, *headers, **options)
        await task
        return client

    async def delete(self, stream_id: str, *headers: tuple[str, str]) -> Client:
        path = f"/v1/streams/{stream_id}"
        return await request(self.app, "DELETE", path, headers=(*self.key, *headers))

    def events(self, body: bytes) -> list[bytes]:
        """Those that have an index, with the empty lines that end them."""
        return [event for event in all_events(body) if event not in self.spoken.between]


def all_events(body: bytes) -> list[bytes]:
    events = body.split(b"\n\n")
    assert events.pop() == b"", "a stream is whole events"
    return [event + b"\n\n" for event in events]


def id_of(client: Client) -> str:
    """Of the stream that a client was given."""
    return client.headers["x-bandari-stream"]


def told(client: Client) -> dict[str, Any]:
    """The error that a client was told, in whichever envelope."""
    body = json.loads(client.body)
    if "defined" in body:
        return {"message": body["message"], **body["data"]}
    return body["error"]
