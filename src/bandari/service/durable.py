"""The durable half of a recording: what of its frames is written, and what is to be written next.

Frames are written in groups, each in the transaction of a running count, and the last with the
charge. So what can be read after a crash is what was charged. Knows no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bandari.domain.problem import Problem
from bandari.domain.recordings import FrameGroup, OpenedRecording, RecordingEnd
from bandari.service.recording import Recording

_END_OF_EVENT: Final = b"\n\n"

INTERRUPTED_KEPT_MS: Final = 3_600_000
"""How long what a server that died has left can be read, at least."""


class Durability(Struct, frozen=True, kw_only=True):
    """That an answer is to be durable, and for how long it can be read.

    ``keeps_frames`` is false where only its Idempotency-Key is kept.
    """

    surface: str
    digest: bytes
    kept_ms: int
    end_user: str | None = None
    idempotency_key: str | None = None
    keeps_frames: bool = True


class DurableFrames:
    """Of one recording. ``wanted`` says how long it is kept after its end."""

    __slots__ = ("_position", "_recording", "_wanted", "_written")

    def __init__(self, recording: Recording, wanted: Durability) -> None:
        self._recording = recording
        self._wanted = wanted
        self._position = 0
        self._written = 0

    @property
    def recording_id(self) -> str:
        return self._recording.id

    def opened(self, account_id: int, now_ms: int) -> OpenedRecording:
        """The recording as it is opened with its hold."""
        wanted, recording = self._wanted, self._recording
        return OpenedRecording(
            id=recording.id,
            account_id=account_id,
            surface=wanted.surface,
            is_streaming=recording.about.is_streaming,
            created_ms=now_ms,
            expires_ms=now_ms + max(wanted.kept_ms, INTERRUPTED_KEPT_MS),
            digest=wanted.digest,
            end_user=wanted.end_user,
            idempotency_key=wanted.idempotency_key,
        )

    def next_group(self) -> FrameGroup | None:
        """The frames that are not written yet, if there are any. ``are_written`` once they are."""
        data = self._recording.bytes_from(self._written) if self._wanted.keeps_frames else b""
        return FrameGroup(self._recording.id, self._position, data) if data else None

    def are_written(self, group: FrameGroup) -> None:
        self._position = group.position + 1
        self._written += len(group.data)

    def end(
        self, last_frames: Sequence[bytes], now_ms: int, problem: Problem | None = None
    ) -> RecordingEnd:
        """What is written with the charge: the rest, and ``last_frames``, which have not left."""
        rest = b""
        if self._wanted.keeps_frames:
            rest = b"".join((self._recording.bytes_from(self._written), *last_frames))
        about = self._recording.about
        return RecordingEnd(
            last=FrameGroup(self._recording.id, self._position, rest),
            expires_ms=now_ms + self._wanted.kept_ms,
            max_tokens=about.max_tokens,
            ignored=about.ignored,
            problem=problem,
        )


def frames_of(data: bytes, *, is_streaming: bool) -> Sequence[bytes]:
    """The frames that were joined to ``data``: of a stream SSE events, which end with an empty line
    and have none inside; else the one body.
    """
    if not is_streaming:
        return [data] if data else []
    return [frame + _END_OF_EVENT for frame in data.split(_END_OF_EVENT) if frame]
