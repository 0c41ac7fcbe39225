"""The use cases of stored responses put together over doubles, and an encoder they can keep."""

from __future__ import annotations

from typing import Any

from tests.support.plain_encoder import PlainEncoder
from tests.support.responses_in_memory import ResponsesInMemory
from tests.support.samples import a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream
from tests.support.small_house import Answered, SmallHouse, ended

from bandari.domain.events import FinishReason
from bandari.domain.outcome import Deny
from bandari.domain.problem import Problem
from bandari.domain.responses import PREFIX, ResponseStatus
from bandari.domain.usage import Usage
from bandari.service.generation import Generation
from bandari.service.inference import Opening
from bandari.service.keeping import Snapshot, ToKeep
from bandari.service.responses import StoredResponses

EPOCH = 1
RETENTION_MS = 86_400_000


class SnapshotPlainEncoder(PlainEncoder):
    """Tells its words as a body like ``completed: Hi there`` and as items like ``["Hi there"]``.

    ``failing`` may be ``snapshot`` too; ``padding`` makes the body larger.
    """

    def __init__(self, *, streams: bool = True, failing: str = "", padding: int = 0) -> None:
        super().__init__(streams=streams, failing=failing)
        self.status = ResponseStatus.QUEUED
        self.failing = failing
        self.padding = padding

    def opening(self) -> Any:
        return ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Any:
        frames = super().close(usage, finish)
        is_cut = finish is FinishReason.LENGTH
        self.status = ResponseStatus.INCOMPLETE if is_cut else ResponseStatus.COMPLETED
        return frames

    def problem(self, problem: Problem) -> Any:
        was_cancelled = problem.code == "cancelled"
        self.status = ResponseStatus.CANCELLED if was_cancelled else ResponseStatus.FAILED
        return super().problem(problem)

    def snapshot(self) -> Snapshot:
        if self.failing == "snapshot":
            raise RuntimeError("a defect in snapshot")
        words, status = "".join(self._words), self.status
        if words and status is ResponseStatus.QUEUED:
            status = ResponseStatus.IN_PROGRESS
        body = f"{status}: {words}".encode() + b" " * self.padding
        return Snapshot(status, body, f'["{words}"]'.encode() if words else b"[]")


class KeepingHouse(SmallHouse):
    """A small house in which answers are kept. ``encoder`` is that of the last answer."""

    def __init__(self, *steps: Any, **options: Any) -> None:
        super().__init__(ScriptedUpstream(Script(*steps)) if steps else None, **options)
        self.store = ResponsesInMemory()
        self.stored = self.another_server(EPOCH)
        self.encoder = SnapshotPlainEncoder()
        self.encoder_options: dict[str, Any] = {}

    def another_server(self, epoch: int) -> StoredResponses:
        return StoredResponses(self.store, self.clock, epoch=epoch, retention_ms=RETENTION_MS)

    async def keep(self, *, stream: bool = True, request: Any = None, **wanted: Any) -> Generation:
        """Begin an answer that is kept."""
        wanted = {"account_id": 1, "input_items": b'["Hello"]', "is_streaming": stream} | wanted
        keeping = self.stored.keeping(ToKeep(**wanted), self._make_encoder(stream))
        begun = await self.inference.begin(
            a_principal(), request or a_request(stream=stream), keeping.make_encoder, keeping
        )
        assert not isinstance(begun, Deny), begun
        return begun

    async def kept_answer(self, **options: Any) -> Answered:
        return await ended(await self.keep(**options), self.books)

    def _make_encoder(self, stream: bool) -> Any:
        def make_encoder(_opening: Opening) -> SnapshotPlainEncoder:
            self.encoder = SnapshotPlainEncoder(streams=stream, **self.encoder_options)
            return self.encoder

        return make_encoder


def id_of(generation: Generation) -> str:
    """The id of the response that a generation makes."""
    return PREFIX + generation.receipt_id.removeprefix("rcpt_")
