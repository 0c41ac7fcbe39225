"""Recordings as they are kept beyond their generation, and what a client may ask of them.

A recording is the frames of one answer as its surface spelled them. One that is durable is opened
with its hold, grows with its running counts, and ends with its charge, each in one transaction: so
what can still be read after a crash is what was charged, and an Idempotency-Key is taken once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from bandari.domain.problem import Problem

PREFIX: Final = "str_"
"""What the id of a recording begins with; the rest is the id that its answer was opened with."""

MAX_IDEMPOTENCY_KEY_CHARACTERS: Final = 255

MAX_RESUME_WINDOW_S: Final = 86_400
"""The longest that an operator may have a recording wait for a reader."""

MAX_CACHE_TTL_S: Final = 31_536_000
"""The longest that an answer may be kept for equal requests: 365 days."""

ResumeWindow = Annotated[int, Meta(ge=0, le=MAX_RESUME_WINDOW_S)]
"""In seconds; 0 stops a generation that nobody reads at once."""

CacheTtl = Annotated[int, Meta(ge=1, le=MAX_CACHE_TTL_S)]
"""In seconds."""


class CacheUse(StrEnum):
    """What a request may have of the answers that are kept for equal ones."""

    USE = "use"
    """A kept answer, else a new one, which is kept."""
    ONLY = "only"
    """A kept answer, else a refusal."""
    REFRESH = "refresh"
    """A new answer, which is kept."""
    OFF = "off"


class RecordingState(StrEnum):
    RUNNING = "running"
    ENDED = "ended"
    INTERRUPTED = "interrupted"
    """Its server died. What it had made durable can be read, and was charged."""


class OpenedRecording(Struct, frozen=True, kw_only=True):
    """A durable recording as it begins. It is inserted with its hold, and is of that hold's epoch.

    ``surface`` is the scope of the API that it was asked at. ``digest`` (32 bytes) is that of the
    canonical request. At most one of an account has the same ``idempotency_key``, until it expires.
    """

    id: str
    account_id: int
    surface: str
    is_streaming: bool
    created_ms: int
    expires_ms: int
    digest: bytes
    end_user: str | None = None
    idempotency_key: str | None = None


class FrameGroup(Struct, frozen=True):
    """Frames that are made durable together: the group of that 0-based position.

    ``data`` is whole frames, one behind the other. What is written at a position again replaces
    what is there, and has it all and more: so a write whose outcome is unknown can be made again.
    """

    recording_id: str
    position: int
    data: bytes


class RecordingEnd(Struct, frozen=True, kw_only=True):
    """How a durable recording ended; ``last`` are the frames that were not durable yet.

    ``max_tokens`` is what the answer was shortened to, ``ignored`` the fields its provider was not
    given, and ``problem`` what went wrong.
    """

    last: FrameGroup
    expires_ms: int
    max_tokens: int | None = None
    ignored: tuple[str, ...] = ()
    problem: Problem | None = None


class StoredRecording(Struct, frozen=True, kw_only=True):
    """A durable recording as it is read: ``frames`` are all that are durable, one behind the other.

    ``receipt_id`` is its hold's id. ``epoch`` is that of the server that makes it, or has made it.
    """

    id: str
    account_id: int
    surface: str
    is_streaming: bool
    created_ms: int
    expires_ms: int
    digest: bytes
    end_user: str | None
    idempotency_key: str | None
    receipt_id: str
    epoch: int
    state: RecordingState
    frames: bytes
    max_tokens: int | None = None
    ignored: tuple[str, ...] = ()
    problem: Problem | None = None
