"""Defects that are put in on purpose, each of which a few worlds must find.

A test that cannot fail is a defect; so is a simulation that finds nothing.
"""

from __future__ import annotations

from contextlib import suppress

from msgspec.structs import replace
from tests.simulation.trace import Violation
from tests.simulation.world import run

from bandari.adapters.storage.gathered import GatheredEntries
from bandari.adapters.storage.ledger import SqlLedger
from bandari.domain.ledger import Ending
from bandari.domain.pricing import FULL_PRICE, PriceRatio
from bandari.service import upkeep
from bandari.service.books import Books
from bandari.service.ports import HoldAlreadyEnded
from bandari.service.reservation import Reservation
from bandari.service.settlement import Settlement

REQUESTS = 400
SEEDS = range(1, 21)


def is_found() -> bool:
    for number, seed in enumerate(SEEDS):
        try:
            run(seed, REQUESTS)
        except Violation as violation:
            last = str(violation).splitlines()[-1]
            print(f"found within {(number + 1) * REQUESTS} requests: {last[:300]}")
            return True
    return False


def test_without_a_mutant_nothing_is_found():
    run(SEEDS[0], REQUESTS)


def test_a_hold_that_is_posted_twice(monkeypatch):
    """The guard is that ending a hold deletes it."""
    original = GatheredEntries.write

    def write(self, connection, charges, outright, holds):
        rows = [
            row
            for charge in charges
            for row in connection.cursor.execute(
                "SELECT id, wallet_id, amount, epoch, key_id, rate_card_id, model, created_ms"
                " FROM holds WHERE id = ?",
                (charge.hold_id,),
            ).fetchall()
        ]
        answers = original(self, connection, charges, outright, holds)
        connection.cursor.executemany(
            "INSERT INTO holds (id, wallet_id, amount, epoch, key_id, rate_card_id, model,"
            " created_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
        return answers

    monkeypatch.setattr(GatheredEntries, "write", write)
    assert is_found()


def test_a_charge_that_is_acknowledged_before_it_is_durable(monkeypatch):
    original = Settlement.settle

    async def settle(self, ending, fault):
        if fault is None:
            said = self._transcript
            said.recording.append(said.encoder.close(said.count(ending).usage, said.cut))
        await original(self, ending, fault)

    monkeypatch.setattr(Settlement, "settle", settle)
    assert is_found()


def test_holds_of_unknown_outcome_that_nobody_ends(monkeypatch):
    async def end_strays(self):
        self._strays.clear()

    monkeypatch.setattr(Books, "end_strays", end_strays)
    assert is_found()


def test_late_settlements_that_charge_what_was_not_streamed(monkeypatch):
    async def settle_late(self):
        with suppress(HoldAlreadyEnded):
            has_output = self._transcript.meter.has_output
            await self._end_hold(Ending.SERVER_STOPPED, (), None, is_free=not has_output)
        self.is_settled = True

    monkeypatch.setattr(Settlement, "settle_late", settle_late)
    assert is_found()


def test_streams_that_are_free_when_they_are_cut(monkeypatch):
    monkeypatch.setattr(Settlement, "_is_free", lambda self, ending: True)
    assert is_found()


def test_counts_that_bring_a_hold_back(monkeypatch):
    """A count that comes after the end is ignored because there is no row to update."""

    def count(self, connection, rows, groups):
        for row in rows:
            connection.cursor.execute(
                "INSERT OR IGNORE INTO holds (id, wallet_id, amount, epoch, key_id, rate_card_id,"
                " model, created_ms) SELECT id, wallet_id, 0, 1, key_id, rate_card_id, model,"
                " created_ms FROM receipts WHERE id = ?",
                (row[-1],),
            )
        connection.cursor.executemany(self._hot.count, rows)

    monkeypatch.setattr(SqlLedger, "_count", count)
    assert is_found()


def test_dead_holds_that_are_left_alone(monkeypatch):
    async def nothing(ledger, clock):
        return 0

    monkeypatch.setattr(upkeep, "settle_dead_holds", nothing)
    assert is_found()


def test_dead_holds_that_forget_their_price_ratio(monkeypatch):
    original = SqlLedger._dead_holds

    def dead_holds(self, connection, limit):
        dead = original(self, connection, limit)
        return [(hold, replace(card, ratio=FULL_PRICE)) for hold, card in dead]

    monkeypatch.setattr(SqlLedger, "_dead_holds", dead_holds)
    assert is_found()


def test_holds_of_end_users_that_are_taken_from_the_account(monkeypatch):
    original = GatheredEntries.write

    def write(self, connection, charges, outright, holds):
        own = [replace(hold, sub_wallet="") for hold in holds]
        return original(self, connection, charges, outright, own)

    monkeypatch.setattr(GatheredEntries, "write", write)
    assert is_found()


def test_a_ratio_that_is_asked_for_again_at_the_end(monkeypatch):
    """The group may have other terms by then."""
    original = Reservation.post

    async def post(self, *arguments, **named):
        self.card = replace(self.card, ratio=PriceRatio(5, 2))
        return await original(self, *arguments, **named)

    monkeypatch.setattr(Reservation, "post", post)
    assert is_found()
