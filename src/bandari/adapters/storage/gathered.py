"""SQLite's own form of placing and posting: all of a batch at once, in a handful of statements.

Rule 1: the transaction has the only lock there is (BEGIN IMMEDIATE), so what it has read stays
true. The guards are applied in Python, in order, and then each row is written once.
Rule 2: few statements, and answers of one row. Python lets go of its own lock for every statement
and every row, and beside a busy event loop getting it back costs more than what SQLite does.

An answer is one row because its rows are put into one JSON text, which integers of 64 bits and
every text that ``check_text`` lets through survive. It is also cheaper than to fetch the rows.
"""
# ruff: noqa: S608 - what is filled in are names of our own columns

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct, json

from bandari.adapters.storage.database import Connection, Cursor, Outright, Written
from bandari.adapters.storage.rows import Ended, count_row, ratio_row, receipt_of, receipt_row
from bandari.adapters.storage.statements import COUNT, RATIO, RECEIPT
from bandari.domain.ledger import Charge, Hold, Line, Receipt, TransactionKind, Wallet
from bandari.service.ports import Placement


class _OpenWallet(Struct, array_like=True):
    """A wallet as the batch has left it so far."""

    id: int
    account_id: int
    asset: str
    balance: int
    held: int
    end_user: str
    account: str

    @property
    def free(self) -> int:
        return self.balance - self.held


_WALLET = """json_array(
    wallets.id, account_id, wallets.asset, balance, held, wallets.end_user, accounts.name
)"""
_ENDED = """json_array(
    wallet_id, holds.amount, key_id, rate_card_id, holds.model, holds.created_ms, holds.end_user,
    ratio_numerator, ratio_denominator, rate_cards.version
)"""
_READ = f"""
SELECT CASE WHEN ? THEN (
    SELECT json_group_array(json_array(holds.id, {_ENDED}, {_WALLET}))
    FROM json_each(?) AS ending
    CROSS JOIN holds ON holds.id = ending.value
    CROSS JOIN rate_cards ON rate_cards.id = rate_card_id
    CROSS JOIN wallets ON wallets.id = wallet_id
    CROSS JOIN accounts ON accounts.id = account_id
) END, CASE WHEN ? THEN (
    SELECT json_group_array({_WALLET})
    FROM json_each(?) AS paying
    CROSS JOIN wallets ON account_id = paying.value AND wallets.end_user = ''
    CROSS JOIN accounts ON accounts.id = account_id
) END, CASE WHEN ? THEN (
    SELECT json_group_array({_WALLET})
    FROM json_each(?) AS paying
    CROSS JOIN wallets ON account_id = json_extract(paying.value, '$[0]')
        AND wallets.end_user = json_extract(paying.value, '$[1]')
    CROSS JOIN accounts ON accounts.id = account_id
) END, (
    SELECT coalesce(max(id), 0) FROM transactions
)
"""
"""The open holds of these ids with their wallets, these accounts' own wallets, the wallets of these
end users (each an account's id and a name), and the number of the last transaction. CROSS JOIN
means: in this order. Each is asked for only if there is need.
"""

_READ_OUTRIGHT = """
SELECT (
    SELECT json_group_array(receipts.id)
    FROM json_each(?) AS asked CROSS JOIN receipts ON receipts.id = asked.value
), (
    SELECT json_group_array(json_array(rate_cards.id, version))
    FROM json_each(?) AS pinned CROSS JOIN rate_cards ON rate_cards.id = pinned.value
)
"""
"""Which of these were charged already, and the versions of these rate cards."""

_SET_COUNT = f"UPDATE holds SET {', '.join(f'{name} = ?' for name in COUNT)} WHERE id = ?"

_open_holds = json.Decoder(list[tuple[str, Ended, _OpenWallet]])
_wallets = json.Decoder(list[_OpenWallet])
_ids = json.Decoder(set[str])
_versions = json.Decoder(list[tuple[int, int]])


class _Rows:
    """A statement that writes rows: a text for each number of them up to 16, and one for 32.

    More are written by several of these, so that the driver can keep all of them prepared. ``one``
    is what is cheaper for a single row.
    """

    def __init__(self, before: str, row: str, after: str = "", one: str | None = None) -> None:
        self._width = row.count("?")
        self._texts = {
            size: before + ", ".join([row] * size) + after for size in (*range(1, 17), 32)
        }
        if one is not None:
            self._texts[1] = one

    def write(self, cursor: Cursor, values: list[Any]) -> None:
        """Write the rows whose values these are, one row's after the other's."""
        start, left = 0, len(values) // self._width
        while left:
            size = 32 if left >= 32 else min(left, 16)
            end = start + size * self._width
            # Not execute: that lets go of Python's lock once more, to ask for a row id.
            cursor.executemany(self._texts[size], (values[start:end],))
            start, left = end, left - size


