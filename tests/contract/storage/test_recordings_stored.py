"""Durable recordings in the databases: all or nothing, side by side, and behind an index."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.contract.storage.books import Books, charge, open_books
from tests.contract.storage.changes import refusing
from tests.contract.storage.conftest import Tamper
from tests.contract.storage.recorded import (
    BALANCE,
    NOW,
    Place,
    charge_of,
    id_of,
    kept,
    place_in,
    repeated,
)
from tests.contract.storage.test_crash import wait_for_the_end_of_epoch
from tests.contract.storage.test_together import all_at_once
from tests.support.clock import SetClock

from bandari.adapters.storage import Store, backup, open_store
from bandari.adapters.storage.database import Connection, Verdict
from bandari.domain.faults import OwnFault
from bandari.domain.ledger import Receipt
from bandari.domain.recordings import FrameGroup, RecordingState
from bandari.domain.reports import Selection
from bandari.domain.usage import Usage
from bandari.service.ports import HoldAlreadyEnded, Placement
from bandari.service.upkeep import end_dead_recordings, settle_dead_holds

ALL = Selection()
_ROOT = Path(__file__).parents[3]
_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.postgresql)


@pytest.fixture
def place(books: Books) -> Place:
    return place_in(books)


async def count(store: Store, table: str) -> int:
    def read(connection: Connection) -> int:
        (rows,) = connection.cursor.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(rows)

    return await store.reader.run(read)


# -- what no database can keep ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        *(({name: "a\0"}, "NUL") for name in ("id", "surface", "end_user", "idempotency_key")),
        ({"idempotency_key": "k" * 256}, "1 to 255"),
        ({"idempotency_key": ""}, "1 to 255"),
    ],
)
async def test_what_cannot_be_opened_is_refused(
    place: Place, fields: dict[str, str], said: str
) -> None:
    hold = place.hold(**fields)
    with pytest.raises(ValueError, match=said):
        await place.ledger.place(hold)
    with pytest.raises(ValueError, match=said):
        await place.ledger.charge(hold, repeated(hold))


async def test_the_longest_key(place: Place) -> None:
    hold = await place.open(idempotency_key="k" * 255)
    assert await place.recordings.find_keyed(place.account_id, "k" * 255, NOW) == kept(hold)


async def test_what_cannot_be_said_of_an_end_is_refused(place: Place) -> None:
    hold = await place.open()
    for fields, said in (
        ({"ignored": ("a\0",)}, "NUL"),
        ({"max_tokens": 2**53}, "2\\^53"),
        ({"last": FrameGroup("a\0", 0, b"")}, "NUL"),
        ({"last": FrameGroup(id_of(hold), -1, b"")}, "from 0"),
    ):
        with pytest.raises(ValueError, match=said):
            await place.end(hold, **fields)
    with pytest.raises(ValueError, match="from 0"):
        await place.grow(hold, (-1, b""))
    assert await place.find(hold) == kept(hold)


async def test_an_outright_charge_is_of_its_hold(place: Place) -> None:
    hold = place.hold(10)
    for other in (charge(hold.id, 11), charge("rcpt_other", 10)):
        with pytest.raises(ValueError, match="outright"):
            await place.ledger.charge(hold, other)
    with pytest.raises(ValueError, match="from 0"):
        await place.ledger.charge(hold, replace(repeated(hold), repeated_tokens=-1))


# -- all or nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["holds", "recordings", "wallets"])
async def test_neither_hold_nor_recording_is_there_without_the_other(
    place: Place, books: Books, kind: str, tamper: Tamper, table: str
) -> None:
    tamper(*refusing(kind, table, "UPDATE" if table == "wallets" else "INSERT"))
    hold = place.hold(idempotency_key="k")

    with pytest.raises(OwnFault):
        await place.ledger.place(hold)

    assert await place.find(hold) is None
    assert await books.amounts() == (BALANCE, 0)
    assert await place.ledger.open_holds() == 0


@pytest.mark.parametrize(
    ("table", "event"),
    [("recordings", "UPDATE"), ("recording_frames", "INSERT"), ("receipts", "INSERT")],
)
async def test_a_charge_that_fails_ends_neither(
    place: Place, books: Books, kind: str, tamper: Tamper, table: str, event: str
) -> None:
    hold, outright = await place.open(), place.hold(idempotency_key="k")
    await place.grow(hold, (0, b"a"))
    tamper(*refusing(kind, table, event))
    last = FrameGroup(id_of(hold), 1, b"b")

    with pytest.raises(OwnFault):
        await place.end(hold, last=last)
    with pytest.raises(OwnFault):
        await place.ledger.charge(
            outright, repeated(outright, last=FrameGroup(id_of(outright), 0, b"b"))
        )

    assert await place.find(hold) == kept(hold, frames=b"a")
    assert await place.find(outright) is None
    assert await books.amounts() == (BALANCE, 10)
    assert await place.ledger.open_holds() == 1
    for one in (hold, outright):
        assert await place.ledger.receipt(one.id) is None


async def test_frames_are_not_kept_without_their_count(
    place: Place, kind: str, tamper: Tamper
) -> None:
    hold = await place.open()
    tamper(*refusing(kind, "holds", "UPDATE"))

    with pytest.raises(OwnFault):
        await place.grow(hold, (0, b"a"))

    assert await place.find(hold) == kept(hold)


async def test_an_outright_charge_by_a_card_that_is_not_there(place: Place, books: Books) -> None:
    hold = replace(place.hold(), rate_card_id=10**6)

    with pytest.raises(OwnFault):
        await place.ledger.charge(hold, repeated(hold))

    assert await place.find(hold) is None
    assert await books.amounts() == (BALANCE, 0)


async def test_frames_go_with_their_recording(place: Place, books: Books) -> None:
    holds = [await place.open() for _ in range(4)]
    expired = await place.open(expires_ms=NOW, idempotency_key="k")
    for hold in (*holds, expired):
        await place.grow(hold, (0, b"a"), (1, b"b"))
    deleted, voided, charged, dead = holds
    assert await count(books.store, "recording_frames") == 10

    await place.open(created_ms=NOW, idempotency_key="k")
    assert await count(books.store, "recording_frames") == 8
    await place.recordings.delete(place.account_id, id_of(deleted), NOW)
    await place.ledger.void(voided.id, id_of(voided))
    assert await count(books.store, "recording_frames") == 4
    await place.end(charged, expires_ms=NOW)
    assert await place.recordings.delete_expired(NOW, 10) == 1
    await place.ledger.void(dead.id)
    await place.die()
    assert await place.recordings.end_dead(10) == 1
    assert await count(books.store, "recording_frames") == 0


async def test_an_outright_charge_of_nothing_has_no_postings(place: Place, books: Books) -> None:
    before = await count(books.store, "postings")
    hold = place.hold(0)

    await place.ledger.charge(hold, repeated(hold))

    assert await count(books.store, "postings") == before
    assert await count(books.store, "receipts") == 1
    assert (await place.ledger.verify()).is_clean


# -- in one batch ----------------------------------------------------------------------------------


async def test_of_those_that_come_at_once_the_first_has_the_key(place: Place, books: Books) -> None:
    holds = [place.hold(idempotency_key="k") for _ in range(3)]
    other = place.hold(idempotency_key="another")

    outcomes: list[Placement] = await all_at_once(
        books.store,
        [lambda hold=hold: place.ledger.place(hold) for hold in (*holds, other)],
    )

    assert [one.placed for one in outcomes] == [True, False, False, True]
    assert [one.is_taken for one in outcomes] == [False, True, True, False]
    assert await books.amounts() == (BALANCE, 20)
    assert await place.find(holds[0]) == kept(holds[0])


async def test_where_the_first_cannot_pay_the_next_has_the_key(place: Place, books: Books) -> None:
    outright = place.hold(BALANCE + 1, idempotency_key="k")
    holds = [place.hold(amount, idempotency_key="k") for amount in (BALANCE + 1, 10, 10)]

    outcomes: list[Placement] = await all_at_once(
        books.store,
        [
            *(lambda hold=hold: place.ledger.place(hold) for hold in holds),
            lambda: place.ledger.charge(outright, repeated(outright)),
        ],
    )

    told = [(one.placed, one.is_taken) for one in outcomes]
    assert told == [(False, False), (True, False), (False, True), (False, False)]
    assert await count(books.store, "recordings") == 1
    assert await place.find(holds[1]) == kept(holds[1])


async def test_what_is_charged_outright_shares_a_batch(place: Place, books: Books) -> None:
    """More than one statement has room for; a wallet that runs dry in between."""
    running = await place.open(100)
    outright = [replace(place.hold(25), recording=None) for _ in range(40)]
    twice = outright[0]
    ended = [replace(repeated(place.hold()), hold_id=one.id, amount=25) for one in outright]
    charges = [
        lambda hold=hold, end=end: place.ledger.charge(hold, replace(end, recording=None))
        for hold, end in zip((*outright, twice), (*ended, ended[0]), strict=True)
    ]
    posted, *outcomes = await all_at_once(
        books.store, [lambda: place.ledger.post(charge_of(running, 0)), *charges]
    )

    assert posted.amount == 0
    assert isinstance(outcomes.pop(), HoldAlreadyEnded)
    assert [one.balance_after for one in outcomes] == [
        BALANCE - 25 * number for number in range(1, 41)
    ]
    for receipt in outcomes:
        assert await place.ledger.receipt(receipt.id) == receipt
    assert await books.amounts() == (0, 0)
    more = replace(place.hold(25), recording=None)
    assert not isinstance(
        await place.ledger.charge(more, replace(repeated(place.hold(25)), hold_id=more.id)), Receipt
    )
    assert (await place.ledger.verify()).is_clean


# -- side by side ----------------------------------------------------------------------------------


async def test_of_two_servers_exactly_one_has_a_key(store: Store, other_store: Store) -> None:
    books = await open_books(store)
    await books.credit(BALANCE, end_user="otieno")
    place = place_in(books)
    for number in range(50):
        key = f"key {number}"
        mine, theirs = (place.hold(1, idempotency_key=key) for _ in range(2))
        if number % 2:  # under different locks
            theirs = replace(theirs, sub_wallet="otieno")
        both = await asyncio.gather(store.ledger.place(mine), other_store.ledger.place(theirs))

        assert sorted((one.placed, one.is_taken) for one in both) == [(False, True), (True, False)]
        winner = (mine, theirs)[both[1].placed]
        assert await place.recordings.find_keyed(place.account_id, key, NOW) == kept(winner)
    assert await store.ledger.open_holds() == 50


async def test_what_is_charged_outright_twice_at_once_is_charged_once(
    store: Store, other_store: Store
) -> None:
    """As where the connection was lost, and the commit that was under way is not over yet."""
    books = await open_books(store)
    place = place_in(books)
    for number in range(30):
        hold = place.hold(1, idempotency_key=f"key {number}" if number % 2 else None)
        if number % 3 == 0:
            hold = replace(hold, recording=None)
        end = replace(charge(hold.id, 1), repeated_tokens=70)
        both = await asyncio.gather(
            *(one.ledger.charge(hold, end) for one in (store, other_store)), return_exceptions=True
        )
        assert {type(one) for one in both} == {Receipt, HoldAlreadyEnded}
    assert await books.amounts() == (BALANCE - 30, 0)


@pytest.mark.parametrize(("sub_wallet", "at_once"), [("otieno", 20), ("", 1)])
async def test_two_servers_claim_the_same_keys_in_any_order(
    store: Store,
    other_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    sub_wallet: str,
    at_once: int,
) -> None:
    """Each waits for what the other claims, and neither for a circle to be broken: batches under
    different wallets, and single ones under the wallet that the other's batch has locked.
    """
    books = await open_books(store)
    await books.credit(BALANCE, end_user="otieno")
    place = place_in(books)
    in_the_way: list[object] = []
    for one in (store, other_store):
        database = one.writer._database
        judge = database.judge

        def noted(error: Exception, judge: Callable[..., Verdict] = judge) -> Verdict:
            in_the_way.append(error)
            return judge(error)

        monkeypatch.setattr(database, "judge", noted)

    def claims(of: Store, keys: list[str], sub_wallet: str) -> list[Callable[[], Any]]:
        holds = [place.hold(1, idempotency_key=key) for key in keys]
        return [
            lambda hold=hold: of.ledger.place(replace(hold, sub_wallet=sub_wallet))
            for hold in holds
        ]

    for round_ in range(15):
        keys = [f"key {round_}/{number}" for number in range(20)]
        mine, theirs = await asyncio.gather(
            all_at_once(store, claims(store, keys, "")),
            one_after_another(other_store, claims(other_store, keys[::-1], sub_wallet), at_once),
        )
        for ours, others in zip(mine, reversed(theirs), strict=True):
            assert sorted((one.placed, one.is_taken) for one in (ours, others)) == [
                (False, True),
                (True, False),
            ]
    assert in_the_way == []


async def one_after_another(
    store: Store, writes: list[Callable[[], Any]], at_once: int
) -> list[Placement]:
    """In batches of as many."""
    placements: list[Placement] = []
    for start in range(0, len(writes), at_once):
        some = writes[start : start + at_once]
        placements += await all_at_once(store, some) if at_once > 1 else [await some[0]()]
    return placements


@pytest.mark.parametrize("kind", [_POSTGRESQL])
async def test_who_grows_what_is_being_deleted_finds_nothing(
    place: Place, books: Books, other_store: Store
) -> None:
    hold = await place.open()
    deleted, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def delete(connection: Connection) -> None:
        connection.cursor.execute(f"DELETE FROM recordings WHERE id = '{id_of(hold)}'")
        loop.call_soon_threadsafe(deleted.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()

    deleting = other_store.writer.run((), delete)
    await deleted.wait()
    growing = asyncio.create_task(place.grow(hold, (0, b"late")))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"

    def waits(connection: Connection) -> bool:
        return bool(connection.cursor.execute(waiting).fetchone()[0])

    while not await books.store.reader.run(waits):  # noqa: ASYNC110 - only PostgreSQL knows
        await asyncio.sleep(0.01)
    go_on.set()
    await deleting
    await growing

    assert await place.find(hold) is None
    assert await count(books.store, "recording_frames") == 0
    assert (await place.end(hold)).amount == 5


# Answers as fast as it can, and says what it was told is durable. Until it is killed.
_SERVER = """
import asyncio, sys
from bandari.adapters.storage import open_store
from bandari.domain.recordings import FrameGroup
from tests.contract.storage.books import open_books
from tests.contract.storage.recorded import id_of, place_in

