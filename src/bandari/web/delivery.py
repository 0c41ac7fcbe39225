"""An answer on its way to the client: from its recording, whole or as a stream.

Knows no protocol: what is said while there is nothing to say is the ``Surface``'s.
"""

from __future__ import annotations

from typing import Final

from bandari.service.ports import Metrics
from bandari.service.recording import Reader, Recording
from bandari.service.streams import Answered
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
        self.surface = surface
        self._metrics = metrics
        self._settings = settings

    async def answer(self, exchange: Exchange, answered: Answered) -> None:
        """What follows a frame, in the form that was asked for, until the client leaves."""
        recording = answered.recording
        reader = recording.reader(answered.after)
        unwatch = exchange.watch_client(reader.close)
        try:
            if recording.about.is_streaming:
                await self._stream(exchange, answered, reader)
            else:
                await self._whole(exchange, answered, reader)
        finally:
            unwatch()
            reader.close()

    async def _stream(self, exchange: Exchange, answered: Answered, reader: Reader) -> None:
        surface, recording = self.surface, answered.recording
        first = await self._first_frames(reader)
        if exchange.has_left:
            return
        self.tell_of(exchange, answered)
        if recording.problem is not None and recording.failed_early:
            await problems.tell(exchange, recording.problem, self._metrics)
            return
        await begin_stream(exchange)
        if exchange.method == "HEAD":
            await exchange.end()
            return
        await exchange.write(surface.opening + first)
        del first  # perhaps a whole answer so far: not to be held twice until its end
        await self._rest(exchange, reader, recording)

    async def _rest(self, exchange: Exchange, reader: Reader, recording: Recording) -> None:
        surface = self.surface
        keepalive_s = min(self._settings.keepalive_ms, surface.keepalive_ms) / 1000
        while (frames := await reader.read_within(keepalive_s, exchange.write_now)) != b"":
            if exchange.has_left:
                return
            await exchange.write(surface.keepalive if frames is None else frames)
            del frames  # nor while nothing comes
        if exchange.has_left:
            return
        if recording.problem is None:
            await exchange.end()
            return
        # Told in-stream by now. The missing end of the body tells it to those who skip events.
        self._metrics.problem_told(recording.problem.code, recording.problem.blame.value)

    async def _whole(self, exchange: Exchange, answered: Answered, reader: Reader) -> None:
        recording = answered.recording
        body = await reader.read()
        if exchange.has_left:
            return
        self.tell_of(exchange, answered)
        if recording.problem is not None:
            await problems.tell(exchange, recording.problem, self._metrics)
        else:
            await exchange.respond(200, problems.JSON, body)

    async def _first_frames(self, reader: Reader) -> bytes:
        """The first frames, or a keepalive when they are late: the status can wait no longer."""
        frames = await reader.read_within(self._settings.first_status_timeout_ms / 1000)
        return self.surface.keepalive if frames is None else frames

    def tell_of(self, exchange: Exchange, answered: Answered) -> None:
        """The headers of an answer."""
        about, headers, names = answered.recording.about, exchange.headers, self.surface.names
        if about.receipt_id is not None:
            headers.append((b"x-bandari-receipt", about.receipt_id.encode()))
        headers.append((b"x-bandari-stream", answered.recording.id.encode()))
        if about.window_s is not None:
            headers.append((b"x-resume-window", b"%d" % about.window_s))
        if answered.is_replay:
            headers.append((b"x-bandari-replayed", b"true"))
        elif about.standing is not None:
            # Told to who asked for it, and not kept alive for those who come later.
            standing, about.standing = about.standing(), None
            if standing is not None:
                tell_limits(exchange, standing)
        if about.was_cached is not None:
            headers.append((b"x-bandari-cache", b"hit" if about.was_cached else b"miss"))
        if about.age_s is not None:
            headers.append((b"age", b"%d" % about.age_s))
        if about.max_tokens is not None:
            headers.append((b"x-bandari-max-tokens", b"%d" % about.max_tokens))
        if about.ignored:
            tell_ignored(exchange, [names.get(name, name) for name in about.ignored])


async def begin_stream(exchange: Exchange) -> None:
    exchange.headers.append((b"cache-control", b"no-cache"))
    exchange.headers.append((b"x-accel-buffering", b"no"))
    await exchange.begin(200, EVENT_STREAM)
