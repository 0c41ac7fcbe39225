"""What operators and their tools ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from bandari.service.ports import Metrics
from bandari.web import problems
from bandari.web.exchange import Exchange

_encode = msgspec.json.Encoder().encode


class Operations:
    """``obstacles`` says what keeps this server from serving, as sentences; nothing when all is
    well.
    """

    def __init__(self, metrics: Metrics, obstacles: Callable[[], Sequence[str]]) -> None:
        self._metrics = metrics
        self._obstacles = obstacles

    async def alive(self, exchange: Exchange) -> None:
        await exchange.respond(200, problems.JSON, b'{"status":"ok"}')

    async def ready(self, exchange: Exchange) -> None:
        obstacles = list(self._obstacles())
        if obstacles:
            body = _encode({"status": "not ready", "because": obstacles})
            await exchange.respond(503, problems.JSON, body)
        else:
            await exchange.respond(200, problems.JSON, b'{"status":"ready"}')

    async def metrics(self, exchange: Exchange) -> None:
        kind = b"text/plain; version=0.0.4; charset=utf-8"
        await exchange.respond(200, kind, self._metrics.render())
