"""What a batch reads on SQLite is what it needs, however much there is beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from bandari.adapters.storage import open_store
from bandari.adapters.storage.gathered import _READ


async def test_wallets_are_found_without_those_of_the_accounts_other_end_users(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bandari.db"
    await open_store(f"sqlite:///{path}").aclose()

    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {_READ}", (1, "[]") * 3).fetchall()

    found = [row[3] for row in rows if " wallets USING INDEX" in row[3]]
    assert len(found) == 2
    assert all(step.endswith("(account_id=? AND end_user=?)") for step in found)
