"""An answer on its way to the client: from its recording, whole or as a stream.

Knows no protocol: what is said while there is nothing to say is the ``Surface``'s.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from bandari.domain.ledger import Ending
from bandari.service.generation import Generation
from bandari.service.ports import Metrics
from bandari.service.recording import Reader, Recording
from bandari.web import problems
from bandari.web.answer_headers import tell_ignored
from bandari.web.chat_settings import ChatSettings
from bandari.web.exchange import Exchange
from bandari.web.limit_headers import tell_limits
from bandari.web.surface import Surface

EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"


class Delivery:
    """Brings the answers of one surface."""

    def __init__(self, surface: Surface, metrics: Metrics, settings: ChatSettings) -> None:
        self._surface = surface
        self._metrics = metrics
        self._settings = settings

    async def answer(self, exchange: Exchange, generation: Generation) -> None:
        """The whole of it, in the form that was asked for. A client that leaves ends it."""
        unwatch = exchange.watch_client(partial(generation.stop, Ending.CLIENT_LEFT))
        try:
            if generation.request.stream:
                await self.stream(exchange, generation)
            else:
                await self._whole(exchange, generation)
        finally:
            unwatch()

    async def stream(
        self, exchange: Exchange, generation: Generation, after_frame: int = -1
    ) -> None:
        """What follows the frame of that index, as it comes. It goes on if the client leaves."""
        surface, recording = self._surface, generation.recording
        reader = recording.reader(after_frame)
        first = await self._first_frames(reader)
        self.tell_of(exchange, generation)
        if recording.problem is not None and recording.failed_early:
            await problems.tell(exchange, recording.problem, self._metrics)
            return
        await begin_stream(exchange)
        await exchange.write(surface.opening + first)
        await self._rest(exchange, reader, recording)

    async def _rest(self, exchange: Exchange, reader: Reader, recording: Recording) -> None:
        surface = self._surface
        keepalive_s = min(self._settings.keepalive_ms, surface.keepalive_ms) / 1000
        while (frames := await reader.read_within(keepalive_s, exchange.write_now)) != b"":
            if exchange.has_left:
                return
            await exchange.write(surface.keepalive if frames is None else frames)
        if recording.problem is None:
            await exchange.end()
            return
        # Told in-stream by now. The missing end of the body tells it to those who skip events.
        self._metrics.problem_told(recording.problem.code, recording.problem.blame.value)

    async def _whole(self, exchange: Exchange, generation: Generation) -> None:
        recording = generation.recording
        body = await recording.reader().read()
        self.tell_of(exchange, generation)
        if recording.problem is not None:
            await problems.tell(exchange, recording.problem, self._metrics)
        else:
            await exchange.respond(200, problems.JSON, body)

    async def _first_frames(self, reader: Reader) -> bytes:
        """The first frames, or a keepalive when they are late: the status can wait no longer."""
        frames = await reader.read_within(self._settings.first_status_timeout_ms / 1000)
        return self._surface.keepalive if frames is None else frames

    def tell_of(self, exchange: Exchange, generation: Generation) -> None:
        """The headers of an answer."""
        headers, spelling = exchange.headers, self._surface.names
        if not generation.is_free:
            headers.append((b"x-bandari-receipt", generation.receipt_id.encode()))
        headers.append((b"x-bandari-stream", generation.recording.id.encode()))
        if generation.max_tokens is not None:
            headers.append((b"x-bandari-max-tokens", b"%d" % generation.max_tokens))
        if (standing := generation.standing) is not None:
            tell_limits(exchange, standing)
        if generation.ignored:
            tell_ignored(exchange, [spelling.get(name, name) for name in generation.ignored])


async def begin_stream(exchange: Exchange) -> None:
    exchange.headers.append((b"cache-control", b"no-cache"))
    exchange.headers.append((b"x-accel-buffering", b"no"))
    await exchange.begin(200, EVENT_STREAM)
