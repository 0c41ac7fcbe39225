"""Answers that are kept for clients that come back for them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Int64 = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("account_id", Int64, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.Column("expires_ms", Int64, nullable=False),
        sa.Column("previous_id", sa.Text),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("is_background", sa.Boolean, nullable=False),
        sa.Column("is_streaming", sa.Boolean, nullable=False),
        sa.Column("end_user", sa.Text),
        sa.Column("receipt_id", sa.Text),
        sa.Column("epoch", Int64, nullable=False),
        sa.Column("input_items", sa.LargeBinary, nullable=False),
        sa.Column("output_items", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("frames", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_responses"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_responses_account_id"),
        sa.ForeignKeyConstraint(["epoch"], ["epochs.id"], name="fk_responses_epoch"),
    )
    op.create_index("ix_responses_expires_ms", "responses", ["expires_ms"])
    unfinished = sa.text("status IN ('queued', 'in_progress')")
    op.create_index(
        "ix_responses_epoch",
        "responses",
        ["epoch"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
