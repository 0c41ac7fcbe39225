"""Money that moves other than by charges: between a wallet and a line of the chart, and between an
account's wallet and those of its end users. All of it runs inside an operation of ``SqlAccounts``.

Rule 1: wallets are locked by their ids, lowest first, whichever way the money goes.
Rule 2: the wallets change before the transaction gets its number, so that along the numbers each
wallet's balances come in order.
Rule 3: what cannot be done is known before anything is written: others are in the same database
transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from sqlalchemy import select, update

from bandari.adapters.storage.audit_log import Changes
from bandari.adapters.storage.database import Connection, Database
from bandari.adapters.storage.end_users import EndUsers, subject_of
from bandari.adapters.storage.schema import Int64, wallets
from bandari.adapters.storage.statements import HotStatements, compiled, constant, given
from bandari.domain.audit_log import Actor
from bandari.domain.ledger import MAX_AMOUNT, Line, Posting, TransactionKind, Wallet


class Errand(Struct, frozen=True):
    """Who moves money, when and why."""

    why: str
    now_ms: int
    by: Actor


class _Money(Struct, frozen=True, omit_defaults=True):
    """What the audit log shows of a wallet, and of the end user's where two are changed."""

    asset: str
    balance: int
    end_user_balance: int | None = None
    amount: int | None = None
    line: Line | None = None
    why: str | None = None
    transaction: int | None = None


class TransferStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        columns = (
            wallets.c.id,
            wallets.c.account_id,
            wallets.c.asset,
            wallets.c.balance,
            wallets.c.held,
            wallets.c.end_user,
        )
        of_account = wallets.c.account_id == given("account_id")
        self.all_of = compiled(
            dialect,
            select(*columns)
            .where(of_account, wallets.c.end_user == given("end_user"))
            .order_by(wallets.c.id),
            *("account_id", "end_user"),
        )
        self.lock = compiled(
            dialect,
            select(*columns)
            .where(
                of_account,
                wallets.c.end_user.in_((given("end_user"), given("other_end_user"))),
                wallets.c.asset == given("asset"),
            )
            .order_by(wallets.c.id)
            .with_for_update(key_share=True),
            *("account_id", "end_user", "other_end_user", "asset"),
        )
        self.insert = compiled(
            dialect,
            database.insert_unless_there(wallets).values(
                account_id=given("account_id"),
                asset=given("asset"),
                balance=constant(0),
                held=constant(0),
                end_user=given("end_user"),
            ),
            *("account_id", "asset", "end_user"),
        )
        self.add = compiled(
            dialect,
            update(wallets)
            .values(balance=wallets.c.balance + given("amount", Int64))
            .where(wallets.c.id == given("id"))
            .returning(*columns),
            *("amount", "id"),
        )


class Transfers:
    """Postings between wallets and lines."""

    def __init__(self, database: Database, changes: Changes, end_users: EndUsers) -> None:
        self._changes = changes
        self._end_users = end_users
        self._sql = TransferStatements(database)
        self._hot = HotStatements(database.dialect)

    def wallets(self, connection: Connection, account_id: int, end_user: str) -> Sequence[Wallet]:
        rows = connection.cursor.execute(self._sql.all_of, (account_id, end_user)).fetchall()
        return [Wallet(*row) for row in rows]

    def transfer(
        self,
        connection: Connection,
        account_id: int,
        end_user: str,
        asset: str,
        amount: int,
        line: Line,
        kind: TransactionKind,
        errand: Errand,
    ) -> Wallet | None:
        """``amount`` (negative: out) comes from a line of the chart. None: too little is free."""
        before = self._locked(connection, account_id, asset, end_user).get(end_user)
        if amount < 0 and (before is None or before.free < -amount):
            return None
        wallet = before or self._new_wallet(connection, account_id, end_user, asset, errand)
        after = self._add(connection, wallet, amount)
        number = self._enter(
            connection,
            kind,
            errand,
            (
                Posting(asset, amount, wallet_id=wallet.id),
                Posting(asset, -amount, line=line),
            ),
        )
        self._changes.enter(
            connection,
            f"wallet.{kind.value}",
            subject_of(account_id, end_user),
            None if before is None else _Money(asset, before.balance),
            _Money(asset, after.balance, None, amount, line, errand.why, number),
            errand.now_ms,
            errand.by,
        )
        return after

    def move(
        self,
        connection: Connection,
        account_id: int,
        end_user: str,
        asset: str,
        amount: int,
        errand: Errand,
    ) -> tuple[Wallet, Wallet] | None:
        """``amount`` goes from the account's wallet to its end user's; negative: back."""
        before = self._locked(connection, account_id, asset, "", end_user)
        source, target = ("", end_user) if amount > 0 else (end_user, "")
        if source not in before or before[source].free < abs(amount):
            return None
        wallets = dict(before)
        if target not in wallets:
            wallets[target] = self._new_wallet(connection, account_id, target, asset, errand)
        own = self._add(connection, wallets[""], -amount)
        his = self._add(connection, wallets[end_user], amount)
        number = self._enter(
            connection,
            TransactionKind.TRANSFER,
            errand,
            (
                Posting(asset, -amount, wallet_id=own.id),
                Posting(asset, amount, wallet_id=his.id),
            ),
        )
        self._changes.enter(
            connection,
            "wallet.transfer",
            subject_of(account_id, end_user),
            _Money(asset, wallets[""].balance, wallets[end_user].balance),
            _Money(asset, own.balance, his.balance, amount, None, errand.why, number),
            errand.now_ms,
            errand.by,
        )
        return own, his

    def _locked(
        self, connection: Connection, account_id: int, asset: str, *owners: str
    ) -> Mapping[str, Wallet]:
        """Those of one or two owners' wallets that there are, locked."""
        values = (account_id, owners[0], owners[-1], asset)
        rows = connection.cursor.execute(self._sql.lock, values).fetchall()
        return {wallet.end_user: wallet for wallet in (Wallet(*row) for row in rows)}

    def _new_wallet(
        self, connection: Connection, account_id: int, end_user: str, asset: str, errand: Errand
    ) -> Wallet:
        """Another server may have made it in the meantime: then that one, locked."""
        if end_user:
            self._end_users.add(connection, account_id, end_user, errand.now_ms, errand.by)
        connection.cursor.execute(self._sql.insert, (account_id, asset, end_user))
        return self._locked(connection, account_id, asset, end_user)[end_user]

    def _add(self, connection: Connection, wallet: Wallet, amount: int) -> Wallet:
        if wallet.balance + amount > MAX_AMOUNT:
            raise ValueError("a wallet's balance is at most 2^53 - 1")
        return Wallet(*connection.cursor.execute(self._sql.add, (amount, wallet.id)).fetchone())

    def _enter(
        self,
        connection: Connection,
        kind: TransactionKind,
        errand: Errand,
        postings: Sequence[Posting],
    ) -> int:
        """Enter a transaction in the books; returns its number."""
        values = (kind.value, errand.by.name, errand.why, errand.now_ms)
        (number,) = connection.cursor.execute(self._hot.insert_transaction, values).fetchone()
        connection.cursor.executemany(
            self._hot.insert_posting,
            [
                (number, at, posting.asset, posting.amount, posting.wallet_id, posting.line)
                for at, posting in enumerate(postings)
            ],
        )
        return int(number)
