"""``GET /v1/models`` and ``GET /v1/models/{id}``."""

from __future__ import annotations

from bandari.service.models import Models
from bandari.web import problems
from bandari.web.admission import Admission
from bandari.web.exchange import Exchange
from bandari.wire.chat_completions.models import encode_model, encode_models


class ModelList:
    """``created_s`` is given as every model's time of creation, in seconds since 1970."""

    def __init__(self, admission: Admission, models: Models, created_s: int) -> None:
        self._admission = admission
        self._models = models
        self._created_s = created_s

    async def list(self, exchange: Exchange) -> None:
        if await self._admission.identify(exchange) is not None:
            body = encode_models(self._models.all(), self._created_s)
            await exchange.respond(200, problems.JSON, body)

    async def one(self, exchange: Exchange) -> None:
        if await self._admission.identify(exchange) is not None:
            model = self._models.find(exchange.path_id)
            await exchange.respond(200, problems.JSON, encode_model(model, self._created_s))
