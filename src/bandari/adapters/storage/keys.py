"""API keys: stored by digest, looked up on the way of every request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select, update

from bandari.adapters.storage.bounds import check_text
from bandari.adapters.storage.database import Connection, Database
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import accounts, keys, wallets
from bandari.adapters.storage.statements import compiled, given
from bandari.domain.keys import ApiKey


class KeyStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        of_accounts = keys.join(accounts, accounts.c.id == keys.c.account_id)
        columns = (
            keys.c.id,
            keys.c.account_id,
            accounts.c.name.label("account"),
            keys.c.name,
            keys.c.group_name,
            keys.c.hint,
            keys.c.created_ms,
            keys.c.revoked_ms,
        )
        self.insert_key = compiled(
            dialect,
            insert(keys)
            .values(
                account_id=given("account_id"),
                name=given("name"),
                group_name=given("group_name"),
                digest=given("digest"),
                hint=given("hint"),
                created_ms=given("created_ms"),
            )
            .returning(keys.c.id),
            *("account_id", "name", "group_name", "digest", "hint", "created_ms"),
        )
        # One row for each of the account's wallets, or one without a wallet.
        self.find = compiled(
            dialect,
            select(*columns, wallets.c.asset)
            .select_from(of_accounts.outerjoin(wallets, wallets.c.account_id == keys.c.account_id))
            .where(keys.c.digest == given("digest"))
            .order_by(wallets.c.id),
            "digest",
        )
        self.by_id = compiled(
            dialect,
            select(*columns).select_from(of_accounts).where(keys.c.id == given("id")),
            "id",
        )
        everyone = select(*columns).select_from(of_accounts).order_by(keys.c.id)
        self.everyone = compiled(dialect, everyone)
        self.of_account = compiled(
            dialect, everyone.where(keys.c.account_id == given("account_id")), "account_id"
        )
        self.revoke = compiled(
            dialect,
            update(keys)
            .values(revoked_ms=given("revoked_ms"))
            .where(keys.c.id == given("id"), keys.c.revoked_ms.is_(None)),
            *("revoked_ms", "id"),
        )


class SqlKeys:
    """``service.ports.Keys`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._sql = KeyStatements(database)

    async def create_key(
        self, account_id: int, name: str, group: str, digest: bytes, hint: str, now_ms: int
    ) -> ApiKey:
        check_text(name, group, hint)
        row = (account_id, name, group, digest, hint, now_ms)
        return await self._writer.run((), self._create_key, row)

    async def find_key(self, digest: bytes) -> tuple[ApiKey, tuple[str, ...]] | None:
        return await self._reader.run(self._find_key, digest)

    async def list_keys(self, account_id: int | None = None) -> Sequence[ApiKey]:
        return await self._reader.run(self._list_keys, account_id)

    async def revoke_key(self, key_id: int, now_ms: int) -> ApiKey | None:
        return await self._writer.run((), self._revoke_key, key_id, now_ms)

    def _create_key(self, connection: Connection, row: tuple[Any, ...]) -> ApiKey:
        (key_id,) = connection.cursor.execute(self._sql.insert_key, row).fetchone()
        return ApiKey(*connection.cursor.execute(self._sql.by_id, (key_id,)).fetchone())

    def _find_key(
        self, connection: Connection, digest: bytes
    ) -> tuple[ApiKey, tuple[str, ...]] | None:
        rows = connection.cursor.execute(self._sql.find, (digest,)).fetchall()
        if not rows:
            return None
        return ApiKey(*rows[0][:-1]), tuple(row[-1] for row in rows if row[-1] is not None)

    def _list_keys(self, connection: Connection, account_id: int | None) -> Sequence[ApiKey]:
        cursor = connection.cursor
        if account_id is None:
            rows = cursor.execute(self._sql.everyone).fetchall()
        else:
            rows = cursor.execute(self._sql.of_account, (account_id,)).fetchall()
        return [ApiKey(*row) for row in rows]

    def _revoke_key(self, connection: Connection, key_id: int, now_ms: int) -> ApiKey | None:
        connection.cursor.execute(self._sql.revoke, (now_ms, key_id))
        row = connection.cursor.execute(self._sql.by_id, (key_id,)).fetchone()
        return None if row is None else ApiKey(*row)
