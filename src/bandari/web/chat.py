"""An answer to a conversation: from bytes to a generation, and from its recording to the client.

Knows no protocol: how requests, answers and errors are spelled is the ``Surface``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from msgspec import Struct

from bandari.domain.ledger import Ending
from bandari.domain.outcome import Deny
from bandari.service.generation import Generation
from bandari.service.inference import Inference
from bandari.service.ports import Metrics
from bandari.service.recording import Reader
from bandari.web import problems
from bandari.web.admission import Admission
from bandari.web.exchange import Exchange
from bandari.web.surface import Surface

EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"
MAX_IGNORED_HEADER_CHARACTERS: Final = 1000


class ChatSettings(Struct, frozen=True):
    """Bounds of the surface. Times in milliseconds, sizes in bytes."""

    max_body_bytes: int = 32 * 1024 * 1024
    max_messages: int = 10_000
    body_timeout_ms: int = 30_000
    first_status_timeout_ms: int = 10_000
    keepalive_ms: int = 15_000


class Chat:
    """The endpoint of one surface. One instance serves all its requests."""

    def __init__(
        self,
        surface: Surface,
        admission: Admission,
        inference: Inference,
        metrics: Metrics,
        settings: ChatSettings,
    ) -> None:
        self._surface = surface
        self._admission = admission
        self._inference = inference
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, exchange: Exchange) -> None:
        settings, surface = self._settings, self._surface
        exchange.spell = surface.spell_problem
        exchange.headers += surface.headers
        principal = await self._admission.admit(exchange)
        if principal is None:
            return
        body = await exchange.body(settings.max_body_bytes, settings.body_timeout_ms)
        request = surface.decode(body, max_messages=settings.max_messages)
        generation = await self._inference.begin(
            principal, request, partial(surface.encoder, request)
        )
        if isinstance(generation, Deny):
            await self._admission.tell(exchange, generation)
            return
        unwatch = exchange.watch_client(partial(generation.stop, Ending.CLIENT_LEFT))
        try:
            if request.stream:
                await self._stream(exchange, generation)
            else:
                await self._whole(exchange, generation)
        finally:
            unwatch()

    async def _whole(self, exchange: Exchange, generation: Generation) -> None:
        recording = generation.recording
        body = await recording.reader().read()
        _answer_headers(exchange, generation, self._surface.names)
        if recording.problem is not None:
            await problems.tell(exchange, recording.problem, self._metrics)
        else:
            await exchange.respond(200, problems.JSON, body)

    async def _stream(self, exchange: Exchange, generation: Generation) -> None:
        surface, recording = self._surface, generation.recording
        reader = recording.reader()
        first = await self._first_frames(reader)
        _answer_headers(exchange, generation, self._surface.names)
        if recording.problem is not None and recording.failed_early:
            await problems.tell(exchange, recording.problem, self._metrics)
            return
        exchange.headers.append((b"cache-control", b"no-cache"))
        exchange.headers.append((b"x-accel-buffering", b"no"))
        await exchange.begin(200, EVENT_STREAM)
        await exchange.write(surface.opening + first)
        keepalive_s = min(self._settings.keepalive_ms, surface.keepalive_ms) / 1000
        while (frames := await reader.read_within(keepalive_s, exchange.write_now)) != b"":
            await exchange.write(surface.keepalive if frames is None else frames)
        if recording.problem is None:
            await exchange.end()
            return
        # Told in-stream by now. The missing end of the body tells it to those who skip events.
        self._metrics.problem_told(recording.problem.code, recording.problem.blame.value)

    async def _first_frames(self, reader: Reader) -> bytes:
        """The first frames, or a keepalive when they are late: the status can wait no longer."""
        frames = await reader.read_within(self._settings.first_status_timeout_ms / 1000)
        return self._surface.keepalive if frames is None else frames


def _answer_headers(
    exchange: Exchange, generation: Generation, spelling: Mapping[str, str]
) -> None:
    headers = exchange.headers
    if not generation.is_free:
        headers.append((b"x-bandari-receipt", generation.receipt_id.encode()))
    headers.append((b"x-bandari-stream", generation.recording.id.encode()))
    if generation.max_tokens is not None:
        headers.append((b"x-bandari-max-tokens", b"%d" % generation.max_tokens))
    if generation.ignored:
        names = ", ".join(spelling.get(name, name) for name in generation.ignored)
        shown = names[:MAX_IGNORED_HEADER_CHARACTERS]
        printable = "".join(c if " " <= c <= "~" else "?" for c in shown)
        headers.append((b"x-bandari-ignored", printable.encode()))
