"""The books: holds, charges and receipts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import func, insert, select, update

from bandari.adapters.storage import verify
from bandari.adapters.storage.bounds import (
    check_amount,
    check_count,
    check_end,
    check_frames,
    check_opened,
    check_text,
)
from bandari.adapters.storage.database import Connection, Database, Lock, Outright, Row
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.long_work import run_long
from bandari.adapters.storage.reader import Reader
from bandari.adapters.storage.recorded_entries import RecordedEntries
from bandari.adapters.storage.rows import basis_read, count_row, ratio_read, receipt_read
from bandari.adapters.storage.schema import epochs, holds, rate_cards, receipts, wallets
from bandari.adapters.storage.statements import (
    COUNT,
    RATIO,
    HotStatements,
    compiled,
    constant,
    first,
    given,
    read_receipts,
)
from bandari.domain.estimate import Experience
from bandari.domain.ledger import (
    Charge,
    Count,
    Ending,
    Hold,
    Receipt,
    RunningCount,
    Verification,
)
from bandari.domain.pricing import RateCard
from bandari.domain.recordings import FrameGroup
from bandari.domain.usage import CountRule, Usage
from bandari.service.ports import HoldAlreadyEnded, Placement

LATEST_RECEIPTS = 5_000
"""How many of the last receipts teach a new process about the models' tokenizers."""


class ColdStatements:
    """What the books ask seldom."""

    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        self.insert_epoch = compiled(
            dialect,
            insert(epochs).values(opened_ms=given("opened_ms")).returning(epochs.c.id),
            "opened_ms",
        )
        self.close_epoch = compiled(
            dialect,
            update(epochs)
            .values(closed_ms=given("closed_ms"))
            .where(epochs.c.id == given("id"), epochs.c.closed_ms.is_(None)),
            *("closed_ms", "id"),
        )
        self.dead_holds = compiled(
            dialect,
            first(
                select(
                    holds.c.id,
                    wallets.c.account_id,
                    wallets.c.asset,
                    holds.c.amount,
                    holds.c.epoch,
                    holds.c.key_id,
                    holds.c.model,
                    holds.c.rate_card_id,
                    holds.c.created_ms,
                    holds.c.end_user,
                    *(holds.c[name] for name in COUNT),
                    wallets.c.end_user,
                    *(holds.c[name] for name in RATIO),
                    rate_cards.c.model,
                    rate_cards.c.asset,
                    rate_cards.c.input_per_million,
                    rate_cards.c.cached_input_per_million,
                    rate_cards.c.cache_write_per_million,
                    rate_cards.c.output_per_million,
                    rate_cards.c.per_request,
                    rate_cards.c.version,
                    rate_cards.c.id,
                    rate_cards.c.cache_hit_per_million,
                )
                .select_from(
                    holds.join(epochs, epochs.c.id == holds.c.epoch)
                    .join(wallets, wallets.c.id == holds.c.wallet_id)
                    .join(rate_cards, rate_cards.c.id == holds.c.rate_card_id)
                )
                .where(epochs.c.closed_ms.is_not(None))
                .order_by(holds.c.epoch, holds.c.id),
                given("limit"),
            ),
            "limit",
        )
        self.open_holds = compiled(dialect, select(func.count()).select_from(holds))
        self.latest_receipts = compiled(
            dialect,
            first(
                select(
                    receipts.c.target,
                    *(receipts.c[name] for name in COUNT),
                    receipts.c.ending,
                ).order_by(receipts.c.transaction_id.desc()),
                constant(LATEST_RECEIPTS),
            ),
        )
        self.receipt = compiled(
            dialect,
            read_receipts().add_columns(wallets.c.account_id).where(receipts.c.id == given("id")),
            "id",
        )


