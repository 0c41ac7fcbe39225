"""Answers that can be read again, keys that are taken once, and what it costs to repeat one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

Int64 = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    # The stream of a response is a recording from here on. Of one that was kept before, its last
    # event is left, which has the whole of it.
    op.drop_column("responses", "frames")
    for table, column in (
        ("receipts", "repeated_tokens"),
        ("rate_cards", "cache_hit_per_million"),
    ):
        op.add_column(table, sa.Column(column, Int64, nullable=False, server_default="0"))
    op.create_table(
        "recordings",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("account_id", Int64, nullable=False),
        sa.Column("surface", sa.Text, nullable=False),
        sa.Column("is_streaming", sa.Boolean, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.Column("expires_ms", Int64, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("end_user", sa.Text),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("receipt_id", sa.Text, nullable=False),
        sa.Column("epoch", Int64, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("max_tokens", Int64),
        sa.Column("ignored", sa.Text),
        sa.Column("problem", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_recordings"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_recordings_account_id"),
        sa.ForeignKeyConstraint(["epoch"], ["epochs.id"], name="fk_recordings_epoch"),
    )
    keyed = sa.text("idempotency_key IS NOT NULL")
    op.create_index(
        "ix_recordings_account_id_idempotency_key",
        "recordings",
        ["account_id", "idempotency_key"],
        unique=True,
        sqlite_where=keyed,
        postgresql_where=keyed,
    )
    op.create_index("ix_recordings_expires_ms", "recordings", ["expires_ms"])
    running = sa.text("state = 'running'")
    op.create_index(
        "ix_recordings_epoch",
        "recordings",
        ["epoch"],
        sqlite_where=running,
        postgresql_where=running,
    )
    op.create_table(
        "recording_frames",
        sa.Column("recording_id", sa.Text, nullable=False),
        sa.Column("position", Int64, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "position", name="pk_recording_frames"),
        sa.ForeignKeyConstraint(
            ["recording_id"],
            ["recordings.id"],
            name="fk_recording_frames_recording_id",
            ondelete="CASCADE",
        ),
    )
