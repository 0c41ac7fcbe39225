"""``GET /v1/models`` and ``GET /v1/models/{id}``."""

from __future__ import annotations

from bandari.domain.outcome import Deny
from bandari.service.models import Models
from bandari.service.ports import Metrics
from bandari.web import problems
from bandari.web.exchange import Exchange
from bandari.web.keys import KeyCheck
from bandari.wire.chat_completions.models import encode_model, encode_models


class ModelList:
    """``created_s`` is given as every model's time of creation, in seconds since 1970."""

    def __init__(self, keys: KeyCheck, models: Models, metrics: Metrics, created_s: int) -> None:
        self._keys = keys
        self._models = models
        self._metrics = metrics
        self._created_s = created_s

    async def list(self, exchange: Exchange) -> None:
        principal = await self._keys.principal(exchange)
        if isinstance(principal, Deny):
            await problems.tell(exchange, principal, self._metrics)
            return
        body = encode_models(self._models.all(), self._created_s)
        await exchange.respond(200, problems.JSON, body)

    async def one(self, exchange: Exchange) -> None:
        principal = await self._keys.principal(exchange)
        if isinstance(principal, Deny):
            await problems.tell(exchange, principal, self._metrics)
            return
        model = self._models.find(exchange.path.partition("/models/")[2])
        await exchange.respond(200, problems.JSON, encode_model(model, self._created_s))
