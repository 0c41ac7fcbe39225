"""Recordings by their ids: read again from any chunk on, or deleted."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bandari.service.streams import NoSuchFrame, Streams
from bandari.web import problems, resuming
from bandari.web.admission import Admission
from bandari.web.delivery import Delivery
from bandari.web.exchange import Exchange

AFTER = "after"


class StreamsById:
    """The endpoints. ``deliveries`` are by the name of the surface that a recording is of."""

    def __init__(
        self, admission: Admission, streams: Streams, deliveries: Mapping[str, Delivery]
    ) -> None:
        self._admission = admission
        self._streams = streams
        self._deliveries = deliveries

    async def read(self, exchange: Exchange) -> None:
        """``GET``: what follows the chunk of index ``after``, or of the header that says it."""
        principal = await self._admission.identify(exchange)
        if principal is None:
            return
        name, after = AFTER, -1
        text = exchange.parameter(AFTER)
        if text is not None:
            after = resuming.index(AFTER, text)
        elif (header := resuming.name_of_last_chunk(exchange)) is not None:
            name, after = header, resuming.last_chunk(exchange) or 0
        try:
            found = await self._streams.find(principal, exchange.path_id, after)
        except NoSuchFrame as missing:
            raise resuming.no_such_chunk(name, missing.count) from None
        delivery = self._deliveries[found.recording.about.surface]
        if not await self._admission.may_use(exchange, principal, delivery.surface.scope):
            return
        exchange.spell = delivery.surface.spell
        await delivery.answer(exchange, found)

    async def delete(self, exchange: Exchange) -> None:
        principal = await self._admission.identify(exchange)
        if principal is None:
            return
        stream_id = exchange.path_id
        surface = await self._streams.surface_of(principal, stream_id)
        if surface is not None:
            scope = self._deliveries[surface].surface.scope
            if not await self._admission.may_use(exchange, principal, scope):
                return
        await self._streams.delete(principal, stream_id)
        told = {"id": stream_id, "object": "stream", "deleted": True}
        await exchange.respond(200, problems.JSON, msgspec.json.encode(told))
