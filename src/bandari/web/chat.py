"""An answer to a conversation: from bytes to a generation, whose answer is then delivered.

Knows no protocol: how requests, answers and errors are spelled is the ``Surface``'s.
"""

from __future__ import annotations

from functools import partial

from bandari.domain.outcome import Deny
from bandari.service.inference import Inference
from bandari.service.ports import Metrics
from bandari.web.admission import Admission
from bandari.web.chat_settings import ChatSettings
from bandari.web.delivery import Delivery
from bandari.web.exchange import Exchange
from bandari.web.surface import ChatSurface


class Chat:
    """The endpoint of one surface. One instance serves all its requests."""

    def __init__(
        self,
        surface: ChatSurface,
        admission: Admission,
        inference: Inference,
        metrics: Metrics,
        settings: ChatSettings,
    ) -> None:
        self._surface = surface
        self._admission = admission
        self._inference = inference
        self._delivery = Delivery(surface, metrics, settings)
        self._settings = settings

    async def __call__(self, exchange: Exchange) -> None:
        surface = self._surface
        exchange.spell = surface.spell
        exchange.headers += surface.headers
        asked = await self._admission.take_in(exchange, surface.scope)
        if asked is None:
            return
        principal, body = asked
        request = surface.decode(body, max_messages=self._settings.max_messages)
        principal = await self._admission.on_behalf(principal, request.user)
        generation = await self._inference.begin(
            principal, request, partial(surface.encoder, request)
        )
        if isinstance(generation, Deny):
            await self._admission.tell(exchange, generation)
            return
        await self._delivery.answer(exchange, generation)
