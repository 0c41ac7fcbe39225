"""A ledger whose holds have recordings, and what reads them, for tests."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict, replace
from tests.contract.storage.books import Books, a_count, charge

from bandari.domain.ledger import Charge, Count, Hold, Receipt, RunningCount
from bandari.domain.pricing import TOKEN
from bandari.domain.problem import Blame, Problem
from bandari.domain.recordings import (
    FrameGroup,
    OpenedRecording,
    RecordingEnd,
    RecordingState,
    StoredRecording,
)
from bandari.domain.usage import CountRule, Usage
from bandari.service.ports import KeptRecordings, Ledger

NOW = 1_000
BALANCE = 1_000
ALL_BYTES = bytes(range(256))
NOTHING = Count(Usage(0, 0), CountRule.REPORTED)
PROBLEM = Problem(
    502, "upstream_failed", "nini? 🚢", Blame.UPSTREAM, param="é", retry=True, retry_after_ms=5
)
_names = itertools.count(1)


@dataclass
class Place:
    """Recordings and the ledger that opens them, two accounts, and a server that can die."""

    ledger: Ledger
    recordings: KeptRecordings
    account_id: int
    other_id: int
    key_id: int
    card_id: int
    epoch: int
    free: Callable[[], Awaitable[int]]
    die: Callable[[], Awaitable[None]]

    def hold(self, amount: int = 10, of: str | None = None, **fields: Any) -> Hold:
        """With a recording, whose fields these are; ``of`` is the hold's id."""
        number = next(_names)
        recording = OpenedRecording(
            **{
                "id": f"str_{number:06}",
                "account_id": self.account_id,
                "surface": "chat_completions",
                "is_streaming": True,
                "created_ms": NOW - 10,
                "expires_ms": NOW + 5_000,
                "digest": ALL_BYTES[:32],
                **fields,
            }
        )
        return Hold(
            id=of or f"rcpt_{number:06}",
            account_id=recording.account_id,
            asset=TOKEN,
            amount=amount,
            epoch=self.epoch,
            key_id=self.key_id,
            model="m",
            rate_card_id=self.card_id,
            created_ms=10,
            recording=recording,
        )

    async def open(self, amount: int = 10, **fields: Any) -> Hold:
        hold = self.hold(amount, **fields)
        assert (await self.ledger.place(hold)).placed
        return hold

    async def grow(self, hold: Hold, *groups: tuple[int, bytes]) -> None:
        counts = [
            RunningCount(hold.id, a_count(5, 5), FrameGroup(id_of(hold), *group))
            for group in groups
        ]
        await self.ledger.count(counts)

    async def end(self, hold: Hold, *, amount: int = 5, **fields: Any) -> Receipt:
        return await self.ledger.post(charge_of(hold, amount, **fields))

    async def find(self, hold: Hold, now_ms: int = NOW) -> StoredRecording | None:
        return await self.recordings.find(hold.account_id, id_of(hold), now_ms)

    async def frames(self, hold: Hold) -> bytes:
        found = await self.find(hold)
        assert found is not None
        return found.frames


def id_of(hold: Hold) -> str:
    assert hold.recording is not None
    return hold.recording.id


def charge_of(hold: Hold, amount: int = 5, **fields: Any) -> Charge:
    values: dict[str, Any] = {"last": FrameGroup(id_of(hold), 0, b""), "expires_ms": NOW + 100}
    return charge(hold.id, amount, recording=RecordingEnd(**{**values, **fields}))


def repeated(hold: Hold, **fields: Any) -> Charge:
    """An answer from the cache."""
    ended = charge_of(hold, hold.amount, **fields)
    return replace(ended, count=NOTHING, target="cache", repeated_tokens=70)


def kept(hold: Hold, **fields: Any) -> StoredRecording:
    """What is there of a recording that was opened with the hold."""
    values: dict[str, Any] = {
        "receipt_id": hold.id,
        "epoch": hold.epoch,
        "state": RecordingState.RUNNING,
        "frames": b"",
    }
    assert hold.recording is not None
    return StoredRecording(**asdict(hold.recording), **{**values, **fields})


def place_in(books: Books, other_id: int = 0) -> Place:
    """With a customer of a store."""

    async def free() -> int:
        return (await books.wallet()).free

    async def die() -> None:
        await books.store.ledger.close_epoch(books.epoch, 9)

    return Place(
        *(books.store.ledger, books.store.recordings, books.account.id, other_id, books.key.id),
        *(books.card.id, books.epoch, free, die),
    )


def plain(hold: Hold) -> Hold:
    return replace(hold, recording=None)