async def main():
    store = open_store(sys.argv[1])
    place = place_in(await open_books(store, balance=10**9))

    async def serve(number):
        for turn in range(10**9):
            hold = await place.open(idempotency_key=f"{number}/{turn}")
            await place.grow(hold, (0, b"a"))
            await place.grow(hold, (1, b"b"))
            await place.end(hold, last=FrameGroup(id_of(hold), 2, b"c"))
            print(id_of(hold), flush=True)

    await asyncio.gather(*(serve(number) for number in range(16)))

asyncio.run(main())
"""


def record_until_killed(url: str, enough: int) -> list[str]:
    """Run a server until it has acknowledged ``enough`` recordings; all that it acknowledged."""
    with subprocess.Popen(
        [sys.executable, "-c", _SERVER, url], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        acknowledged = [server.stdout.readline().strip() for _ in range(enough)]
        server.kill()
        return [*acknowledged, *map(str.strip, server.stdout.readlines())]


async def test_a_killed_server_leaves_what_was_charged(kind: str, url: str) -> None:
    acknowledged = record_until_killed(url, 200)
    if kind == "postgresql":
        wait_for_the_end_of_epoch(url, 1)

    async with open_store(url) as store:
        await store.ledger.open_epoch(99)
        for recording_id in acknowledged:
            found = await store.recordings.find(1, recording_id, NOW)
            assert found is not None
            assert (found.state, found.frames) == (RecordingState.ENDED, b"abc")

        for table, state in (("holds", "running"), ("receipts", "ended")):
            assert await count(store, f"recordings WHERE state = '{state}'") == await count(
                store, f"recordings r JOIN {table} t ON t.id = r.receipt_id WHERE state = '{state}'"
            )
        assert await count(store, "holds") == await count(store, "recordings WHERE state='running'")
        await settle_dead_holds(store.ledger, SetClock())
        await end_dead_recordings(store.recordings)
        assert await count(store, "recordings WHERE state = 'running'") == 0
        assert await count(store, "recordings") == await count(store, "receipts")
        assert (await store.ledger.verify()).is_clean


# -- copied, and found quickly ---------------------------------------------------------------------


async def test_a_backup_has_those_of_its_moment(
    books: Books, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "PAGE_KEPT", 2)
    place = place_in(books)
    holds = [await place.open(idempotency_key=f"k{number}") for number in range(5)]
    for hold in holds[1:]:
        await place.grow(hold, (1, b"b"), (0, b"a"))
    await place.end(holds[1], ignored=("seed",))
    before = [await place.find(hold) for hold in holds]
    loop = asyncio.get_running_loop()
    insert = backup._Target.insert

    def insert_and_write(target: Any, table: Any, rows: Any) -> int:
        """What comes while the copy is made may be more than it could ever follow."""
        if table.name == "recordings":
            asyncio.run_coroutine_threadsafe(place.open(), loop).result()
        return insert(target, table, rows)

    monkeypatch.setattr(backup._Target, "insert", insert_and_write)
    file = tmp_path / "copy.db"
    await books.store.back_up(file, lambda _done, _total: None)

    async with open_store(f"sqlite:///{file}") as copied:
        place.recordings = copied.recordings
        assert [await place.find(hold) for hold in holds] == before
        assert await count(copied, "recordings") == 5


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_all_that_is_looked_for_is_found_by_an_index(store: Store) -> None:
    sql, writing = store.recordings._sql, store.ledger._entries._sql

    def plan(connection: Any, statement: str) -> str:
        marks = (1,) * statement.count("?")
        rows = connection.cursor.execute(f"EXPLAIN QUERY PLAN {statement}", marks)
        return " ".join(row[3] for row in rows.fetchall())

    ask = store.writer.run
    for statement in (sql.interrupt_dead, sql.delete_dead):
        assert "ix_recordings_epoch" in await ask((), plan, statement)
    assert "ix_recordings_expires_ms" in await ask((), plan, sql.delete_expired)
    assert "idempotency_key" in await ask((), plan, sql.find_keyed)
    assert "idempotency_key" in await ask((), plan, writing.delete_former)
    for statement in (sql.find, sql.find_keyed, sql.delete, writing.grow, writing.end):
        assert "SCAN recording" not in await ask((), plan, statement)


async def test_a_dead_hold_has_the_price_of_what_is_repeated(store: Store) -> None:
    books = await open_books(store)
    card = replace(books.card, cache_hit_per_million=7)
    (books.card,) = await store.rate_cards.pin([card])
    assert books.card.version == 2
    place = place_in(books)
    hold = await place.open()
    await place.die()

    ((dead, pinned),) = await store.ledger.dead_holds(10)
    assert (dead.id, pinned) == (hold.id, books.card)


async def test_usage_counts_what_was_repeated_as_a_request_without_tokens(
    place: Place, books: Books
) -> None:
    hold = place.hold(30)
    await place.ledger.charge(hold, repeated(hold))
    reports = books.store.reports
    for _ in range(2):  # from the receipts, and added up
        (row,) = await reports.usage(ALL, (), 10)
        assert (row.requests, row.usage, row.amount) == (1, Usage(0, 0), 30)
        await reports.roll_up(10)
    ((_, receipt),) = await reports.receipts(ALL, 0, 10)
    assert receipt.repeated_tokens == 70
