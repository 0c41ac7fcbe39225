"""The ports of the store for one simulated process: the real SQL, each write announced before.

Compiling the statements takes longer than a whole world may, and they keep nothing between calls,
so all worlds share one set of them; a switch leads each call to its own process's writer.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from tests.simulation.books_model import dead_hold_is_right
from tests.simulation.disk import Disk, Reader, Write, Writer, shared_dialect

from bandari.adapters.storage.accounts import SqlAccounts
from bandari.adapters.storage.database import Database, Lock
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.keys import SqlKeys
from bandari.adapters.storage.ledger import SqlLedger
from bandari.adapters.storage.rate_cards import SqlRateCards
from bandari.adapters.storage.reader import Reader as RealReader
from bandari.adapters.storage.recordings import SqlRecordings
from bandari.adapters.storage.sqlite import SqliteDatabase
from bandari.domain.accounts import Account
from bandari.domain.audit_log import Actor
from bandari.domain.estimate import Experience
from bandari.domain.keys import ApiKey
from bandari.domain.ledger import (
    Charge,
    Hold,
    Line,
    Receipt,
    RunningCount,
    TransactionKind,
    Verification,
    Wallet,
)
from bandari.domain.pricing import RateCard
from bandari.domain.recordings import StoredRecording
from bandari.service.ports import Placement

BY = Actor("simulation")


class Store:
    """``ledger`` is the port; the others are the few of their calls that worlds need."""

    def __init__(self, disk: Disk, name: str) -> None:
        self.writer = Writer(disk, name)
        self.ledger = _WatchedLedger(disk, self.writer)
        self.recordings = _WatchedRecordings(disk, self.writer)
        self._disk = disk
        sql = _shared_sql()
        self._switch, self._accounts, self._keys = sql.switch, sql.accounts, sql.keys
        self._cards = sql.rate_cards

    async def create_account(self, name: str, now_ms: int) -> Account:
        self._announce("account", name)
        return await self._accounts.create_account(name, now_ms, BY)

    async def create_key(self, account_id: int, number: int, now_ms: int) -> ApiKey:
        self._announce("key", str(number))
        digest = number.to_bytes(32, "big")
        return await self._keys.create_key(account_id, "", "default", digest, "…", now_ms, BY)

    async def transfer(
        self, account_id: int, asset: str, amount: int, now_ms: int, end_user: str = ""
    ) -> Wallet | None:
        """Into the account's own wallet or an end user's, or out of it."""
        kind = TransactionKind.CREDIT if amount > 0 else TransactionKind.ADJUSTMENT
        self._announce(
            "transfer",
            f"{account_id} {end_user} {asset} {amount}",
            lambda wallet: self._disk.model.transferred(
                wallet, account_id, asset, amount, end_user
            ),
        )
        return await self._accounts.transfer(
            account_id, asset, amount, Line.CASH, kind, "a draw", now_ms, BY, end_user
        )

    async def move(
        self, account_id: int, end_user: str, asset: str, amount: int, now_ms: int
    ) -> tuple[Wallet, Wallet] | None:
        """From the account's own wallet to its end user's, or back."""
        self._announce(
            "move",
            f"{account_id} {end_user} {asset} {amount}",
            lambda wallets: self._disk.model.moved(wallets, account_id, end_user, asset, amount),
        )
        return await self._accounts.move(account_id, end_user, asset, amount, "a draw", now_ms, BY)

    async def pin(self, cards: Sequence[RateCard]) -> Sequence[RateCard]:
        self._announce("pin", "")
        pinned = await self._cards.pin(cards)
        self._disk.model.cards.update({card.id: card for card in pinned})
        return pinned

    def _announce(
        self, name: str, about: str, apply: Callable[[Any], None] = lambda result: None
    ) -> None:
        self._switch.writer = self.writer
        self.writer.announced = Write(name, about, apply)


class _WatchedLedger:
    """The port ``Ledger``."""

    def __init__(self, disk: Disk, writer: Writer) -> None:
        self._disk = disk
        self._model = disk.model
        self._writer = writer
        self._now = asyncio.get_running_loop().time
        self._reader = Reader(disk)
        sql = _shared_sql()
        self._switch, self._sql = sql.switch, sql.ledger

    async def open_epoch(self, now_ms: int) -> int:
        self._announce("open epoch", "", lambda epoch: None)
        return await self._sql.open_epoch(now_ms)

    async def close_epoch(self, epoch: int, now_ms: int) -> None:
        self._announce("close epoch", str(epoch), lambda nothing: None)
        await self._sql.close_epoch(epoch, now_ms)

    async def dead_holds(self, limit: int) -> Sequence[tuple[Hold, RateCard]]:
        def check(dead: Sequence[tuple[Hold, RateCard]]) -> None:
            for hold, card in dead:
                dead_hold_is_right(self._model, hold, card, self._disk.alive)

        self._announce("dead holds", "", check)
        return await self._sql.dead_holds(limit)

    async def place(self, hold: Hold) -> Placement:
        self._announce("place", hold.id, lambda result: self._model.placed(result, hold))
        return await self._sql.place(hold)

    async def extend(self, hold_id: str, amount: int, least: int) -> int:
        def check(granted: int) -> None:
            self._model.extended(granted, hold_id, amount, least)
            if granted < amount:  # the wallet is empty now
                self._disk.denied_extensions[hold_id] = None
            self._disk.trace.count("extension granted" if granted else "extension denied")

        self._announce("extend", hold_id, check)
        return await self._sql.extend(hold_id, amount, least)

    async def count(self, counts: Sequence[RunningCount]) -> None:
        self._announce("count", f"{len(counts)}", lambda none: self._model.counted(none, counts))
        await self._sql.count(counts)

    async def post(self, charge: Charge) -> Receipt:
        self._announce(
            "post", charge.hold_id, lambda receipt: self._model.posted(receipt, charge, self._now())
        )
        return await self._sql.post(charge)

    async def charge(self, hold: Hold, charge: Charge) -> Receipt | Placement:
        self._announce(
            "charge",
            hold.id,
            lambda result: self._model.charged(result, hold, charge, self._now()),
        )
        return await self._sql.charge(hold, charge)

    async def void(self, hold_id: str, recording_id: str | None = None) -> None:
        self._announce(
            "void", hold_id, lambda was_open: self._model.voided(was_open, hold_id, self._now())
        )
        await self._sql.void(hold_id, recording_id)

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        self._switch.reader = self._reader
        return await self._sql.receipt(receipt_id, account_id)

    async def experience(self) -> Mapping[str, Experience]:
        self._switch.reader = self._reader
        return await self._sql.experience()

    async def open_holds(self) -> int:
        self._switch.reader = self._reader
        return await self._sql.open_holds()

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        return self._disk.verify()

    def _announce(self, name: str, about: str, apply: Callable[[Any], Any]) -> None:
        self._switch.writer = self._writer
        self._writer.announced = Write(name, about, apply)


class _WatchedRecordings:
    """The port ``KeptRecordings``: what it finds and does is judged by those who read."""

    def __init__(self, disk: Disk, writer: Writer) -> None:
        self._writer = writer
        self._reader = Reader(disk)
        sql = _shared_sql()
        self._switch, self._sql = sql.switch, sql.recordings

    async def find(self, account_id: int, recording_id: str, now_ms: int) -> StoredRecording | None:
        self._switch.reader = self._reader
        return await self._sql.find(account_id, recording_id, now_ms)

    async def find_keyed(
        self, account_id: int, idempotency_key: str, now_ms: int
    ) -> StoredRecording | None:
        self._switch.reader = self._reader
        return await self._sql.find_keyed(account_id, idempotency_key, now_ms)

    async def delete(self, account_id: int, recording_id: str, now_ms: int) -> bool:
        self._announce("delete recording", recording_id)
        return await self._sql.delete(account_id, recording_id, now_ms)

    async def end_dead(self, limit: int) -> int:
        self._announce("end dead recordings", "")
        return await self._sql.end_dead(limit)

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        self._announce("delete expired recordings", "")
        return await self._sql.delete_expired(now_ms, limit)

    def _announce(self, name: str, about: str) -> None:
        self._switch.writer = self._writer
        self._writer.announced = Write(name, about, lambda result: None)


class _Switch:
    """Writer and reader of the shared SQL: those of whoever called last, in the same breath."""

    def __init__(self) -> None:
        self.writer: Writer | None = None
        self.reader: Reader | None = None

    def run(
        self, locks: Sequence[Lock], operation: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        return self._taken().run(locks, operation, *arguments)

    def run_together(
        self, locks: Sequence[Lock], operation: Callable[..., Any], argument: Any
    ) -> asyncio.Future[Any]:
        return self._taken().run_together(locks, operation, argument)

    def _taken(self) -> Writer:
        writer, self.writer = self.writer, None
        assert writer is not None, "every write is announced"
        return writer


class _ReadSwitch:
    def __init__(self, switch: _Switch) -> None:
        self._switch = switch

    async def run(self, question: Callable[..., Any], *arguments: Any) -> Any:
        reader = self._switch.reader
        assert reader is not None
        return await reader.run(question, *arguments)


class _SharedSql(NamedTuple):
    switch: _Switch
    ledger: SqlLedger
    accounts: SqlAccounts
    keys: SqlKeys
    rate_cards: SqlRateCards
    recordings: SqlRecordings


@functools.cache
def _shared_sql() -> _SharedSql:
    switch = _Switch()
    database = cast(Database, SqliteDatabase("/nowhere"))
    assert database.dialect is shared_dialect()
    writer, reader = cast(GroupCommit, switch), cast(RealReader, _ReadSwitch(switch))
    return _SharedSql(
        switch,
        SqlLedger(database, writer, reader),
        SqlAccounts(database, writer, reader),
        SqlKeys(database, writer, reader),
        SqlRateCards(database, writer),
        SqlRecordings(database, writer, reader),
    )