def _insert(table: str, *columns: str) -> _Rows:
    row = f"({', '.join('?' * len(columns))})"
    return _Rows(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ", row)


_delete_holds = _Rows(
    "DELETE FROM holds WHERE id IN (", "?", ")", one="DELETE FROM holds WHERE id = ?"
)
_insert_transactions = _Rows(
    "INSERT INTO transactions (id, kind, created_ms) VALUES ",
    f"(?, '{TransactionKind.CHARGE.value}', ?)",
)
_insert_holds = _insert(
    "holds",
    *("id", "wallet_id", "amount", "epoch", "key_id", "rate_card_id", "model"),
    *("created_ms", "end_user"),
    *RATIO,
)
_insert_receipts = _insert("receipts", *RECEIPT)
_insert_postings = _insert(
    "postings", "transaction_id", "position", "asset", "amount", "wallet_id", "line"
)
# A charge that the wallet covers has just these two postings.
_insert_covered = _Rows(
    "INSERT INTO postings (transaction_id, position, asset, amount, wallet_id, line) VALUES ",
    f"(?, 0, ?, ?, ?, NULL), (?, 1, ?, ?, NULL, '{Line.REVENUE.value}')",
)
_update_wallets = _Rows(
    "WITH now (balance, held, id) AS (VALUES ",
    "(?, ?, ?)",
    ") UPDATE wallets SET balance = now.balance, held = now.held FROM now"
    " WHERE wallets.id = now.id",
    one="UPDATE wallets SET balance = ?, held = ? WHERE id = ?",
)


class GatheredEntries:
    """``database.Entries`` on SQLite."""

    def write(
        self,
        connection: Connection,
        charges: Sequence[Charge],
        outright: Sequence[Outright],
        holds: Sequence[Hold],
    ) -> Written:
        paying = [*holds, *(one.hold for one in outright)] if outright else holds
        batch = _Batch(connection.cursor, charges, paying)
        if outright:
            batch.read_outright(outright)
        receipts = [batch.post(charge) for charge in charges]
        charged = [batch.charge(one.hold, one.charge) for one in outright]
        placements = [batch.place(hold) for hold in holds]
        batch.write()
        return receipts, charged, placements


class _Batch:
    """What a batch has read, what it makes of it, and what it is going to write."""

    def __init__(self, cursor: Cursor, charges: Sequence[Charge], holds: Sequence[Hold]) -> None:
        self._cursor = cursor
        hold_ids = json.encode([charge.hold_id for charge in charges]).decode()
        accounts = {hold.account_id for hold in holds if not hold.sub_wallet}
        end_users = {(hold.account_id, hold.sub_wallet) for hold in holds if hold.sub_wallet}
        wanted = (
            *(len(charges), hold_ids),
            *(len(accounts), json.encode(accounts).decode()),
            *(len(end_users), json.encode(end_users).decode() if end_users else None),
        )
        ending, *paying, last = cursor.execute(_READ, wanted).fetchone()
        self._wallets: dict[int, _OpenWallet] = {}
        self._paying: dict[tuple[int, str, str], _OpenWallet] = {}
        self._open: dict[str, tuple[Ended, _OpenWallet]] = {}
        if ending is not None:
            for hold_id, ended, wallet in _open_holds.decode(ending):
                self._open[hold_id] = ended, self._wallets.setdefault(wallet.id, wallet)
        for found in paying:
            for wallet in _wallets.decode(found) if found is not None else ():
                now = self._wallets.setdefault(wallet.id, wallet)
                self._paying[now.account_id, now.end_user, now.asset] = now
        self._last_transaction: int = last
        self._charged: set[str] = set()
        self._versions: dict[int, int] = {}
        self._touched: dict[int, _OpenWallet] = {}
        # Values of rows, one row's after the other's.
        self._ended: list[str] = []
        self._transactions: list[int] = []
        self._covered: list[Any] = []
        self._postings: list[Any] = []
        self._receipts: list[Any] = []
        self._holds: list[Any] = []
        self._counts: list[tuple[Any, ...]] = []

    def read_outright(self, outright: Sequence[Outright]) -> None:
        """What is asked of the database only where something is charged outright."""
        ids = json.encode([one.hold.id for one in outright]).decode()
        cards = json.encode({one.hold.rate_card_id for one in outright}).decode()
        charged, versions = self._cursor.execute(_READ_OUTRIGHT, (ids, cards)).fetchone()
        self._charged = _ids.decode(charged)
        self._versions = dict(_versions.decode(versions))

    def post(self, charge: Charge) -> Receipt | None:
        """End the hold with its charge; None if it is not open, or not any more."""
        found = self._open.pop(charge.hold_id, None)
        if found is None:
            return None
        ended, wallet = found
        # More than the hold and all that is free: that is taken, the rest is booked to overruns.
        taken = min(charge.amount, ended.amount + wallet.free)
        wallet.held -= ended.amount
        self._ended.append(charge.hold_id)
        return self._enter(charge, ended, wallet, taken)

    def charge(self, hold: Hold, charge: Charge) -> Receipt | Placement | None:
        """Take the charge from the wallet if it has as much free; None if that was done before."""
        if hold.id in self._charged:
            return None
        wallet = self._paying.get((hold.account_id, hold.sub_wallet, hold.asset))
        if wallet is None:
            return Placement(False, None)
        if wallet.free < charge.amount:
            return Placement(False, _as_it_is(wallet))
        self._charged.add(hold.id)
        ended = Ended(
            wallet.id,
            hold.amount,
            hold.key_id,
            hold.rate_card_id,
            hold.model,
            hold.created_ms,
            hold.end_user,
            *ratio_row(hold.price_ratio),
            # A card that is not there breaks what the receipt refers to.
            self._versions.get(hold.rate_card_id, 0),
        )
        return self._enter(charge, ended, wallet, charge.amount)

    def _enter(self, charge: Charge, ended: Ended, wallet: _OpenWallet, taken: int) -> Receipt:
        wallet.balance -= taken
        self._touched[wallet.id] = wallet
        receipt = receipt_of(charge, ended, wallet.asset, taken, wallet.balance, wallet.account)
        # What SQLite itself would give: the highest and one more.
        self._last_transaction = number = self._last_transaction + 1
        self._transactions += (number, charge.ended_ms)
        if taken and not receipt.overrun:
            self._covered += (number, wallet.asset, -taken, wallet.id, number, wallet.asset, taken)
        elif charge.amount:
            self._post_overrun(number, wallet, receipt)
        self._receipts += receipt_row(receipt, number, wallet.id, ended.rate_card_id)
        return receipt

    def _post_overrun(self, number: int, wallet: _OpenWallet, receipt: Receipt) -> None:
        asset, taken, overrun = wallet.asset, receipt.amount, receipt.overrun
        if taken:
            self._postings += (number, 0, asset, -taken, wallet.id, None)
        self._postings += (number, 1, asset, taken + overrun, None, Line.REVENUE.value)
        self._postings += (number, 2, asset, -overrun, None, Line.OVERRUNS.value)

    def place(self, hold: Hold) -> Placement:
        """Set the hold's amount aside if its wallet has as much free."""
        wallet = self._paying.get((hold.account_id, hold.sub_wallet, hold.asset))
        if wallet is None:
            return Placement(False, None)
        is_placed = wallet.free >= hold.amount
        if is_placed:
            wallet.held += hold.amount
            self._touched[wallet.id] = wallet
            self._holds += (
                hold.id,
                wallet.id,
                hold.amount,
                hold.epoch,
                hold.key_id,
                hold.rate_card_id,
                hold.model,
                hold.created_ms,
                hold.end_user,
                *ratio_row(hold.price_ratio),
            )
            if hold.counted is not None:
                self._counts.append((*count_row(hold.counted), hold.id))
        return Placement(is_placed, _as_it_is(wallet))

    def write(self) -> None:
        cursor = self._cursor
        _delete_holds.write(cursor, self._ended)
        if self._transactions:
            _insert_transactions.write(cursor, self._transactions)
            _insert_covered.write(cursor, self._covered)
            _insert_postings.write(cursor, self._postings)
            _insert_receipts.write(cursor, self._receipts)
        balances: list[int] = []
        for wallet in self._touched.values():
            balances += (wallet.balance, wallet.held, wallet.id)
        _update_wallets.write(cursor, balances)
        _insert_holds.write(cursor, self._holds)
        if self._counts:
            cursor.executemany(_SET_COUNT, self._counts)


def _as_it_is(wallet: _OpenWallet) -> Wallet:
    return Wallet(
        wallet.id, wallet.account_id, wallet.asset, wallet.balance, wallet.held, wallet.end_user
    )
