"""An account's end users: those of whom it has said something. All of it runs inside an operation
of ``SqlAccounts``.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import and_, select, update

from bandari.adapters.storage.audit_log import Changes
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.policies import limits_alone
from bandari.adapters.storage.schema import Int64, end_users, wallets
from bandari.adapters.storage.statements import compiled, first, given
from bandari.domain.accounts import EndUser, EndUserTerms
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor


def subject_of(account_id: int, name: str) -> str:
    """How the audit log names whose something is: an end user, or (without a name) an account."""
    return f"end_user {account_id}/{name}" if name else f"account {account_id}"


class EndUserStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        columns = (
            end_users.c.account_id,
            end_users.c.name,
            end_users.c.created_ms,
            end_users.c.limits,
        )
        of_account = end_users.c.account_id == given("account_id")
        one = select(*columns).where(of_account, end_users.c.name == given("name"))
        self.insert = compiled(
            dialect,
            database.insert_unless_there(end_users)
            .values(
                account_id=given("account_id"), name=given("name"), created_ms=given("created_ms")
            )
            .returning(end_users.c.name),
            *("account_id", "name", "created_ms"),
        )
        self.one = compiled(dialect, one, *("account_id", "name"))
        self.lock = compiled(dialect, one.with_for_update(key_share=True), *("account_id", "name"))
        self.set_limits = compiled(
            dialect,
            update(end_users)
            .values(limits=given("limits"))
            .where(of_account, end_users.c.name == given("name")),
            *("limits", "account_id", "name"),
        )
        # One row for each of his wallets, or one without a wallet.
        his_wallet = and_(
            wallets.c.account_id == end_users.c.account_id, wallets.c.end_user == end_users.c.name
        )
        self.terms = compiled(
            dialect,
            select(end_users.c.limits, wallets.c.asset)
            .select_from(end_users.outerjoin(wallets, his_wallet))
            .where(of_account, end_users.c.name == given("name"))
            .order_by(wallets.c.id),
            *("account_id", "name"),
        )
        self.page = compiled(
            dialect,
            first(
                select(*columns)
                .where(of_account, end_users.c.name > given("after"))
                .order_by(end_users.c.name),
                given("limit", Int64),
            ),
            *("account_id", "after", "limit"),
        )


class EndUsers:
    """The table ``end_users``."""

    def __init__(self, database: Database, changes: Changes) -> None:
        self._changes = changes
        self._sql = EndUserStatements(database)

    def find(self, connection: Connection, account_id: int, name: str) -> EndUser | None:
        row = connection.cursor.execute(self._sql.one, (account_id, name)).fetchone()
        return None if row is None else _end_user(row)

    def terms(self, connection: Connection, account_id: int, name: str) -> EndUserTerms | None:
        rows = connection.cursor.execute(self._sql.terms, (account_id, name)).fetchall()
        if not rows:
            return None
        limits = _limits(rows[0][0], account_id, name)
        return EndUserTerms(limits, tuple(row[1] for row in rows if row[1] is not None))

    def page(
        self, connection: Connection, account_id: int, after: str, limit: int
    ) -> Sequence[EndUser]:
        rows = connection.cursor.execute(self._sql.page, (account_id, after, limit)).fetchall()
        return [_end_user(row) for row in rows]

    def add(
        self, connection: Connection, account_id: int, name: str, now_ms: int, by: Actor
    ) -> None:
        """Enter him if he is new."""
        values = (account_id, name, now_ms)
        if connection.cursor.execute(self._sql.insert, values).fetchone() is not None:
            after = EndUser(account_id, name, now_ms)
            subject = subject_of(account_id, name)
            self._changes.enter(connection, "end_user.create", subject, None, after, now_ms, by)

    def set_limits(
        self,
        connection: Connection,
        account_id: int,
        name: str,
        limits: Limits | None,
        now_ms: int,
        by: Actor,
    ) -> EndUser:
        self.add(connection, account_id, name, now_ms, by)
        row = connection.cursor.execute(self._sql.lock, (account_id, name)).fetchone()
        before = _end_user(row)
        if before.limits == limits:
            return before
        text = None if limits is None else limits_alone.text(limits)
        connection.cursor.execute(self._sql.set_limits, (text, account_id, name))
        after = self.find(connection, account_id, name)
        assert after is not None, "end users are never deleted"
        subject = subject_of(account_id, name)
        self._changes.enter(connection, "end_user.limits", subject, before, after, now_ms, by)
        return after


def _end_user(row: Row) -> EndUser:
    account_id, name, created_ms, limits = row
    return EndUser(account_id, name, created_ms, _limits(limits, account_id, name))


def _limits(text: str | None, account_id: int, name: str) -> Limits | None:
    return None if text is None else limits_alone.read(text, subject_of(account_id, name))
