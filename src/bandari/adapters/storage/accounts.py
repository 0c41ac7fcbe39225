"""Accounts, their end users and wallets, and money that moves other than by charges."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from bandari.adapters.storage.audit_log import Changes, check_actor
from bandari.adapters.storage.bounds import (
    check_amount,
    check_end_user,
    check_text,
    fits,
    page_after,
)
from bandari.adapters.storage.database import Connection, Database, Row
from bandari.adapters.storage.end_users import EndUsers
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.policies import account_policies, limits_alone
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import Int64, accounts
from bandari.adapters.storage.statements import compiled, first, given
from bandari.adapters.storage.transfers import Errand, Transfers
from bandari.domain.accounts import Account, AccountPolicy, EndUser, EndUserTerms
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor
from bandari.domain.ledger import Line, TransactionKind, Wallet
from bandari.service.ports import NameTaken

_PLAIN = AccountPolicy()


class AccountStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        columns = (accounts.c.id, accounts.c.name, accounts.c.created_ms, accounts.c.policy)
        self.insert = compiled(
            dialect,
            database.insert_unless_there(accounts)
            .values(name=given("name"), created_ms=given("created_ms"), policy=given("policy"))
            .returning(accounts.c.id),
            *("name", "created_ms", "policy"),
        )
        self.by_name = compiled(
            dialect, select(*columns).where(accounts.c.name == given("name")), "name"
        )
        by_id = select(*columns).where(accounts.c.id == given("id"))
        self.by_id = compiled(dialect, by_id, "id")
        self.lock = compiled(dialect, by_id.with_for_update(key_share=True), "id")
        self.page = compiled(
            dialect,
            first(
                select(*columns)
                .where(accounts.c.id > given("after", Int64))
                .order_by(accounts.c.id),
                given("limit", Int64),
            ),
            *("after", "limit"),
        )
        self.set_policy = compiled(
            dialect,
            update(accounts).values(policy=given("policy")).where(accounts.c.id == given("id")),
            *("policy", "id"),
        )


class SqlAccounts:
    """``service.ports.Accounts`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._changes = Changes(database)
        self._end_users = EndUsers(database, self._changes)
        self._transfers = Transfers(database, self._changes, self._end_users)
        self._sql = AccountStatements(database)

    async def create_account(
        self, name: str, now_ms: int, by: Actor, policy: AccountPolicy = _PLAIN
    ) -> Account:
        check_text(name)
        check_actor(by)
        row = (name, now_ms, account_policies.text(policy))
        account = await self._writer.run((), self._create, row, now_ms, by)
        if account is None:
            raise NameTaken(name)
        return account

    async def find_account(self, name: str) -> Account | None:
        check_text(name)
        return await self._reader.run(self._one, self._sql.by_name, name)

    async def account_of_id(self, account_id: int) -> Account | None:
        if not fits(account_id):
            return None
        return await self._reader.run(self._one, self._sql.by_id, account_id)

    async def list_accounts(self, after: int, limit: int) -> Sequence[Account]:
        return await self._reader.run(self._page, *page_after(after, limit))

    async def set_account_policy(
        self, account_id: int, policy: AccountPolicy, now_ms: int, by: Actor
    ) -> Account | None:
        check_actor(by)
        text = account_policies.text(policy)
        if not fits(account_id):
            return None
        return await self._writer.run((), self._set_policy, account_id, policy, text, now_ms, by)

    async def wallets(self, account_id: int, end_user: str = "") -> Sequence[Wallet]:
        check_text(end_user)
        return await self._reader.run(self._transfers.wallets, account_id, end_user)

    async def transfer(
        self,
        account_id: int,
        asset: str,
        amount: int,
        line: Line,
        kind: TransactionKind,
        why: str,
        now_ms: int,
        by: Actor,
        end_user: str = "",
    ) -> Wallet | None:
        if end_user:
            check_end_user(end_user)
        _check(asset, amount, why, by)
        return await self._writer.run(
            ((account_id, end_user),),
            self._transfers.transfer,
            *(account_id, end_user, asset, amount, line, kind, Errand(why, now_ms, by)),
        )

    async def move(
        self,
        account_id: int,
        end_user: str,
        asset: str,
        amount: int,
        why: str,
        now_ms: int,
        by: Actor,
    ) -> tuple[Wallet, Wallet] | None:
        check_end_user(end_user)
        _check(asset, amount, why, by)
        return await self._writer.run(
            ((account_id, ""), (account_id, end_user)),
            self._transfers.move,
            *(account_id, end_user, asset, amount, Errand(why, now_ms, by)),
        )

    async def set_end_user_limits(
        self, account_id: int, name: str, limits: Limits | None, now_ms: int, by: Actor
    ) -> EndUser:
        check_end_user(name)
        check_actor(by)
        if limits is not None:
            limits_alone.text(limits)
        return await self._writer.run(
            (), self._end_users.set_limits, account_id, name, limits, now_ms, by
        )

    async def end_user(self, account_id: int, name: str) -> EndUser | None:
        check_text(name)
        return await self._reader.run(self._end_users.find, account_id, name)

    async def end_user_terms(self, account_id: int, name: str) -> EndUserTerms | None:
        check_text(name)
        return await self._reader.run(self._end_users.terms, account_id, name)

    async def list_end_users(self, account_id: int, after: str, limit: int) -> Sequence[EndUser]:
        check_text(after)
        _, limit = page_after(0, limit)
        return await self._reader.run(self._end_users.page, account_id, after, limit)

    # In a reader's thread.

    def _one(self, connection: Connection, sql: str, which: int | str) -> Account | None:
        row = connection.cursor.execute(sql, (which,)).fetchone()
        return None if row is None else _account(row)

    def _page(self, connection: Connection, after: int, limit: int) -> Sequence[Account]:
        rows = connection.cursor.execute(self._sql.page, (after, limit)).fetchall()
        return [_account(row) for row in rows]

    # In the writer's thread.

    def _create(self, connection: Connection, row: Row, now_ms: int, by: Actor) -> Account | None:
        inserted = connection.cursor.execute(self._sql.insert, row).fetchone()
        if inserted is None:
            return None
        account = self._known(connection, inserted[0])
        self._changes.enter(
            connection, "account.create", f"account {account.id}", None, account, now_ms, by
        )
        return account

    def _set_policy(
        self,
        connection: Connection,
        account_id: int,
        policy: AccountPolicy,
        text: str,
        now_ms: int,
        by: Actor,
    ) -> Account | None:
        before = self._one(connection, self._sql.lock, account_id)
        if before is None or before.policy == policy:
            return before
        connection.cursor.execute(self._sql.set_policy, (text, account_id))
        after = self._known(connection, account_id)
        self._changes.enter(
            connection, "account.policy", f"account {account_id}", before, after, now_ms, by
        )
        return after

    def _known(self, connection: Connection, account_id: int) -> Account:
        account = self._one(connection, self._sql.by_id, account_id)
        assert account is not None, "accounts are never deleted"
        return account


def _account(row: Row) -> Account:
    account_id, name, created_ms, policy = row
    read = account_policies.read(policy, f"account {account_id}")
    return Account(account_id, name, created_ms, read)


def _check(asset: str, amount: int, why: str, by: Actor) -> None:
    check_amount(abs(amount), least=1)
    check_text(asset, why)
    check_actor(by)
