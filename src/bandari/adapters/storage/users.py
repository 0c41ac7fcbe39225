"""People who operate: found by the digest of their admin key."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from bandari.adapters.storage.audit_log import Changes, check_actor
from bandari.adapters.storage.bounds import check_text, fits, page_after
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import Int64, users
from bandari.adapters.storage.statements import compiled, first, given
from bandari.domain.accounts import Role, User
from bandari.domain.audit_log import Actor
from bandari.service.ports import NameTaken


class UserStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        columns = (
            users.c.id,
            users.c.name,
            users.c.role,
            users.c.hint,
            users.c.created_ms,
            users.c.disabled_ms,
        )
        inserted = ("name", "role", "digest", "hint", "created_ms")
        self.insert = compiled(
            dialect,
            database.insert_unless_there(users)
            .values({name: given(name) for name in inserted})
            .returning(users.c.id),
            *inserted,
        )
        self.by_digest = compiled(
            dialect, select(*columns).where(users.c.digest == given("digest")), "digest"
        )
        by_id = select(*columns).where(users.c.id == given("id"))
        self.by_id = compiled(dialect, by_id, "id")
        self.lock = compiled(dialect, by_id.with_for_update(key_share=True), "id")
        self.page = compiled(
            dialect,
            first(
                select(*columns).where(users.c.id > given("after", Int64)).order_by(users.c.id),
                given("limit", Int64),
            ),
            *("after", "limit"),
        )
        self.set_role = compiled(
            dialect,
            update(users).values(role=given("role")).where(users.c.id == given("id")),
            *("role", "id"),
        )
        self.set_key = compiled(
            dialect,
            update(users)
            .values(digest=given("digest"), hint=given("hint"))
            .where(users.c.id == given("id")),
            *("digest", "hint", "id"),
        )
        self.disable = compiled(
            dialect,
            update(users).values(disabled_ms=given("disabled_ms")).where(users.c.id == given("id")),
            *("disabled_ms", "id"),
        )


class SqlUsers:
    """``service.ports.Users`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._changes = Changes(database)
        self._sql = UserStatements(database)

    async def create_user(
        self, name: str, role: Role, digest: bytes, hint: str, now_ms: int, by: Actor
    ) -> User:
        check_text(name, hint)
        check_actor(by)
        user = await self._writer.run((), self._create, name, role, digest, hint, now_ms, by)
        if user is None:
            raise NameTaken(name)
        return user

    async def find_user(self, digest: bytes) -> User | None:
        return await self._reader.run(self._one, self._sql.by_digest, digest)

    async def user_of_id(self, user_id: int) -> User | None:
        if not fits(user_id):
            return None
        return await self._reader.run(self._one, self._sql.by_id, user_id)

    async def list_users(self, after: int, limit: int) -> Sequence[User]:
        return await self._reader.run(self._page, *page_after(after, limit))

    async def set_role(self, user_id: int, role: Role, now_ms: int, by: Actor) -> User | None:
        check_actor(by)
        if not fits(user_id):
            return None
        return await self._writer.run((), self._set_role, user_id, role, now_ms, by)

    async def set_user_key(
        self, user_id: int, digest: bytes, hint: str, now_ms: int, by: Actor
    ) -> User | None:
        check_text(hint)
        check_actor(by)
        if not fits(user_id):
            return None
        return await self._writer.run((), self._set_key, user_id, digest, hint, now_ms, by)

    async def disable_user(self, user_id: int, now_ms: int, by: Actor) -> User | None:
        check_actor(by)
        if not fits(user_id):
            return None
        return await self._writer.run((), self._disable, user_id, now_ms, by)

    # In a reader's thread.

    def _one(self, connection: Connection, sql: str, which: int | bytes) -> User | None:
        row = connection.cursor.execute(sql, (which,)).fetchone()
        return None if row is None else _user(row)

    def _page(self, connection: Connection, after: int, limit: int) -> Sequence[User]:
        rows = connection.cursor.execute(self._sql.page, (after, limit)).fetchall()
        return [_user(row) for row in rows]

    # In the writer's thread.

    def _create(
        self,
        connection: Connection,
        name: str,
        role: Role,
        digest: bytes,
        hint: str,
        now_ms: int,
        by: Actor,
    ) -> User | None:
        values = (name, role.value, digest, hint, now_ms)
        row = connection.cursor.execute(self._sql.insert, values).fetchone()
        if row is None:
            return None
        user = self._known(connection, row[0])
        self._changes.enter(connection, "user.create", f"user {user.id}", None, user, now_ms, by)
        return user

    def _set_role(
        self, connection: Connection, user_id: int, role: Role, now_ms: int, by: Actor
    ) -> User | None:
        user = self._one(connection, self._sql.lock, user_id)
        if user is None or user.role is role:
            return user
        values = (role.value,)
        return self._change(connection, "user.role", user, self._sql.set_role, values, now_ms, by)

    def _set_key(
        self,
        connection: Connection,
        user_id: int,
        digest: bytes,
        hint: str,
        now_ms: int,
        by: Actor,
    ) -> User | None:
        user = self._one(connection, self._sql.lock, user_id)
        if user is None:
            return None
        values = (digest, hint)
        return self._change(connection, "user.key", user, self._sql.set_key, values, now_ms, by)

    def _disable(self, connection: Connection, user_id: int, now_ms: int, by: Actor) -> User | None:
        user = self._one(connection, self._sql.lock, user_id)
        if user is None or user.disabled_ms is not None:
            return user
        values = (now_ms,)
        return self._change(connection, "user.disable", user, self._sql.disable, values, now_ms, by)

    def _change(
        self,
        connection: Connection,
        action: str,
        user: User,
        sql: str,
        values: Row,
        now_ms: int,
        by: Actor,
    ) -> User:
        """Change a user who is locked, and say so."""
        connection.cursor.execute(sql, (*values, user.id))
        after = self._known(connection, user.id)
        self._changes.enter(connection, action, f"user {user.id}", user, after, now_ms, by)
        return after

    def _known(self, connection: Connection, user_id: int) -> User:
        user = self._one(connection, self._sql.by_id, user_id)
        assert user is not None, "users are never deleted"
        return user


def _user(row: Row) -> User:
    user_id, name, role, hint, created_ms, disabled_ms = row
    return User(user_id, name, Role(role), hint, created_ms, disabled_ms)
