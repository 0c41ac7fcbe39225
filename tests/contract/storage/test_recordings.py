"""Durable recordings: they begin, grow and end with their hold, and are read until they expire."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from tests.contract.storage.books import a_count, charge, open_books
from tests.contract.storage.conftest import STORES
from tests.contract.storage.recorded import (
    ALL_BYTES,
    BALANCE,
    NOW,
    PROBLEM,
    Place,
    id_of,
    kept,
    place_in,
    plain,
    repeated,
)
from tests.support.books_in_memory import BooksInMemory

from bandari.adapters.storage import open_store
from bandari.domain.ledger import Receipt, RunningCount
from bandari.domain.pricing import TOKEN, token_card
from bandari.domain.recordings import FrameGroup, RecordingState
from bandari.domain.usage import Usage
from bandari.service.ports import HoldAlreadyEnded, Placement


@pytest.fixture(params=(*STORES, "memory"))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest) -> str | None:
    return None if kind == "memory" else str(request.getfixturevalue("url"))


@pytest.fixture
async def place(database_url: str | None) -> AsyncIterator[Place]:
    if database_url is None:
        yield await _in_memory()
        return
    async with open_store(database_url) as store:
        books = await open_books(store, BALANCE)
        other = await open_books(store, BALANCE, books.epoch)
        yield place_in(books, other.account.id)
        assert (await store.ledger.verify()).is_clean


async def _in_memory() -> Place:
    books = BooksInMemory(replace(token_card("m"), id=1))
    for account_id in (1, 2):
        books.credit(account_id, TOKEN, BALANCE)
    epoch = await books.open_epoch(1)

    async def free() -> int:
        return books.wallet().free

    async def die() -> None:
        books.epoch_died(epoch)

    return Place(books, books.recordings, 1, 2, 1, 1, epoch, free, die)


# -- opened with a hold ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_streaming", [True, False])
async def test_what_was_opened_is_found_as_it_was(place: Place, is_streaming: bool) -> None:
    hold = await place.open(is_streaming=is_streaming, end_user="zoë", idempotency_key="k ~1")

    found = await place.find(hold)

    assert found == kept(hold)
    assert found is not None
    assert type(found.is_streaming) is bool
    assert await place.recordings.find_keyed(place.account_id, "k ~1", NOW) == found


async def test_many_have_no_key(place: Place) -> None:
    first, second = await place.open(), await place.open()

    assert await place.find(first) == kept(first)
    assert await place.find(second) == kept(second)


async def test_a_hold_that_is_refused_leaves_no_recording(place: Place) -> None:
    poor = place.hold(BALANCE + 1, idempotency_key="k")
    assert not (await place.ledger.place(poor)).placed
    nobody = replace(place.hold(idempotency_key="k"), asset="KES")
    assert await place.ledger.place(nobody) == Placement(False, None)

    assert await place.find(poor) is None
    assert await place.find(nobody) is None
    rich = await place.open(idempotency_key="k")
    assert await place.find(rich) == kept(rich)


@pytest.mark.parametrize("amount", [10, BALANCE + 1])
async def test_a_key_is_taken_once_whatever_the_wallet_has(place: Place, amount: int) -> None:
    first = await place.open(idempotency_key="k")
    free = await place.free()

    second = place.hold(amount, idempotency_key="k")
    assert await place.ledger.place(second) == Placement(False, None, is_taken=True)

    assert await place.free() == free
    assert await place.find(first) == kept(first)
    assert await place.find(second) is None
    assert await place.ledger.open_holds() == 1


async def test_a_key_that_has_ended_is_still_taken(place: Place) -> None:
    first = await place.open(idempotency_key="k")
    await place.end(first)

    again = await place.ledger.place(place.hold(idempotency_key="k"))

    assert again == Placement(False, None, is_taken=True)


async def test_a_key_is_its_accounts(place: Place) -> None:
    mine = await place.open(idempotency_key="k")
    theirs = await place.open(idempotency_key="k", account_id=place.other_id)

    assert await place.recordings.find_keyed(place.account_id, "k", NOW) == kept(mine)
    assert await place.recordings.find_keyed(place.other_id, "k", NOW) == kept(theirs)


@pytest.mark.parametrize("ends", [True, False])
async def test_a_key_is_free_once_its_recording_has_expired(place: Place, ends: bool) -> None:
    first = await place.open(idempotency_key="k", expires_ms=NOW)
    await place.grow(first, (0, b"old"))
    if ends:
        await place.end(first, expires_ms=NOW)
    early = place.hold(idempotency_key="k", created_ms=NOW - 1)
    assert (await place.ledger.place(early)).is_taken

    second = await place.open(idempotency_key="k", created_ms=NOW)

    long_ago = 0
    assert await place.find(first, long_ago) is None
    assert await place.recordings.find_keyed(place.account_id, "k", NOW) == kept(second)
    if not ends:
        await place.grow(first, (1, b"late"))
        await place.end(first)
        assert await place.find(first, long_ago) is None


async def test_a_hold_that_is_voided_takes_its_recording_along(place: Place) -> None:
    hold, other = await place.open(idempotency_key="k"), await place.open()
    await place.grow(hold, (0, b"frames"))

    await place.ledger.void(hold.id, id_of(hold))

    assert await place.find(hold) is None
    assert await place.find(other) == kept(other)
    assert (await place.ledger.place(place.hold(idempotency_key="k"))).placed


async def test_a_void_that_comes_late_leaves_the_recording(place: Place) -> None:
    hold = await place.open()
    await place.end(hold)

    with pytest.raises(HoldAlreadyEnded):
        await place.ledger.void(hold.id, id_of(hold))

    assert (await place.find(hold)) is not None


async def test_a_void_without_a_recording(place: Place) -> None:
    hold = await place.open()

    await place.ledger.void(hold.id)

    assert await place.find(hold) == kept(hold)


# -- growing with the counts -----------------------------------------------------------------------


async def test_frames_are_joined_in_the_order_of_their_positions(place: Place) -> None:
    hold, other = await place.open(), await place.open()

    await place.grow(hold, (2, b"c"), (0, ALL_BYTES))
    await place.grow(other, (0, b"other"))
    await place.grow(hold, (10, b"e"), (9, b"d"), (1, b"b"))

    assert await place.frames(hold) == ALL_BYTES + b"bcde"
    assert await place.frames(other) == b"other"


async def test_a_group_that_is_written_again_is_kept_at_its_longest(place: Place) -> None:
    """Where an answer to a write was lost, the same group comes again, and may have grown."""
    hold = await place.open()

    for data in (b"one", b"one two", b"one", b"one tww"):
        await place.grow(hold, (0, data))
    await place.grow(hold, (1, b" three"))

    assert await place.frames(hold) == b"one two three"


async def test_frames_come_with_their_counts(place: Place) -> None:
    hold = await place.open()
    counts = [
        RunningCount(hold.id, a_count(7, 1)),
        RunningCount("rcpt_none", a_count(1, 1), FrameGroup("str_none", 0, b"lost")),
        RunningCount(hold.id, a_count(7, 9), FrameGroup(id_of(hold), 0, b"a")),
    ]

    await place.ledger.count(counts)

    await place.die()
    ((dead, _),) = await place.ledger.dead_holds(10)
    assert dead.counted == a_count(7, 9)
    assert await place.frames(hold) == b"a"
    assert await place.recordings.find(place.account_id, "str_none", NOW) is None


async def test_five_megabytes(place: Place) -> None:
    hold = await place.open()
    pieces = [bytes([number]) * 250_000 for number in range(20)]

    for position, piece in enumerate(pieces):
        await place.grow(hold, (position, piece))
    await place.end(hold, last=FrameGroup(id_of(hold), 20, b"end"))

    assert await place.frames(hold) == b"".join(pieces) + b"end"


# -- ending with the charge ------------------------------------------------------------------------


async def test_it_ends_with_the_charge(place: Place) -> None:
    hold = await place.open(idempotency_key="k")
    await place.grow(hold, (0, b"first "))

    receipt = await place.end(
        hold,
        last=FrameGroup(id_of(hold), 1, b"last"),
        expires_ms=NOW + 7,
        max_tokens=12,
        ignored=("seed", "é"),
        problem=PROBLEM,
    )

    ended = replace(
        kept(hold),
        state=RecordingState.ENDED,
        frames=b"first last",
        expires_ms=NOW + 7,
        max_tokens=12,
        ignored=("seed", "é"),
        problem=PROBLEM,
    )
    assert await place.find(hold) == ended
    assert await place.find(hold, NOW + 7) is None
    assert await place.ledger.receipt(hold.id) == receipt


async def test_it_ends_with_nothing_more_to_say(place: Place) -> None:
    hold = await place.open()
    await place.end(hold)

    ended = replace(kept(hold), state=RecordingState.ENDED, expires_ms=NOW + 100)
    assert await place.find(hold) == ended


async def test_a_group_that_the_charge_brings_again_is_kept_at_its_longest(place: Place) -> None:
    hold = await place.open()
    await place.grow(hold, (0, b"one"))

    await place.end(hold, last=FrameGroup(id_of(hold), 0, b"one two"))

    assert await place.frames(hold) == b"one two"


async def test_nothing_is_added_to_one_that_has_ended(place: Place) -> None:
    hold = await place.open()
    await place.end(hold, last=FrameGroup(id_of(hold), 0, b"whole"))
    ended = await place.find(hold)

    await place.grow(hold, (0, b"whole, and more"), (1, b"late"))
    with pytest.raises(HoldAlreadyEnded):
        await place.end(hold, last=FrameGroup(id_of(hold), 2, b"twice"), problem=PROBLEM)

    assert await place.find(hold) == ended


async def test_a_charge_by_somebody_else_leaves_it_as_it_is(place: Place) -> None:
    hold = await place.open()
    await place.ledger.post(charge(hold.id, 5))

    with pytest.raises(HoldAlreadyEnded):
        await place.end(hold, last=FrameGroup(id_of(hold), 0, b"late"))

    assert await place.find(hold) == kept(hold)


async def test_a_deleted_one_does_not_come_back(place: Place) -> None:
    hold = await place.open(idempotency_key="k")
    await place.grow(hold, (0, b"a"))

    assert await place.recordings.delete(place.account_id, id_of(hold), NOW)

    await place.grow(hold, (1, b"b"))
    receipt = await place.end(hold, last=FrameGroup(id_of(hold), 2, b"c"))
    assert receipt.amount == 5
    assert await place.find(hold) is None
    assert await place.recordings.find_keyed(place.account_id, "k", NOW) is None
    assert (await place.ledger.place(place.hold(idempotency_key="k"))).placed


# -- charged outright ------------------------------------------------------------------------------


async def test_an_outright_charge_never_stands(place: Place) -> None:
    hold = place.hold(30)

    ended = replace(repeated(hold), recording=None)
    receipt = await place.ledger.charge(plain(hold), ended)

    assert isinstance(receipt, Receipt)
    told = (receipt.id, receipt.amount, receipt.overrun, receipt.balance_after, receipt.target)
    assert told == (hold.id, 30, 0, BALANCE - 30, "cache")
    assert (receipt.repeated_tokens, receipt.usage) == (70, Usage(0, 0))
    assert await place.ledger.receipt(hold.id) == receipt
    assert await place.free() == BALANCE - 30
    assert await place.ledger.open_holds() == 0


async def test_an_outright_charge_of_nothing_has_a_receipt(place: Place) -> None:
    hold = place.hold(0)

    receipt = await place.ledger.charge(hold, repeated(hold))

    assert isinstance(receipt, Receipt)
    assert (receipt.amount, receipt.repeated_tokens) == (0, 70)
    assert await place.ledger.receipt(hold.id) == receipt
    assert await place.free() == BALANCE


async def test_an_outright_charge_that_is_refused_leaves_nothing(place: Place) -> None:
    await place.open(BALANCE - 9)
    poor = place.hold(10, idempotency_key="k")
    nobody = replace(place.hold(0, idempotency_key="k"), asset="KES")

    refused = await place.ledger.charge(poor, repeated(poor))
    assert isinstance(refused, Placement)
    assert (refused.placed, refused.is_taken) == (False, False)
    assert refused.wallet is not None
    assert (refused.wallet.balance, refused.wallet.held) == (BALANCE, BALANCE - 9)
    assert await place.ledger.charge(nobody, repeated(nobody)) == Placement(False, None)

    for hold in (poor, nobody):
        assert await place.find(hold) is None
        assert await place.ledger.receipt(hold.id) is None
    assert await place.free() == 9
    assert await place.ledger.open_holds() == 1
    rich = place.hold(9, idempotency_key="k")
    assert isinstance(await place.ledger.charge(rich, repeated(rich)), Receipt)


async def test_an_outright_charge_ends_its_recording_as_it_opens_it(place: Place) -> None:
    hold = place.hold(30, idempotency_key="k")
    last = FrameGroup(id_of(hold), 0, b"whole")

    await place.ledger.charge(hold, repeated(hold, last=last, ignored=("seed",)))

    ended = replace(
        kept(hold),
        state=RecordingState.ENDED,
        frames=b"whole",
        expires_ms=NOW + 100,
        ignored=("seed",),
    )
    assert await place.find(hold) == ended
    taken = place.hold(30, idempotency_key="k")
    assert await place.ledger.charge(taken, repeated(taken)) == Placement(False, None, True)
    assert await place.ledger.receipt(taken.id) is None
    assert await place.free() == BALANCE - 30
    assert await place.find(hold) == ended


@pytest.mark.parametrize("idempotency_key", [None, "k"])
async def test_it_is_charged_once(place: Place, idempotency_key: str | None) -> None:
    """As after an answer of the ledger that was lost."""
    hold = place.hold(30, idempotency_key=idempotency_key)
    await place.ledger.charge(hold, repeated(hold))
    ended = await place.find(hold)
    assert ended is not None

    with pytest.raises(HoldAlreadyEnded):
        await place.ledger.charge(hold, repeated(hold, max_tokens=9))
    with pytest.raises(HoldAlreadyEnded):
        await place.ledger.charge(plain(hold), replace(repeated(hold), recording=None))

    assert await place.find(hold) == ended
    assert await place.free() == BALANCE - 30
    await place.recordings.delete(place.account_id, id_of(hold), NOW)
    with pytest.raises(HoldAlreadyEnded):
        await place.ledger.charge(hold, repeated(hold))
    assert await place.find(hold) is None


# -- read and deleted ------------------------------------------------------------------------------


async def test_another_accounts_is_not_there(place: Place) -> None:
    hold = await place.open(idempotency_key="k")
    await place.grow(hold, (0, b"secret"))

    assert await place.recordings.find(place.other_id, id_of(hold), NOW) is None
    assert await place.recordings.find_keyed(place.other_id, "k", NOW) is None
    assert not await place.recordings.delete(place.other_id, id_of(hold), NOW)
    assert await place.frames(hold) == b"secret"


async def test_one_that_has_expired_is_not_there(place: Place) -> None:
    hold = await place.open(idempotency_key="k", expires_ms=NOW + 1)
    assert await place.find(hold, NOW) is not None

    assert await place.find(hold, NOW + 1) is None
    assert await place.recordings.find_keyed(place.account_id, "k", NOW + 1) is None
    assert not await place.recordings.delete(place.account_id, id_of(hold), NOW + 1)


async def test_what_never_was_is_not_there(place: Place) -> None:
    assert await place.recordings.find(place.account_id, "str_none", NOW) is None
    assert await place.recordings.find_keyed(place.account_id, "none", NOW) is None
    assert not await place.recordings.delete(place.account_id, "str_none", NOW)


async def test_a_deleted_one_is_gone(place: Place) -> None:
    hold, other = await place.open(), await place.open()

    assert await place.recordings.delete(place.account_id, id_of(hold), NOW)

    assert await place.find(hold) is None
    assert not await place.recordings.delete(place.account_id, id_of(hold), NOW)
    assert await place.find(other) == kept(other)


# -- what is left behind ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_dead", [True, False])
async def test_those_that_their_server_did_not_end_end_as_their_holds_did(
    place: Place, is_dead: bool
) -> None:
    """It has died, or was taken for dead for a while."""
    charged, voided, still_open, ended = [await place.open(idempotency_key=k) for k in "abcd"]
    await place.grow(charged, (0, b"durable"))
    await place.end(ended)
    if is_dead:
        await place.die()
    assert await place.recordings.end_dead(10) == 0

    await place.ledger.post(charge(charged.id, 5))
    await place.ledger.void(voided.id)

    assert await place.recordings.end_dead(10) == 2
    assert await place.recordings.end_dead(10) == 0
    interrupted = replace(kept(charged), state=RecordingState.INTERRUPTED, frames=b"durable")
    assert await place.find(charged) == interrupted
    assert await place.find(voided) is None
    assert await place.find(still_open) == kept(still_open)
    found = await place.find(ended)
    assert found is not None
    assert found.state is RecordingState.ENDED

    await place.ledger.void(still_open.id)
    assert await place.recordings.end_dead(10) == 1
    assert await place.find(still_open) is None


async def test_as_many_as_are_asked_for_end_at_once(place: Place) -> None:
    holds = [await place.open() for _ in range(5)]
    for number, hold in enumerate(holds):
        if number % 2:
            await place.ledger.void(hold.id)
        else:
            await place.ledger.post(charge(hold.id, 5))
    await place.die()

    assert [await place.recordings.end_dead(2) for _ in range(4)] == [2, 2, 1, 0]
    states = [found and found.state for found in [await place.find(hold) for hold in holds]]
    assert states == [RecordingState.INTERRUPTED, None] * 2 + [RecordingState.INTERRUPTED]


async def test_what_has_expired_is_deleted_in_batches_oldest_first(place: Place) -> None:
    times = (NOW, NOW - 2, NOW + 1, NOW - 1)
    holds = [await place.open() for _ in times]
    for hold, expires_ms in zip(holds, times, strict=True):
        await place.end(hold, expires_ms=expires_ms, last=FrameGroup(id_of(hold), 0, b"a"))
    first, second, living, third = holds
    long_ago = 0

    assert await place.recordings.delete_expired(NOW, 2) == 2

    assert await place.find(second, long_ago) is None
    assert await place.find(third, long_ago) is None
    assert await place.find(first, long_ago) is not None
    assert await place.recordings.delete_expired(NOW, 2) == 1
    assert await place.recordings.delete_expired(NOW, 2) == 0
    assert await place.frames(living) == b"a"


async def test_one_that_is_running_stays(place: Place) -> None:
    hold = await place.open(expires_ms=NOW)
    await place.die()
    assert await place.recordings.delete_expired(NOW, 10) == 0
    assert await place.find(hold, 0) == kept(hold)

    await place.ledger.post(charge(hold.id, 5))
    assert await place.recordings.end_dead(10) == 1
    assert await place.recordings.delete_expired(NOW, 10) == 1
    assert await place.find(hold, 0) is None
