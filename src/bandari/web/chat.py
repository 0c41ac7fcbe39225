"""An answer to a conversation: from bytes to a recording, which is then delivered.

Knows no protocol: how requests, answers and errors are spelled is the ``Surface``'s.
"""

from __future__ import annotations

from functools import partial

from bandari.domain.outcome import Deny
from bandari.service.answer_terms import AnswerTerms
from bandari.service.generation import Generation
from bandari.service.inference import Inference
from bandari.service.repeating import Repeated
from bandari.service.streams import Streams
from bandari.web import resuming
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
        streams: Streams,
        delivery: Delivery,
        settings: ChatSettings,
    ) -> None:
        self._surface = surface
        self._admission = admission
        self._inference = inference
        self._streams = streams
        self._delivery = delivery
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
        make_encoder = partial(surface.encoder, request)

        async def begin(terms: AnswerTerms) -> Generation | Repeated | Deny:
            return await self._inference.begin(principal, request, make_encoder, terms=terms)

        answered = await resuming.answered(
            exchange, self._streams, principal, resuming.asked_of(exchange, surface, body), begin
        )
        if isinstance(answered, Deny):
            await self._admission.tell(exchange, answered)
        else:
            await self._delivery.answer(exchange, answered)
