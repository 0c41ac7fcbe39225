"""The tables, for SQLite and PostgreSQL alike. The migrations build them; a test holds both equal.

Rule 1: amounts are integers in the smallest unit of an asset, and every number is 64 bits wide.
Rule 2: ``postings`` is read by tools outside this repository: its column ``amount`` sums to zero
per asset and per transaction.
Rule 3: only what is still running is a row of ``holds``; ending a hold deletes it.
Rule 4: what is kept of answers is no part of the books. Nothing in them points at it, and it may be
emptied. Its tables are in ``kept_tables``.
Rule 5: ``usage_hours`` can be derived from ``receipts`` again, and never says more than they do.
Rule 6: a policy is the JSON of its struct in ``domain``; what is not said has its default.

Signs: what Bandari owes to customers is positive. A credit is (+ wallet, - line); a charge is
(- wallet, + revenue, and - overruns for what the wallet could not cover).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite stores any integer in 64 bits, but only "INTEGER PRIMARY KEY" is its row id.
Int64 = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", Int64, Identity(), primary_key=True)


def _basis() -> tuple[Column[int], ...]:
    """What an estimate goes by; NULL in rows that were written before revision 0002."""
    return (
        Column("input_bytes", Int64),
        Column("images", Int64),
        Column("output_bytes", Int64),
        Column("input_ratio", Int64),
        Column("output_ratio", Int64),
    )


def _ratio() -> tuple[Column[int], ...]:
    """The price ratio of the key's group, pinned as the rate card is."""
    return (
        Column("ratio_numerator", Int64, nullable=False, server_default="1"),
        Column("ratio_denominator", Int64, nullable=False, server_default="1"),
    )


def _policy() -> Column[str]:
    return Column("policy", Text, nullable=False, server_default="{}")


accounts = Table(
    "accounts",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("created_ms", Int64, nullable=False),
    _policy(),
    UniqueConstraint("name"),
)

