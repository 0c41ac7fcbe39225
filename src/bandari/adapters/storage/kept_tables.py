"""The tables of what is kept of answers, beside the books: responses, and recordings.

Their rules are those of ``schema``. What is large comes last: whoever asks for the rest does not
read it. A receipt's id is no foreign key, because its hold may be voided after all.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

from bandari.adapters.storage.schema import Int64, metadata

__all__ = ["metadata", "recording_frames", "recordings", "responses"]

_IS_UNFINISHED = text("status IN ('queued', 'in_progress')")

# Answers that are kept for their clients.
responses = Table(
    "responses",
    metadata,
    Column("id", Text, nullable=False),
    Column("account_id", Int64, ForeignKey("accounts.id"), nullable=False),
    Column("status", Text, nullable=False),
    Column("created_ms", Int64, nullable=False),
    Column("expires_ms", Int64, nullable=False),
    Column("previous_id", Text),
    Column("model", Text, nullable=False),
    Column("is_background", Boolean, nullable=False),
    Column("is_streaming", Boolean, nullable=False),
    Column("end_user", Text),
    Column("receipt_id", Text),
    Column("epoch", Int64, ForeignKey("epochs.id"), nullable=False),
    Column("input_items", LargeBinary, nullable=False),
    Column("output_items", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("id"),
    Index(None, "expires_ms"),
    # Only what is not finished is looked for by its server, and that is little.
    Index(None, "epoch", sqlite_where=_IS_UNFINISHED, postgresql_where=_IS_UNFINISHED),
)

_IS_RUNNING = text("state = 'running'")
_IS_KEYED = text("idempotency_key IS NOT NULL")

# Answers as their surface spelled them, for clients that come back. Each begins with a hold, whose
# id is the receipt's, and ends with it.
recordings = Table(
    "recordings",
    metadata,
    Column("id", Text, nullable=False),
    Column("account_id", Int64, ForeignKey("accounts.id"), nullable=False),
    Column("surface", Text, nullable=False),
    Column("is_streaming", Boolean, nullable=False),
    Column("created_ms", Int64, nullable=False),
    Column("expires_ms", Int64, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("end_user", Text),
    Column("idempotency_key", Text),
    Column("receipt_id", Text, nullable=False),
    Column("epoch", Int64, ForeignKey("epochs.id"), nullable=False),
    Column("state", Text, nullable=False),
    Column("max_tokens", Int64),
    # The JSON of a list, and of a ``Problem``; NULL where there is none.
    Column("ignored", Text),
    Column("problem", Text),
    PrimaryKeyConstraint("id"),
    # A key is taken once.
    Index(
        None,
        "account_id",
        "idempotency_key",
        unique=True,
        sqlite_where=_IS_KEYED,
        postgresql_where=_IS_KEYED,
    ),
    Index(None, "expires_ms"),
    # Only what is running is looked for by its server, and that is little.
    Index(None, "epoch", sqlite_where=_IS_RUNNING, postgresql_where=_IS_RUNNING),
)

# What became durable together. They go with their recording, whoever deletes it.
recording_frames = Table(
    "recording_frames",
    metadata,
    Column("recording_id", Text, ForeignKey("recordings.id", ondelete="CASCADE"), nullable=False),
    Column("position", Int64, nullable=False),
    Column("data", LargeBinary, nullable=False),
    PrimaryKeyConstraint("recording_id", "position"),
)
