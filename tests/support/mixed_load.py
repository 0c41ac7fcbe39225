"""Clients that ask for streams and for whole answers, and sometimes leave.

Every request carries a ``user`` of its own, so that its receipt is found again.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx2 as httpx
from tests.support.chat import PATH, Stream, user
from tests.support.server import Bandari


class Asked:
    """One request, and how it ended as its client saw it."""

    def __init__(self, name: str, model: str) -> None:
        self.name = name
        self.model = model
        self.total: int | None = None
        """Tokens of an answer that was completed; None for any other end."""


class Load:
    """Clients that ask and sometimes leave, until they are stopped or the server is gone."""

    def __init__(
        self,
        server: Bandari,
        keys: Sequence[str],
        models: Sequence[str],
        chance: random.Random,
    ) -> None:
        """One client for each of ``keys``."""
        self.asked: list[Asked] = []
        self._server = server
        self._models = models
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._client, args=(key, random.Random(chance.random()), f"{number}")
            )
            for number, key in enumerate(keys)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _client(self, key: str, chance: random.Random, name: str) -> None:
        with self._server.client(key) as client:
            for number in range(10_000):
                if self._stopped.is_set():
                    return
                asked = Asked(f"{time.time_ns()}-{name}-{number}", chance.choice(self._models))
                self.asked.append(asked)
                try:
                    self._ask(client, asked, chance)
                except httpx.TransportError:
                    continue

    def _ask(self, client: httpx.Client, asked: Asked, chance: random.Random) -> None:
        body: dict[str, Any] = {
            "model": asked.model,
            "messages": user("Tell me a long story."),
            "user": asked.name,
            "max_tokens": chance.randrange(1, 120),
        }
        if chance.random() < 0.4:
            response = client.post(PATH, json=body)
            if response.status_code == 200:
                asked.total = response.json()["usage"]["total_tokens"]
            return
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        leaves_after = chance.choice([None, None, 1, 7, 40])
        with client.stream("POST", PATH, json=body) as response:
            lines = []
            for line in response.iter_lines():
                lines.append(line)
                if len(lines) == leaves_after:
                    return
        stream = Stream("\n".join(lines))
        if stream.data and stream.data[-1] == "[DONE]" and stream.usage is not None:
            asked.total = stream.usage["total_tokens"]
