"""``GET /v1/models`` and ``GET /v1/models/{id}``, in the client's protocol.

A key sees what it may use, and nothing else.
"""

from __future__ import annotations

from bandari.domain.catalogue import Model
from bandari.service.latencies import Latencies
from bandari.service.models import Models
from bandari.web import problems
from bandari.web.admission import Admission
from bandari.web.exchange import Exchange
from bandari.web.messages import is_anthropics, speak_anthropics
from bandari.wire.chat_completions import models as openai
from bandari.wire.messages import models as anthropic


class ModelList:
    """``created_s`` is given as every model's time of creation, in seconds since 1970."""

    def __init__(
        self, admission: Admission, models: Models, latencies: Latencies, created_s: int
    ) -> None:
        self._admission = admission
        self._models = models
        self._latencies = latencies
        self._created_s = created_s

    async def list(self, exchange: Exchange) -> None:
        for_anthropics = _speak(exchange)
        principal = await self._admission.identify(exchange)
        if principal is None:
            return
        models = self._models.all(principal)
        if for_anthropics:
            body = anthropic.encode_models(
                models,
                self._created_s,
                limit=anthropic.read_limit(exchange.parameter("limit")),
                after_id=exchange.parameter("after_id"),
                before_id=exchange.parameter("before_id"),
            )
        else:
            sort = openai.read_sort(exchange.parameter("sort"))
            body = openai.encode_models(models, self._created_s, self._latency_ms, sort)
        await exchange.respond(200, problems.JSON, body)

    async def one(self, exchange: Exchange) -> None:
        for_anthropics = _speak(exchange)
        principal = await self._admission.identify(exchange)
        if principal is None:
            return
        model = self._models.find(exchange.path_id, principal)
        if for_anthropics:
            body = anthropic.encode_model(model, self._created_s)
        else:
            body = openai.encode_model(model, self._created_s, self._latency_ms)
        await exchange.respond(200, problems.JSON, body)

    def _latency_ms(self, model: Model) -> int | None:
        return self._latencies.median_ms(model.label)


def _speak(exchange: Exchange) -> bool:
    """Whether the answer is for one of Anthropic's clients."""
    if not is_anthropics(exchange):
        return False
    speak_anthropics(exchange)
    return True