# Those of whom an account has said something: limits of their own, or a wallet.
end_users = Table(
    "end_users",
    metadata,
    Column("account_id", Int64, ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("created_ms", Int64, nullable=False),
    # The JSON of ``Limits``; NULL where they are the account's for all its end users.
    Column("limits", Text),
    PrimaryKeyConstraint("account_id", "name"),
)

# People who operate. The digest is of their admin key.
users = Table(
    "users",
    metadata,
    _id(),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("created_ms", Int64, nullable=False),
    Column("disabled_ms", Int64),
    UniqueConstraint("name"),
    UniqueConstraint("digest"),
)

wallets = Table(
    "wallets",
    metadata,
    _id(),
    Column("account_id", Int64, ForeignKey("accounts.id"), nullable=False),
    Column("asset", Text, nullable=False),
    # The sum of the wallet's postings, kept here because every hold asks for it.
    Column("balance", Int64, nullable=False),
    # The sum of the wallet's open holds.
    Column("held", Int64, nullable=False),
    # Empty for the account's own wallet, else whose sub-wallet it is.
    Column("end_user", Text, nullable=False, server_default=""),
    # In this order, all that one of them has is found without looking at the others.
    UniqueConstraint("account_id", "end_user", "asset"),
    # The last line of defence; the statements ask first and never rely on it.
    CheckConstraint("held >= 0", name="held_not_negative"),
    CheckConstraint("balance - held >= 0", name="free_not_negative"),
)

keys = Table(
    "keys",
    metadata,
    _id(),
    Column("account_id", Int64, ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("hint", Text, nullable=False),
    Column("created_ms", Int64, nullable=False),
    Column("revoked_ms", Int64),
    _policy(),
    # The secret that a rotation has replaced, and until when it opens too.
    Column("former_digest", LargeBinary),
    Column("former_hint", Text),
    Column("former_expires_ms", Int64),
    UniqueConstraint("digest"),
    Index(None, "former_digest", unique=True),
    Index(None, "account_id"),
)

# A version's prices never change: receipts and open holds point at it.
rate_cards = Table(
    "rate_cards",
    metadata,
    _id(),
    Column("model", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("version", Int64, nullable=False),
    Column("input_per_million", Int64, nullable=False),
    Column("cached_input_per_million", Int64, nullable=False),
    Column("cache_write_per_million", Int64, nullable=False),
    Column("output_per_million", Int64, nullable=False),
    Column("per_request", Int64, nullable=False),
    # For the tokens of an answer that is repeated from the cache.
    Column("cache_hit_per_million", Int64, nullable=False, server_default="0"),
    UniqueConstraint("model", "asset", "version"),
)

# One row for every start of a server. Closed when the server said goodbye or was found dead.
epochs = Table(
    "epochs",
    metadata,
    _id(),
    Column("opened_ms", Int64, nullable=False),
    Column("closed_ms", Int64),
)

holds = Table(
    "holds",
    metadata,
    Column("id", Text, nullable=False),
    Column("wallet_id", Int64, ForeignKey("wallets.id"), nullable=False),
    Column("amount", Int64, nullable=False),
    Column("epoch", Int64, ForeignKey("epochs.id"), nullable=False),
    Column("key_id", Int64, ForeignKey("keys.id"), nullable=False),
    Column("rate_card_id", Int64, ForeignKey("rate_cards.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("created_ms", Int64, nullable=False),
    Column("end_user", Text),
    # The running count: all five are NULL until the first one.
    Column("input_tokens", Int64),
    Column("output_tokens", Int64),
    Column("cached_tokens", Int64),
    Column("cache_write_tokens", Int64),
    Column("reasoning_tokens", Int64),
    # How it was counted, and what an estimate goes by: NULL until the first count.
    Column("rule", Text),
    *_basis(),
    *_ratio(),
    PrimaryKeyConstraint("id"),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
)

# The id grows with every row, so that a new one is appended and nothing is moved.
transactions = Table(
    "transactions",
    metadata,
    _id(),
    Column("kind", Text, nullable=False),
    # Who and why are NULL for charges: their receipt says both.
    Column("who", Text),
    Column("why", Text),
    Column("created_ms", Int64, nullable=False),
)

# Clustered by transaction: a posting is appended, and a transaction's postings lie side by side.
# A posting of zero is not written, so a charge of nothing is a transaction without postings.
postings = Table(
    "postings",
    metadata,
    Column("transaction_id", Int64, ForeignKey("transactions.id"), nullable=False),
    Column("position", Int64, nullable=False),
    Column("asset", Text, nullable=False),
    Column("amount", Int64, nullable=False),
    # One of the two: a customer's wallet, or a line of the chart of accounts.
    Column("wallet_id", Int64, ForeignKey("wallets.id")),
    Column("line", Text),
    PrimaryKeyConstraint("transaction_id", "position"),
    CheckConstraint("amount <> 0", name="amount_not_zero"),
    CheckConstraint("(wallet_id IS NULL) <> (line IS NULL)", name="wallet_or_line"),
    sqlite_with_rowid=False,
)

# The id is the hold's, so that no hold can be posted twice.
receipts = Table(
    "receipts",
    metadata,
    Column("id", Text, nullable=False),
    Column("transaction_id", Int64, ForeignKey("transactions.id"), nullable=False),
    Column("wallet_id", Int64, ForeignKey("wallets.id"), nullable=False),
    Column("key_id", Int64, ForeignKey("keys.id"), nullable=False),
    Column("rate_card_id", Int64, ForeignKey("rate_cards.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("amount", Int64, nullable=False),
    Column("overrun", Int64, nullable=False),
    Column("balance_after", Int64, nullable=False),
    Column("input_tokens", Int64, nullable=False),
    Column("output_tokens", Int64, nullable=False),
    Column("cached_tokens", Int64, nullable=False),
    Column("cache_write_tokens", Int64, nullable=False),
    Column("reasoning_tokens", Int64, nullable=False),
    Column("rule", Text, nullable=False),
    Column("ending", Text, nullable=False),
    Column("created_ms", Int64, nullable=False),
    Column("ended_ms", Int64, nullable=False),
    Column("end_user", Text),
    Column("finish_reason", Text),
    Column("reasoning_effort", Text),
    *_basis(),
    *_ratio(),
    # Those of an answer that was repeated from the cache, and not generated: no usage.
    Column("repeated_tokens", Int64, nullable=False, server_default="0"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("transaction_id"),
    CheckConstraint("amount >= 0", name="amount_not_negative"),
    CheckConstraint("overrun >= 0", name="overrun_not_negative"),
)

# Receipts added up by the hour at which they were charged, up to a transaction: ``usage_progress``.
usage_hours = Table(
    "usage_hours",
    metadata,
    Column("hour_ms", Int64, nullable=False),
    Column("account_id", Int64, ForeignKey("accounts.id"), nullable=False),
    Column("key_id", Int64, ForeignKey("keys.id"), nullable=False),
    Column("model", Text, nullable=False),
    # Empty where there is none.
    Column("end_user", Text, nullable=False),
    Column("asset", Text, nullable=False),
    Column("requests", Int64, nullable=False),
    Column("input_tokens", Int64, nullable=False),
    Column("output_tokens", Int64, nullable=False),
    Column("cached_tokens", Int64, nullable=False),
    Column("cache_write_tokens", Int64, nullable=False),
    Column("reasoning_tokens", Int64, nullable=False),
    Column("amount", Int64, nullable=False),
    Column("overrun", Int64, nullable=False),
    # The receipts lie between these, so that few are looked at to find them.
    Column("first_transaction_id", Int64, nullable=False),
    Column("last_transaction_id", Int64, nullable=False),
    PrimaryKeyConstraint("hour_ms", "account_id", "key_id", "model", "end_user", "asset"),
    Index(None, "account_id", "hour_ms"),
    Index(None, "key_id", "hour_ms"),
    sqlite_with_rowid=False,
)

# One row: the receipts up to this transaction are in ``usage_hours``.
usage_progress = Table(
    "usage_progress",
    metadata,
    Column("id", Int64, nullable=False),
    Column("transaction_id", Int64, nullable=False),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="one_row"),
)

audit_log = Table(
    "audit_log",
    metadata,
    _id(),
    Column("at_ms", Int64, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("request_id", Text),
    Index(None, "subject", "id"),
)
