"""The use case of recordings that can be asked for again, over doubles; its frames are events."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from tests.support.plain_encoder import PlainEncoder
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer
from tests.support.small_house import SmallHouse

from bandari.domain.chat import ChatRequest
from bandari.domain.events import Event, FinishReason
from bandari.domain.keys import Principal, Scope
from bandari.domain.outcome import Deny
from bandari.domain.problem import Problem
from bandari.domain.recordings import RecordingState, StoredRecording
from bandari.domain.usage import Usage
from bandari.service.answer_terms import AnswerTerms
from bandari.service.generation import Generation
from bandari.service.recording import Space
from bandari.service.recordings import Recordings
from bandari.service.repeating import Repeated
from bandari.service.streams import Answered, Asked, Streams, StreamSettings

HI = b"text:Hi\n\nfinish:0:stop\n\nend:12\n\n"
"""The stream of ``answer("Hi")``: three frames."""

Before = Callable[[], Awaitable[object]]


class EventEncoder(PlainEncoder):
    """Spells its frames as server-sent events are: with an empty line at the end."""

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        return _as_events(super().events(events))

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        frames = super().close(usage, finish)
        return _as_events(frames) if self._streams else frames

    def problem(self, problem: Problem) -> Sequence[bytes]:
        return _as_events(super().problem(problem))


class StreamsHouse(SmallHouse):
    """``begun`` are the terms of what was begun, in order. ``front`` is the use case."""

    def __init__(self, *steps: Any, settings: StreamSettings | None = None, **options: Any) -> None:
        upstream = ScriptedUpstream(Script(*(steps or answer("Hi"))))
        super().__init__(options.pop("upstreams", upstream), **options)
        self.stream_settings = settings or StreamSettings()
        self.front = self.streams(self.stream_settings)
        self.begun: list[AnswerTerms] = []

    def another_server(self, settings: StreamSettings | None = None, most: int = 10**6) -> Streams:
        """On the same store; it has none of the recordings of this one."""
        return self.streams(settings or self.stream_settings, recordings=Recordings(Space(most)))

    @property
    def calls(self) -> int:
        """How often the upstream was asked."""
        return len(self.upstreams["acme"].calls)

    async def ask(
        self,
        *,
        at: Streams | None = None,
        principal: Principal | None = None,
        request: ChatRequest | None = None,
        body: str = "body",
        before: Before | None = None,
        **said: Any,
    ) -> Answered | Deny:
        """Ask for an answer; ``before`` is awaited before it is begun."""
        principal, request = principal or a_principal(), request or a_request()
        digest = sha256(body.encode()).digest()
        asked = Asked(
            **{"surface": "plain", "scope": Scope.CHAT_COMPLETIONS, "digest": lambda: digest} | said
        )

        async def begin(terms: AnswerTerms) -> Generation | Repeated | Deny:
            self.begun.append(terms)
            if before is not None:
                await before()
            make_encoder = partial(_encoder, streams=request.stream)
            return await self.inference.begin(principal, request, make_encoder, terms=terms)

        return await (at or self.front).answer(principal, asked, begin)

    async def answered(self, **options: Any) -> Answered:
        """``ask``, where it is not refused."""
        found = await self.ask(**options)
        assert isinstance(found, Answered), found
        return found

    async def whole(self, **options: Any) -> Answered:
        """The same, and read to its end."""
        found = await self.answered(**options)
        await rest(found)
        return found

    def keep(
        self, *frames: bytes, state: RecordingState = RecordingState.ENDED, **changes: Any
    ) -> StoredRecording:
        """A recording in the store, with its frames."""
        now_ms = self.clock.now_ms()
        said: dict[str, Any] = {
            "id": "str_stored",
            "account_id": 1,
            "surface": "plain",
            "is_streaming": True,
            "created_ms": now_ms,
            "expires_ms": now_ms + 1_000,
            "digest": sha256(b"body").digest(),
            "end_user": None,
            "idempotency_key": "k",
            "receipt_id": "rcpt_stored",
            "epoch": 1,
        }
        kept = StoredRecording(**said | changes, state=state, frames=b"")
        self.books.recordings.kept[kept.id] = kept
        self.books.recordings.groups[kept.id] = {0: b"".join(frames)}
        return kept


def _encoder(_opening: object, *, streams: bool) -> EventEncoder:
    return EventEncoder(streams=streams)


def _as_events(frames: Sequence[bytes]) -> Sequence[bytes]:
    return [frame + b"\n" for frame in frames]


async def rest(answered: Answered) -> bytes:
    """What a client of it reads, to the end."""
    reader = answered.recording.reader(answered.after)
    data = b""
    try:
        while piece := await reader.read():
            data += piece
    finally:
        reader.close()
    return data
