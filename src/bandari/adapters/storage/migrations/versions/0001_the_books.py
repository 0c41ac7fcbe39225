"""The books: accounts, wallets, keys, rate cards, epochs, holds, transactions, postings, receipts.

Spelled out, not created from ``schema.py``: a revision stays what it was when that file moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Int64 = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _id() -> sa.Column[int]:
    return sa.Column("id", Int64, sa.Identity(), nullable=False)


def upgrade() -> None:
    op.create_table(
        "accounts",
        _id(),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name", name="uq_accounts_name"),
    )
    op.create_table(
        "wallets",
        _id(),
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
    op.create_table(
        "keys",
        _id(),
        sa.Column("account_id", Int64, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("group_name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.Column("revoked_ms", Int64),
        sa.PrimaryKeyConstraint("id", name="pk_keys"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_keys_account_id"),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
    )
    op.create_index("ix_keys_account_id", "keys", ["account_id"])
    op.create_table(
        "rate_cards",
        _id(),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("asset", sa.Text, nullable=False),
        sa.Column("version", Int64, nullable=False),
        sa.Column("input_per_million", Int64, nullable=False),
        sa.Column("cached_input_per_million", Int64, nullable=False),
        sa.Column("cache_write_per_million", Int64, nullable=False),
        sa.Column("output_per_million", Int64, nullable=False),
        sa.Column("per_request", Int64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rate_cards"),
        sa.UniqueConstraint("model", "asset", "version", name="uq_rate_cards_model_asset_version"),
    )
    op.create_table(
        "epochs",
        _id(),
        sa.Column("opened_ms", Int64, nullable=False),
        sa.Column("closed_ms", Int64),
        sa.PrimaryKeyConstraint("id", name="pk_epochs"),
    )
    op.create_table(
        "holds",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("wallet_id", Int64, nullable=False),
        sa.Column("amount", Int64, nullable=False),
        sa.Column("epoch", Int64, nullable=False),
        sa.Column("key_id", Int64, nullable=False),
        sa.Column("rate_card_id", Int64, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.Column("end_user", sa.Text),
        sa.Column("input_tokens", Int64),
        sa.Column("output_tokens", Int64),
        sa.Column("cached_tokens", Int64),
        sa.Column("cache_write_tokens", Int64),
        sa.Column("reasoning_tokens", Int64),
        sa.PrimaryKeyConstraint("id", name="pk_holds"),
        sa.ForeignKeyConstraint(["wallet_id"], ["wallets.id"], name="fk_holds_wallet_id"),
        sa.ForeignKeyConstraint(["epoch"], ["epochs.id"], name="fk_holds_epoch"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_holds_key_id"),
        sa.ForeignKeyConstraint(["rate_card_id"], ["rate_cards.id"], name="fk_holds_rate_card_id"),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_holds_amount_not_negative")),
    )
    op.create_table(
        "transactions",
        _id(),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("who", sa.Text),
        sa.Column("why", sa.Text),
        sa.Column("created_ms", Int64, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_transactions"),
    )
    op.create_table(
        "postings",
        sa.Column("transaction_id", Int64, nullable=False),
        sa.Column("position", Int64, nullable=False),
        sa.Column("asset", sa.Text, nullable=False),
        sa.Column("amount", Int64, nullable=False),
        sa.Column("wallet_id", Int64),
        sa.Column("line", sa.Text),
        sa.PrimaryKeyConstraint("transaction_id", "position", name="pk_postings"),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name="fk_postings_transaction_id"
        ),
        sa.ForeignKeyConstraint(["wallet_id"], ["wallets.id"], name="fk_postings_wallet_id"),
        sa.CheckConstraint("amount <> 0", name=op.f("ck_postings_amount_not_zero")),
        sa.CheckConstraint(
            "(wallet_id IS NULL) <> (line IS NULL)", name=op.f("ck_postings_wallet_or_line")
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "receipts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("transaction_id", Int64, nullable=False),
        sa.Column("wallet_id", Int64, nullable=False),
        sa.Column("key_id", Int64, nullable=False),
        sa.Column("rate_card_id", Int64, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("amount", Int64, nullable=False),
        sa.Column("overrun", Int64, nullable=False),
        sa.Column("balance_after", Int64, nullable=False),
        sa.Column("input_tokens", Int64, nullable=False),
        sa.Column("output_tokens", Int64, nullable=False),
        sa.Column("cached_tokens", Int64, nullable=False),
        sa.Column("cache_write_tokens", Int64, nullable=False),
        sa.Column("reasoning_tokens", Int64, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("ending", sa.Text, nullable=False),
        sa.Column("created_ms", Int64, nullable=False),
        sa.Column("ended_ms", Int64, nullable=False),
        sa.Column("end_user", sa.Text),
        sa.Column("finish_reason", sa.Text),
        sa.Column("reasoning_effort", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_receipts"),
        sa.ForeignKeyConstraint(
            ["transaction_id"], ["transactions.id"], name="fk_receipts_transaction_id"
        ),
        sa.ForeignKeyConstraint(["wallet_id"], ["wallets.id"], name="fk_receipts_wallet_id"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name="fk_receipts_key_id"),
        sa.ForeignKeyConstraint(
            ["rate_card_id"], ["rate_cards.id"], name="fk_receipts_rate_card_id"
        ),
        sa.UniqueConstraint("transaction_id", name="uq_receipts_transaction_id"),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_receipts_amount_not_negative")),
        sa.CheckConstraint("overrun >= 0", name=op.f("ck_receipts_overrun_not_negative")),
    )
