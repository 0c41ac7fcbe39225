"""Accounts and their wallets, and money that comes in or goes out other than by charges."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update

from bandari.adapters.storage.bounds import check_amount, check_text
from bandari.adapters.storage.database import Connection, Database
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.schema import Int64, accounts, wallets
from bandari.adapters.storage.statements import HotStatements, compiled, constant, given
from bandari.domain.ledger import MAX_AMOUNT, Account, Line, TransactionKind, Wallet
from bandari.service.ports import NameTaken


class AccountStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        self.insert_account = compiled(
            dialect,
            database.insert_unless_there(accounts)
            .values(name=given("name"), created_ms=given("created_ms"))
            .returning(accounts.c.id),
            *("name", "created_ms"),
        )
        self.account = compiled(
            dialect,
            select(accounts.c.id, accounts.c.name, accounts.c.created_ms).where(
                accounts.c.name == given("name")
            ),
            "name",
        )
        self.wallets = compiled(
            dialect,
            select(
                wallets.c.id,
                wallets.c.account_id,
                wallets.c.asset,
                wallets.c.balance,
                wallets.c.held,
            )
            .where(wallets.c.account_id == given("account_id"))
            .order_by(wallets.c.id),
            "account_id",
        )
        self.insert_wallet = compiled(
            dialect,
            database.insert_unless_there(wallets).values(
                account_id=given("account_id"),
                asset=given("asset"),
                balance=constant(0),
                held=constant(0),
            ),
            *("account_id", "asset"),
        )
        self.wallet_balance = compiled(
            dialect,
            select(wallets.c.balance)
            .where(wallets.c.account_id == given("account_id"), wallets.c.asset == given("asset"))
            .with_for_update(key_share=True),
            *("account_id", "asset"),
        )
        self.add = compiled(
            dialect,
            update(wallets)
            .values(balance=wallets.c.balance + given("amount", Int64))
            .where(
                wallets.c.account_id == given("account_id"),
                wallets.c.asset == given("asset"),
                wallets.c.balance - wallets.c.held + given("amount", Int64) >= constant(0),
            )
            .returning(wallets.c.id, wallets.c.balance, wallets.c.held),
            *("amount", "account_id", "asset", "amount"),
        )


class SqlAccounts:
    """``service.ports.Accounts`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._hot = HotStatements(database.dialect)
        self._sql = AccountStatements(database)

    async def create_account(self, name: str, now_ms: int) -> Account:
        check_text(name)
        account_id = await self._writer.run((), self._create_account, name, now_ms)
        if account_id is None:
            raise NameTaken(name)
        return Account(account_id, name, now_ms)

    async def find_account(self, name: str) -> Account | None:
        check_text(name)
        return await self._reader.run(self._find_account, name)

    async def wallets(self, account_id: int) -> Sequence[Wallet]:
        return await self._reader.run(self._wallets, account_id)

    async def transfer(
        self,
        account_id: int,
        asset: str,
        amount: int,
        line: Line,
        kind: TransactionKind,
        who: str,
        why: str,
        now_ms: int,
    ) -> Wallet | None:
        check_amount(abs(amount), least=1)
        check_text(asset, who, why)
        return await self._writer.run(
            (account_id,),
            self._transfer,
            *(account_id, asset, amount, line.value, kind.value, who, why, now_ms),
        )

    def _create_account(self, connection: Connection, name: str, now_ms: int) -> int | None:
        row = connection.cursor.execute(self._sql.insert_account, (name, now_ms)).fetchone()
        return None if row is None else int(row[0])

    def _find_account(self, connection: Connection, name: str) -> Account | None:
        row = connection.cursor.execute(self._sql.account, (name,)).fetchone()
        return None if row is None else Account(*row)

    def _wallets(self, connection: Connection, account_id: int) -> Sequence[Wallet]:
        rows = connection.cursor.execute(self._sql.wallets, (account_id,)).fetchall()
        return [Wallet(*row) for row in rows]

    def _transfer(
        self,
        connection: Connection,
        account_id: int,
        asset: str,
        amount: int,
        line: str,
        kind: str,
        who: str,
        why: str,
        now_ms: int,
    ) -> Wallet | None:
        cursor = connection.cursor
        if amount > 0:
            cursor.execute(self._sql.insert_wallet, (account_id, asset))
            (balance,) = cursor.execute(self._sql.wallet_balance, (account_id, asset)).fetchone()
            if balance + amount > MAX_AMOUNT:
                raise ValueError("a wallet's balance is at most 2^53 - 1")
        # The wallet changes before the transaction gets its number, so that along the numbers each
        # wallet's balances come in order.
        wallet = cursor.execute(self._sql.add, (amount, account_id, asset, amount)).fetchone()
        if wallet is None:
            return None
        (transaction_id,) = cursor.execute(
            self._hot.insert_transaction, (kind, who, why, now_ms)
        ).fetchone()
        cursor.executemany(
            self._hot.insert_posting,
            [
                (transaction_id, 0, asset, amount, wallet[0], None),
                (transaction_id, 1, asset, -amount, None, line),
            ],
        )
        return Wallet(wallet[0], account_id, asset, wallet[1], wallet[2])
