"""What estimates go by: bytes, images and ratios, on receipts and on the counts of open holds.

Holds that are open meanwhile keep what they have: a count without a rule was an exact one or a
token for every four bytes, and is charged as it stands.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

Int64 = sa.BigInteger().with_variant(sa.Integer, "sqlite")
BASIS = ("input_bytes", "images", "output_bytes", "input_ratio", "output_ratio")


def upgrade() -> None:
    op.add_column("holds", sa.Column("rule", sa.Text))
    for table in ("holds", "receipts"):
        for name in BASIS:
            op.add_column(table, sa.Column(name, Int64))


def downgrade() -> None:
    raise NotImplementedError("restore a backup instead")
