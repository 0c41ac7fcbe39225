"""Houses whose answers are repeated from the cache, and clients that ask the same at once."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from tests.support.gates import Gate, until_idle
from tests.support.samples import TOKENS, a_model
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, counted, text
from tests.support.streams_house import StreamsHouse

from bandari.domain.ledger import Receipt
from bandari.domain.pricing import RateCard
from bandari.domain.recordings import CacheUse
from bandari.service.streams import Answered

CARD = replace(TOKENS, id=9, cache_hit_per_million=500_000)
"""Half a unit for every token that is repeated."""

THERE = b"text:Hi\n\ntext:there\n\nfinish:0:stop\n\nend:12\n\n"
"""The answer of ``waiting``."""


def repeating(*scripts: Script, card: RateCard = CARD, **options: Any) -> StreamsHouse:
    """A house that charges for what it repeats."""
    options = {"model": a_model(rate_cards=(card,))} | options
    house = StreamsHouse(**{"upstreams": ScriptedUpstream(*scripts)} | options)
    house.books.cards[card.id] = card
    return house


async def cached(**options: Any) -> StreamsHouse:
    """A house that has answered already, and keeps it. Nothing is in its log."""
    house = repeating(Script(*answer("Hi", prompt=10, output=3)), **options)
    await house.whole(cache=CacheUse.USE)
    await until_idle()
    assert house.cache.count == 1
    house.books.log.clear()
    house.metrics.told.clear()
    return house


async def again(house: StreamsHouse, **said: Any) -> Answered:
    """The answer that it keeps, if it still does."""
    return await house.answered(cache=CacheUse.USE, **said)


def waiting(gate: Gate, **options: Any) -> StreamsHouse:
    """The first answer waits in its middle; those that follow do not."""
    first = Script(text("Hi"), counted(3, prompt=9), gate, *answer("there"))
    return repeating(first, Script(*answer("Hi")), **options)


class Client:
    """One that asks, and reads what it is given."""

    def __init__(self, house: StreamsHouse, found: Answered) -> None:
        self.house = house
        self.recording = found.recording
        self._reader = found.recording.reader()

    async def read(self) -> bytes:
        data = b""
        while piece := await self._reader.read():
            data += piece
        self._reader.close()
        return data

    def leave(self) -> None:
        self._reader.close()

    @property
    def receipt(self) -> Receipt | None:
        return self.house.books.receipts.get(self.recording.about.receipt_id or "")


async def client(house: StreamsHouse, cache: CacheUse = CacheUse.USE, **said: Any) -> Client:
    """A client that has asked, and reads."""
    asking = Client(house, await house.answered(cache=cache, **said))
    await until_idle()
    return asking
