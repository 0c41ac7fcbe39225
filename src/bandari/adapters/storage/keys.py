"""API keys: stored by digest, looked up on the way of every request."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, insert, or_, select, update

from bandari.adapters.storage.audit_log import Changes, check_actor
from bandari.adapters.storage.bounds import MAX_ROWS, check_text, fits, page_after
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.policies import account_policies, key_policies
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import Int64, accounts, end_users, keys, wallets
from bandari.adapters.storage.statements import compiled, constant, first, given
from bandari.domain.audit_log import Actor
from bandari.domain.keys import ApiKey, FoundKey, KeyPolicy

_PLAIN = KeyPolicy()
_WIDTH = 11
"""How many columns a key has: those of ``ApiKey``, in its order."""
_POLICY = 8


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
            keys.c.policy,
            keys.c.former_hint,
            keys.c.former_expires_ms,
        )
        inserted = ("account_id", "name", "group_name", "digest", "hint", "created_ms", "policy")
        self.insert_key = compiled(
            dialect,
            insert(keys).values({name: given(name) for name in inserted}).returning(keys.c.id),
            *inserted,
        )
        # One row for each of the account's own wallets, or one without a wallet.
        own_wallet = and_(
            wallets.c.account_id == keys.c.account_id, wallets.c.end_user == given("end_user")
        )
        # In order, because PostgreSQL would look for any at all by reading the whole table, where
        # it believes that most are one account's.
        an_end_user = first(
            select(end_users.c.name)
            .where(end_users.c.account_id == keys.c.account_id)
            .order_by(end_users.c.name),
            constant(1),
        )
        self.find = compiled(
            dialect,
            select(
                *columns,
                accounts.c.policy.label("account_policy"),
                an_end_user.scalar_subquery().is_not(None),
                keys.c.digest,
                wallets.c.asset,
            )
            .select_from(of_accounts.outerjoin(wallets, own_wallet))
            .where(
                or_(
                    keys.c.digest == given("digest"), keys.c.former_digest == given("former_digest")
                )
            )
            .order_by(wallets.c.id),
            *("end_user", "digest", "former_digest"),
        )
        by_id = select(*columns).select_from(of_accounts).where(keys.c.id == given("id"))
        self.by_id = compiled(dialect, by_id, "id")
        self.lock = compiled(dialect, by_id.with_for_update(of=keys, key_share=True), "id")
        page = (
            select(*columns)
            .select_from(of_accounts)
            .where(keys.c.id > given("after", Int64))
            .order_by(keys.c.id)
        )
        of_account = page.where(keys.c.account_id == given("account_id"))
        limit = given("limit", Int64)
        self.everyone = compiled(dialect, first(page, limit), *("after", "limit"))
        self.of_account = compiled(
            dialect, first(of_account, limit), *("after", "account_id", "limit")
        )
        self.update = compiled(
            dialect,
            update(keys)
            .values(name=given("name"), group_name=given("group_name"), policy=given("policy"))
            .where(keys.c.id == given("id")),
            *("name", "group_name", "policy", "id"),
        )
        self.rotate = compiled(
            dialect,
            update(keys)
            .values(
                digest=given("digest"),
                hint=given("hint"),
                former_digest=keys.c.digest,
                former_hint=keys.c.hint,
                former_expires_ms=given("former_expires_ms"),
            )
            .where(keys.c.id == given("id")),
            *("digest", "hint", "former_expires_ms", "id"),
        )
        self.revoke = compiled(
            dialect,
            update(keys).values(revoked_ms=given("revoked_ms")).where(keys.c.id == given("id")),
            *("revoked_ms", "id"),
        )


class SqlKeys:
    """``service.ports.Keys`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._changes = Changes(database)
        self._sql = KeyStatements(database)

    async def create_key(
        self,
        account_id: int,
        name: str,
        group: str,
        digest: bytes,
        hint: str,
        now_ms: int,
        by: Actor,
        policy: KeyPolicy = _PLAIN,
    ) -> ApiKey:
        check_text(name, group, hint)
        check_actor(by)
        row = (account_id, name, group, digest, hint, now_ms, key_policies.text(policy))
        return await self._writer.run((), self._create_key, row, by)

    async def find_key(self, digest: bytes) -> FoundKey | None:
        return await self._reader.run(self._find_key, digest)

    async def key_of_id(self, key_id: int) -> ApiKey | None:
        if not fits(key_id):
            return None
        return await self._reader.run(self._key_of_id, self._sql.by_id, key_id)

    async def list_keys(
        self, account_id: int | None = None, after: int = 0, limit: int | None = None
    ) -> Sequence[ApiKey]:
        after, limit = page_after(after, MAX_ROWS if limit is None else limit)
        return await self._reader.run(self._list_keys, account_id, after, limit)

    async def update_key(
        self, key_id: int, name: str, group: str, policy: KeyPolicy, now_ms: int, by: Actor
    ) -> ApiKey | None:
        check_text(name, group)
        check_actor(by)
        if not fits(key_id):
            return None
        values = (name, group, key_policies.text(policy))
        return await self._writer.run((), self._update_key, key_id, values, policy, now_ms, by)

    async def rotate_key(
        self,
        key_id: int,
        digest: bytes,
        hint: str,
        former_expires_ms: int,
        now_ms: int,
        by: Actor,
    ) -> ApiKey | None:
        check_text(hint)
        check_actor(by)
        if not fits(key_id):
            return None
        secret = (digest, hint, former_expires_ms)
        return await self._writer.run((), self._rotate_key, key_id, secret, now_ms, by)

    async def revoke_key(self, key_id: int, now_ms: int, by: Actor) -> ApiKey | None:
        check_actor(by)
        if not fits(key_id):
            return None
        return await self._writer.run((), self._revoke_key, key_id, now_ms, by)

    # In a reader's thread.

    def _find_key(self, connection: Connection, digest: bytes) -> FoundKey | None:
        rows = connection.cursor.execute(self._sql.find, ("", digest, digest)).fetchall()
        if not rows:
            return None
        by_present = [row for row in rows if row[-2] == digest]
        rows = by_present or rows
        key = _key(rows[0])
        policy, has_end_users = rows[0][_WIDTH:-2]
        return FoundKey(
            key,
            tuple(row[-1] for row in rows if row[-1] is not None),
            account_policies.read(policy, f"account {key.account_id}"),
            bool(has_end_users),
            is_former=not by_present,
        )

    def _key_of_id(self, connection: Connection, sql: str, key_id: int) -> ApiKey | None:
        row = connection.cursor.execute(sql, (key_id,)).fetchone()
        return None if row is None else _key(row)

    def _list_keys(
        self, connection: Connection, account_id: int | None, after: int, limit: int
    ) -> Sequence[ApiKey]:
        cursor = connection.cursor
        if account_id is None:
            rows = cursor.execute(self._sql.everyone, (after, limit)).fetchall()
        else:
            rows = cursor.execute(self._sql.of_account, (after, account_id, limit)).fetchall()
        return [_key(row) for row in rows]

    # In the writer's thread.

    def _create_key(self, connection: Connection, row: Row, by: Actor) -> ApiKey:
        (key_id,) = connection.cursor.execute(self._sql.insert_key, row).fetchone()
        key = self._known(connection, key_id)
        self._changes.enter(
            connection, "key.create", f"key {key_id}", None, key, key.created_ms, by
        )
        return key

    def _update_key(
        self,
        connection: Connection,
        key_id: int,
        values: tuple[str, str, str],
        policy: KeyPolicy,
        now_ms: int,
        by: Actor,
    ) -> ApiKey | None:
        key = self._key_of_id(connection, self._sql.lock, key_id)
        if key is None or (key.name, key.group, key.policy) == (*values[:2], policy):
            return key
        return self._change(connection, "key.update", key, self._sql.update, values, now_ms, by)

    def _rotate_key(
        self,
        connection: Connection,
        key_id: int,
        secret: tuple[bytes, str, int],
        now_ms: int,
        by: Actor,
    ) -> ApiKey | None:
        key = self._key_of_id(connection, self._sql.lock, key_id)
        if key is None or key.revoked_ms is not None:
            return None
        return self._change(connection, "key.rotate", key, self._sql.rotate, secret, now_ms, by)

    def _revoke_key(
        self, connection: Connection, key_id: int, now_ms: int, by: Actor
    ) -> ApiKey | None:
        key = self._key_of_id(connection, self._sql.lock, key_id)
        if key is None or key.revoked_ms is not None:
            return key
        return self._change(connection, "key.revoke", key, self._sql.revoke, (now_ms,), now_ms, by)

    def _change(
        self,
        connection: Connection,
        action: str,
        key: ApiKey,
        sql: str,
        values: Row,
        now_ms: int,
        by: Actor,
    ) -> ApiKey:
        """Change a key that is locked, and say so."""
        connection.cursor.execute(sql, (*values, key.id))
        after = self._known(connection, key.id)
        self._changes.enter(connection, action, f"key {key.id}", key, after, now_ms, by)
        return after

    def _known(self, connection: Connection, key_id: int) -> ApiKey:
        key = self._key_of_id(connection, self._sql.by_id, key_id)
        assert key is not None, "keys are never deleted"
        return key


def _key(row: Row) -> ApiKey:
    fields = list(row[:_WIDTH])
    fields[_POLICY] = key_policies.read(fields[_POLICY], f"key {row[0]}")
    return ApiKey(*fields)
