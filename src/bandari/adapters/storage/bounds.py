"""What may not even reach SQL: one number or text that a database refuses fails a whole batch."""

from __future__ import annotations

from bandari.domain.ledger import MAX_AMOUNT, Count
from bandari.domain.recordings import (
    MAX_IDEMPOTENCY_KEY_CHARACTERS,
    FrameGroup,
    OpenedRecording,
    RecordingEnd,
)
from bandari.domain.usage import Usage

MAX_ROWS = 1_000_000
"""How many rows a list has at most, whoever asks for how many."""
MAX_TEXT_BYTES = 256 * 1024
"""How large the JSON of a policy, or of one side of an entry of the audit log, may be."""
MAX_NAME_CHARACTERS = 512
"""How long the name of an end user may be: PostgreSQL's indexes take 2,704 bytes."""

MAX_GROUP_BYTES = 256 * 1024 * 1024
"""How large the frames may be that are made durable together: both databases take as much."""


def check_amount(amount: int, least: int = 0) -> None:
    """Refuse an amount that no posting may have."""
    if not least <= amount <= MAX_AMOUNT:
        raise ValueError(f"an amount is from {least} to 2^53 - 1, not {amount}")


def check_count(count: Count) -> None:
    """Refuse a count that no column can store."""
    check_usage(count.usage)
    basis = count.basis
    if basis is not None and max(basis.input_bytes, basis.images, basis.output_bytes) > MAX_AMOUNT:
        raise ValueError("a size is at most 2^53 - 1")


def check_usage(usage: Usage) -> None:
    # The kinds of input are part of the input, and each count is at least 0 by construction.
    if max(usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) > MAX_AMOUNT:
        raise ValueError("a count of tokens is at most 2^53 - 1")


def check_text(*texts: str | None) -> None:
    """Refuse what cannot be stored as text: NUL, and halves of surrogate pairs."""
    for text in texts:
        if text is None:
            continue
        if "\0" in text:
            raise ValueError("a text has no NUL characters")
        if not text.isascii():
            text.encode()


def check_end_user(name: str) -> None:
    """Refuse what cannot name an end user: nothing, what is no text, and what fits no index."""
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS:
        raise ValueError(f"an end user's name has 1 to {MAX_NAME_CHARACTERS} characters")
    check_text(name)


def check_opened(recording: OpenedRecording) -> None:
    """Refuse a recording that could not be opened, or its key that would fit no index."""
    key = recording.idempotency_key
    check_text(recording.id, recording.surface, recording.end_user, key)
    if key is not None and not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY_CHARACTERS:
        most = MAX_IDEMPOTENCY_KEY_CHARACTERS
        raise ValueError(f"an idempotency key has 1 to {most} characters")


def check_frames(group: FrameGroup) -> None:
    check_text(group.recording_id)
    check_amount(group.position)
    if len(group.data) > MAX_GROUP_BYTES:
        raise ValueError(f"a group of frames is at most {MAX_GROUP_BYTES} bytes")


def check_end(end: RecordingEnd) -> None:
    """Refuse what cannot be said of how a recording ended."""
    check_frames(end.last)
    check_text(*end.ignored)
    check_amount(end.max_tokens or 0)
    problem = end.problem
    if problem is not None:
        check_text(problem.code, problem.message, problem.param, problem.allow)


def fits(number: int) -> bool:
    """Whether it can be the id of a row. One that is too large would fail a whole batch."""
    return 0 <= number <= MAX_AMOUNT


def page_after(after: int, limit: int) -> tuple[int, int]:
    """What a list begins after, and its length, as SQL can take them."""
    return min(max(after, 0), MAX_AMOUNT), min(max(limit, 0), MAX_ROWS)
