"""Answers that are kept for clients that come back for them.

The items and the body are bytes that a codec has spelled; nobody in here reads them.
A response is found by its account only, and only until it expires.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from msgspec import Struct

PREFIX: Final = "resp_"
"""What the id of a response begins with; the rest is the id that its answer was opened with."""

MAX_PART_BYTES: Final = 16 * 1024 * 1024
"""The most that is kept of each: a request's input, an answer's output, its body."""

MAX_CHAIN_LINKS: Final = 1_000
MAX_CHAIN_BYTES: Final = 32 * 1024 * 1024
"""How much a request may continue: as many responses, and as many bytes of items."""


class ResponseStatus(StrEnum):
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        return self not in UNFINISHED

    @property
    def can_be_continued(self) -> bool:
        """Whether there is an answer that a later request can build on."""
        return self in (ResponseStatus.COMPLETED, ResponseStatus.INCOMPLETE)


UNFINISHED: Final = (ResponseStatus.QUEUED, ResponseStatus.IN_PROGRESS)


class StoredResponse(Struct, frozen=True, kw_only=True):
    """An answer as it is kept.

    ``input_items`` are this request's own and ``output_items`` the answer's, JSON arrays both.
    ``body`` is the whole response object as it was told last; ``status`` is right even where the
    body is older (a server that died told no other). ``epoch`` is that of the server that generates
    it. ``receipt_id`` is None where nothing is charged. Its stream is a recording.
    """

    id: str
    account_id: int
    status: ResponseStatus
    created_ms: int
    expires_ms: int
    previous_id: str | None
    model: str
    is_background: bool
    is_streaming: bool
    end_user: str | None
    receipt_id: str | None
    epoch: int
    input_items: bytes
    output_items: bytes
    body: bytes

    def __post_init__(self) -> None:
        _check_size(self.input_items, self.output_items, self.body)


class ResponseEnd(Struct, frozen=True, kw_only=True):
    """How a response ended. Where ``body`` and ``output_items`` are None, the old ones stay."""

    status: ResponseStatus
    receipt_id: str | None = None
    output_items: bytes | None = None
    body: bytes | None = None

    def __post_init__(self) -> None:
        if not self.status.is_finished:
            raise ValueError(f"a response does not end as {self.status}")
        _check_size(self.output_items, self.body)


class Link(Struct, frozen=True):
    """One response of a conversation: its own input, and its output."""

    id: str
    status: ResponseStatus
    input_items: bytes
    output_items: bytes


class Chain(Struct, frozen=True):
    """A response and all those that it continues, oldest first.

    ``links`` is empty where one of them is not there (``missing`` is its id), and where they are
    more, or larger, than a request may continue (``is_too_long``).
    """

    links: tuple[Link, ...] = ()
    missing: str | None = None
    is_too_long: bool = False


def _check_size(*parts: bytes | None) -> None:
    if any(part is not None and len(part) > MAX_PART_BYTES for part in parts):
        raise ValueError(f"a part of a response is at most {MAX_PART_BYTES} bytes")
