"""Policies, end users and their wallets, operators, price ratios, usage added up, the audit log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

Int64 = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _end_users_have_wallets()
    for table in ("accounts", "keys"):
        op.add_column(table, sa.Column("policy", sa.Text, nullable=False, server_default="{}"))
    op.add_column("keys", sa.Column("former_digest", sa.LargeBinary))
    op.add_column("keys", sa.Column("former_hint", sa.Text))
    op.add_column("keys", sa.Column("former_expires_ms", Int64))
    op.create_index("ix_keys_former_digest", "keys", ["former_digest"], unique=True)
    for table in ("holds", "receipts"):
        for column in ("ratio_numerator", "ratio_denominator"):
            op.add_column(table, sa.Column(column, Int64, nullable=False, server_default="1"))
    _create_people()
    _create_usage()
    op.create_table(
        "audit_log",
        sa.Column("id", Int64, sa.Identity(), nullable=False),
        sa.Column("at_ms", Int64, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("before", sa.Text),
        sa.Column("after", sa.Text),
        sa.Column("request_id", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_subject_id", "audit_log", ["subject", "id"])


def _end_users_have_wallets() -> None:
    """SQLite cannot change a constraint: there the table is made anew, with the rows of the old.

    The old one is spelled out, because SQLAlchemy does not see the checks of a table that it finds.
    """
    old = sa.Table(
        "wallets",
        sa.MetaData(),
        sa.Column("id", Int64, sa.Identity(), nullable=False),
        sa.Column("account_id", Int64, nullable=False),
        sa.Column("asset", sa.Text, nullable=False),
        sa.Column("balance", Int64, nullable=False),
        sa.Column("held", Int64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_wallets"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_wallets_account_id"),
        sa.UniqueConstraint("account_id", "asset", name="uq_wallets_account_id_asset"),
        sa.CheckConstraint("held >= 0", name=op.f("ck_wallets_held_not_negative")),
        sa.CheckConstraint("balance - held >= 0", name=op.f("ck_wallets_free_not_negative")),
    )
    with op.batch_alter_table("wallets", copy_from=old) as wallets:
        wallets.add_column(sa.Column("end_user", sa.Text, nullable=False, server_default=""))
        wallets.drop_constraint("uq_wallets_account_id_asset", type_="unique")
        wallets.create_unique_constraint(
            "uq_wallets_account_id_end_user_asset", ["account_id", "end_user", "asset"]
        )


def _create_people() -> None:
    op.create_table(
        "end_users",
        sa.Column("account_id", Int64, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.Column("limits", sa.Text),
        sa.PrimaryKeyConstraint("account_id", "name", name="pk_end_users"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_end_users_account_id"),
    )
    op.create_table(
        "users",
        sa.Column("id", Int64, sa.Identity(), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.Column("disabled_ms", Int64),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
        sa.UniqueConstraint("digest", name="uq_users_digest"),
    )


def _create_usage() -> None:
    key = ["hour_ms", "account_id", "key_id", "model", "end_user", "asset"]
    op.create_table(
        "usage_hours",
        sa.Column("hour_ms", Int64, nullable=False),
        sa.Column("account_id", Int64, nullable=False),
        sa.Column("key_id", Int64, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("end_user", sa.Text, nullable=False),
        sa.Column("asset", sa.Text, nullable=False),
        sa.Column("requests", Int64, nullable=False),
        sa.Column("input_tokens", Int64, nullable=False),
        sa.Column("output_tokens", Int64, nullable=False),
        sa.Column("cached_tokens", Int64, nullable=False),
        sa.Column("cache_write_tokens", Int64, nullable=False),
        sa.Column("reasoning_tokens", Int64, nullable=False),
        sa.Column("amount", Int64, nullable=False),
        sa.Column("overrun", Int64, nullable=False),
        sa.Column("first_transaction_id", Int64, nullable=False),
        sa.Column("last_transaction_id", Int64, nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_usage_hours"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_usage_hours_account_id"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_usage_hours_key_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_usage_hours_account_id_hour_ms", "usage_hours", ["account_id", "hour_ms"])
    op.create_index("ix_usage_hours_key_id_hour_ms", "usage_hours", ["key_id", "hour_ms"])
    op.create_table(
        "usage_progress",
        sa.Column("id", Int64, nullable=False),
        sa.Column("transaction_id", Int64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_usage_progress"),
        sa.CheckConstraint("id = 1", name=op.f("ck_usage_progress_one_row")),
    )
    op.execute("INSERT INTO usage_progress (id, transaction_id) VALUES (1, 0)")
