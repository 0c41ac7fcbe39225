"""An answer that is repeated from the cache: where it is durable, who keeps it, who may have it."""

from __future__ import annotations

import pytest
from tests.support.cached_answers import again, cached, repeating
from tests.support.samples import a_principal, a_request
from tests.support.streams_house import HI, EventEncoder, StreamsHouse, rest

from bandari.domain.faults import NotCached
from bandari.domain.ledger import Ending
from bandari.domain.recordings import CacheUse, RecordingState
from bandari.service.answer_terms import AnswerTerms
from bandari.service.books import IdempotencyKeyTaken
from bandari.service.durable import Durability
from bandari.service.repeating import Repeated
from bandari.service.settlement import AnswerEnd

# -- where it is durable ---------------------------------------------------------------------------


async def test_it_is_durable_with_its_charge_in_one():
    house = await cached()
    found = await again(house, idempotency_key="k")
    (kept,) = house.books.recordings.kept.values()
    assert (kept.id, kept.state) == (found.recording.id, RecordingState.ENDED)
    assert house.books.recordings.frames(kept.id) == found.recording.bytes_from(0)
    repeated = await house.answered(idempotency_key="k", at=house.another_server())
    assert (repeated.is_replay, await rest(repeated)) == (True, HI.replace(b"12", b"13"))
    assert house.books.writes("charge") == [7]


async def test_one_whose_key_is_taken_elsewhere_is_not_charged():
    house = await cached()
    other = await house.whole(idempotency_key="k", at=house.another_server())
    house.books.log.clear()
    digest = b"d" * 32
    durable = Durability(surface="plain", digest=digest, kept_ms=1_000, idempotency_key="k")
    with pytest.raises(IdempotencyKeyTaken):
        await house.inference.begin(
            a_principal(),
            a_request(),
            lambda _: EventEncoder(),
            terms=AnswerTerms(cache=CacheUse.USE, durable=durable),
        )
    assert (house.books.log, list(house.books.recordings.kept)) == ([], [other.recording.id])


# -- who keeps it ----------------------------------------------------------------------------------


class RecordedKeeper:
    """Remembers what it was told, and how far the answer was then. ``failing`` is a method."""

    def __init__(self, house: StreamsHouse, failing: str = "") -> None:
        self.house = house
        self.failing = failing
        self.told: list[tuple[str, int, bool]] = []
        self.ends: list[AnswerEnd] = []
        self.kept: Repeated | None = None

    async def open(self, generation) -> None:
        self.kept = generation
        self._tell("open")

    async def keep(self, end: AnswerEnd) -> None:
        self.ends.append(end)
        self._tell("keep")

    def _tell(self, method: str) -> None:
        if self.failing == method:
            raise ZeroDivisionError
        charges = len(self.house.books.writes("charge"))
        self.told.append((method, charges, self.kept.recording.ended))


async def repeated_for(house: StreamsHouse, keeper: RecordedKeeper):
    return await house.inference.begin(
        a_principal(),
        a_request(),
        lambda _: EventEncoder(),
        keeper,
        AnswerTerms(cache=CacheUse.USE),
    )


async def test_its_keeper_is_told_before_and_after_the_charge_and_before_its_end_leaves():
    house = await cached()
    keeper = RecordedKeeper(house)
    begun = await repeated_for(house, keeper)
    assert keeper.told == [("open", 0, False), ("keep", 1, False)]
    assert keeper.kept.recording is begun.recording
    (end,) = keeper.ends
    assert (end.ending, end.last_frames, end.problem) == (Ending.COMPLETED, [b"end:13\n\n"], None)


async def test_what_its_keeper_does_not_take_is_not_charged():
    house = await cached()
    with pytest.raises(ZeroDivisionError):
        await repeated_for(house, RecordedKeeper(house, failing="open"))
    assert (house.books.log, house.space.used) == ([], 0)


async def test_one_that_was_charged_is_given_whatever_becomes_of_its_keeping(caplog):
    house = await cached()
    begun = await repeated_for(house, RecordedKeeper(house, failing="keep"))
    assert begun.recording.bytes_from(0).endswith(b"end:13\n\n")
    assert house.books.writes("charge") == [7]
    assert "could not be kept" in caplog.text


# -- which requests --------------------------------------------------------------------------------


async def test_only_is_given_what_is_there_and_nothing_is_made_for_it():
    house = repeating()
    with pytest.raises(NotCached):
        await house.ask(cache=CacheUse.ONLY, idempotency_key="k")
    assert (house.books.log, house.calls, house.inference.open_count) == ([], 0, 0)
    await house.whole(cache=CacheUse.USE)
    found = await house.answered(cache=CacheUse.ONLY, idempotency_key="k")
    assert (found.is_replay, found.recording.about.was_cached) == (False, True)


async def test_what_may_not_be_repeated_is_made():
    house = await cached()
    found = await house.answered(cache=CacheUse.USE, is_background=True)
    assert found.recording.about.was_cached is None
    await rest(found)
    assert house.calls == 2
    with pytest.raises(NotCached):
        await house.ask(cache=CacheUse.ONLY, is_background=True)


@pytest.mark.parametrize("use", [CacheUse.OFF, None])
async def test_who_wants_none_of_it_is_told_nothing_of_it(use):
    house = await cached()
    found = await house.whole(cache=use)
    assert (found.recording.about.was_cached, found.recording.about.age_s) == (None, None)
    assert house.calls == 2


async def test_it_is_given_within_its_account_and_end_user_only():
    house = await cached()
    house.books.credit(2, "TOKEN", 10_000)
    for who in (a_principal(account_id=2, key_id=5), a_principal(end_user="amina")):
        with pytest.raises(NotCached):
            await house.ask(cache=CacheUse.ONLY, principal=who)
    assert (await house.answered(cache=CacheUse.ONLY, principal=a_principal(key_id=4))).recording