class SqlLedger:
    """``service.ports.Ledger`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit, reader: Reader) -> None:
        self._database = database
        self._writer = writer
        self._reader = reader
        self._entries = RecordedEntries(database)
        self._hot = HotStatements(database.dialect)
        self._cold = ColdStatements(database)

    async def open_epoch(self, now_ms: int) -> int:
        return await self._writer.run((), self._open_epoch, now_ms)

    async def close_epoch(self, epoch: int, now_ms: int) -> None:
        await self._writer.run((), self._close_epoch, epoch, now_ms)

    async def dead_holds(self, limit: int) -> Sequence[tuple[Hold, RateCard]]:
        return await self._writer.run((), self._dead_holds, limit)

    async def place(self, hold: Hold) -> Placement:
        _check_hold(hold)
        placement = await self._writer.run_together(_locks(hold), self._enter, hold)
        assert isinstance(placement, Placement), "a hold is answered with its placement"
        return placement

    async def charge(self, hold: Hold, charge: Charge) -> Receipt | Placement:
        _check_hold(hold)
        _check_charge(charge)
        if (hold.id, hold.amount) != (charge.hold_id, charge.amount):
            raise ValueError("what is charged outright is all of its hold, and of the same id")
        # Two locks are taken before anything is looked at: so a charge that is just being committed
        # for the same hold has been, or never will be.
        locks = ((hold.account_id, hold.sub_wallet), hold.id)
        outright = Outright(hold, charge)
        outcome = await self._writer.run_together(locks, self._enter, outright)
        if outcome is None:
            raise HoldAlreadyEnded(hold.id)
        return outcome

    async def extend(self, hold_id: str, amount: int, least: int) -> int:
        check_amount(amount)
        check_text(hold_id)
        return await self._writer.run((hold_id,), self._extend, hold_id, amount, least)

    async def count(self, counts: Sequence[RunningCount]) -> None:
        rows: list[tuple[int | str | None, ...]] = []
        groups: list[FrameGroup] = []
        for count in counts:
            check_count(count.count)
            check_text(count.hold_id)
            rows.append((*count_row(count.count), count.hold_id))
            if count.frames is not None:
                check_frames(count.frames)
                groups.append(count.frames)
        if rows:
            await self._writer.run([count.hold_id for count in counts], self._count, rows, groups)

    async def post(self, charge: Charge) -> Receipt:
        _check_charge(charge)
        receipt = await self._writer.run_together((charge.hold_id,), self._enter, charge)
        if receipt is None:
            raise HoldAlreadyEnded(charge.hold_id)
        assert isinstance(receipt, Receipt), "a charge is answered with its receipt"
        return receipt

    async def void(self, hold_id: str, recording_id: str | None = None) -> None:
        check_text(hold_id, recording_id)
        if not await self._writer.run((hold_id,), self._void, hold_id, recording_id):
            raise HoldAlreadyEnded(hold_id)

    async def experience(self) -> Mapping[str, Experience]:
        return await self._reader.run(self._experience)

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        check_text(receipt_id)
        return await self._reader.run(self._receipt, receipt_id, account_id)

    async def open_holds(self) -> int:
        return await self._reader.run(self._open_holds)

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        return await run_long(
            partial(verify.verify, self._database), on_progress or (lambda _done, _total: None)
        )

    # Operations: each runs inside the writer's transaction, or on a reader's connection.

    def _open_epoch(self, connection: Connection, now_ms: int) -> int:
        (epoch,) = connection.cursor.execute(self._cold.insert_epoch, (now_ms,)).fetchone()
        connection.epoch_opened(epoch, now_ms)
        return int(epoch)

    def _close_epoch(self, connection: Connection, epoch: int, now_ms: int) -> None:
        connection.cursor.execute(self._cold.close_epoch, (now_ms, epoch))
        connection.epoch_closed(epoch)

    def _dead_holds(self, connection: Connection, limit: int) -> Sequence[tuple[Hold, RateCard]]:
        connection.close_dead_epochs()
        rows = connection.cursor.execute(self._cold.dead_holds, (limit,)).fetchall()
        return [_dead_hold(row) for row in rows]

    def _enter(
        self, connection: Connection, batch: Sequence[Charge | Hold | Outright]
    ) -> Sequence[Receipt | Placement | None]:
        """Post and place all of the batch: charges first, because they set money free.

        No order among requests that wait at once can harm one hold. It is charged only after its
        placing is durable, and its extensions are; a running count that comes after the charge
        finds no row. Only a void may be in one batch with the placing that it takes back, of a
        caller that left: it must find the hold, and so it is run after it, as all others are.
        """
        charges = [entry for entry in batch if isinstance(entry, Charge)]
        outright = [entry for entry in batch if isinstance(entry, Outright)]
        holds = [entry for entry in batch if isinstance(entry, Hold)]
        posted, charged, placed = self._entries.write(connection, charges, outright, holds)
        results: dict[type, Iterator[Receipt | Placement | None]] = {
            Charge: iter(posted),
            Outright: iter(charged),
            Hold: iter(placed),
        }
        return [next(results[type(entry)]) for entry in batch]

    def _extend(self, connection: Connection, hold_id: str, amount: int, least: int) -> int:
        execute = connection.cursor.execute
        row = execute(self._hot.free_of_hold, (hold_id,)).fetchone()
        if row is None:
            return 0
        wallet_id, free = row
        granted = min(amount, free)
        if granted < least or granted == 0:
            return 0
        execute(self._hot.enlarge_reserve, (granted, wallet_id))
        execute(self._hot.enlarge_hold, (granted, hold_id))
        return int(granted)

    def _count(
        self,
        connection: Connection,
        rows: Sequence[tuple[int | str | None, ...]],
        groups: Sequence[FrameGroup],
    ) -> None:
        connection.cursor.executemany(self._hot.count, rows)
        if groups:
            self._entries.grow(connection.cursor, groups)

    def _void(self, connection: Connection, hold_id: str, recording_id: str | None) -> bool:
        hold = connection.cursor.execute(self._hot.end_hold, (hold_id,)).fetchone()
        if hold is None:
            return False
        connection.cursor.execute(self._hot.release, (hold[1], hold[0]))
        if recording_id is not None:
            self._entries.delete(connection.cursor, recording_id)
        return True

    def _receipt(
        self, connection: Connection, receipt_id: str, account_id: int | None
    ) -> Receipt | None:
        row = connection.cursor.execute(self._cold.receipt, (receipt_id,)).fetchone()
        if row is None or account_id not in (None, row[-1]):
            return None
        return receipt_read(row)

    def _experience(self, connection: Connection) -> Mapping[str, Experience]:
        known: dict[str, Experience] = {}
        rows = connection.cursor.execute(self._cold.latest_receipts).fetchall()
        for row in reversed(rows):
            target, rule, ending, basis = row[0], row[6], row[12], basis_read(row[7:12])
            if rule == CountRule.REPORTED and ending == Ending.COMPLETED and basis is not None:
                before = known.get(target, Experience())
                known[target] = before.plus(Usage(*row[1:6]), basis)
        return known

    def _open_holds(self, connection: Connection) -> int:
        return int(connection.cursor.execute(self._cold.open_holds).fetchone()[0])


def _check_hold(hold: Hold) -> None:
    check_amount(hold.amount)
    check_text(hold.id, hold.asset, hold.model, hold.end_user, hold.sub_wallet)
    if hold.counted is not None:
        check_count(hold.counted)
    if hold.recording is not None:
        check_opened(hold.recording)


def _check_charge(charge: Charge) -> None:
    check_amount(charge.amount)
    check_count(charge.count)
    check_text(charge.hold_id, charge.target, charge.finish_reason, charge.reasoning_effort)
    check_amount(charge.repeated_tokens)
    if charge.recording is not None:
        check_end(charge.recording)


def _locks(hold: Hold) -> Sequence[Lock]:
    """What its placing changes. A batch of one lock takes none beforehand (``postgresql``), but an
    Idempotency-Key may be waited for only under the wallet's.
    """
    wallet = (hold.account_id, hold.sub_wallet)
    return (wallet,) if hold.recording is None else (wallet, hold.id)


def _count(row: Row) -> Count | None:
    if row[0] is None:
        return None
    # Revision 0001 kept no rule.
    rule = CountRule.COUNTED if row[5] is None else CountRule(row[5])
    return Count(Usage(*row[:5]), rule, basis_read(row[6:]))


def _dead_hold(row: Row) -> tuple[Hold, RateCard]:
    """A hold and its pinned card; the card's ratio is the hold's."""
    ratio = ratio_read(row[22], row[23])
    hold: list[Any] = [*row[:10], _count(row[10:21]), row[21], ratio]
    card: list[Any] = [*row[24:33], ratio, row[33]]
    return Hold(*hold), RateCard(*card)
