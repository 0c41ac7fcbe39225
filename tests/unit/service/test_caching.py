from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.clock import START_MS, SetClock
from tests.support.gates import until_idle

from bandari.domain.events import Event, TextDelta, UsageReported
from bandari.domain.usage import Usage
from bandari.service.cached_answers import ENTRY_BYTES, SEGMENT_BYTES, AnswerWriter
from bandari.service.caching import (
    ALONE_MS,
    FORGET_AT_ONCE,
    MAX_ALONE,
    Cache,
    CachedAnswer,
    Flight,
)

USAGE = Usage(10, 2)
HELLO: Sequence[Event] = (TextDelta(0, "Hello"),)
ROOM = 10**6


def key(name: str) -> bytes:
    return name.encode().ljust(32, b".")


class House:
    """A cache, and the short ways to it."""

    def __init__(self, max_bytes: int = ROOM, max_answer_bytes: int = ROOM) -> None:
        self.clock = SetClock()
        self.cache = Cache(self.clock, max_bytes=max_bytes, max_answer_bytes=max_answer_bytes)

    def take_off(
        self, name: str = "a", *, account: int = 1, ttl_ms: int = 1000, recording: str | None = None
    ) -> Flight:
        return self.cache.take_off(
            key(name),
            account_id=account,
            ttl_ms=ttl_ms,
            recording_id=f"str_{name}" if recording is None else recording,
        )

    def keep(self, name: str = "a", text: str = "Hello", **other: object) -> None:
        flight = self.take_off(name, **other)  # type: ignore[arg-type]
        flight.observe((TextDelta(0, text),))
        flight.land(USAGE, "acme:acme-1", ())

    def text(self, name: str = "a") -> str | None:
        answer = self.cache.find(key(name))
        return None if answer is None else text_of(answer)


def text_of(answer: CachedAnswer) -> str:
    return "".join(
        event.text for batch in answer.events() for event in batch if isinstance(event, TextDelta)
    )


# -- keeping and finding ---------------------------------------------------------------------------


async def test_an_answer_that_has_landed_is_found_with_all_that_is_to_know_of_it():
    house = House()
    assert house.cache.find(key("a")) is None
    flight = house.take_off(account=7, ttl_ms=5000, recording="str_9")
    flight.observe((TextDelta(0, "Hel"), TextDelta(0, "lo")))
    flight.observe((UsageReported(Usage(1, 1)),))
    flight.observe((TextDelta(1, "Jambo"),))
    assert house.cache.find(key("a")) is None  # not before its end
    flight.land(USAGE, "acme:acme-1", ("store", "user"))
    answer = house.cache.find(key("a"))
    assert answer is not None
    assert answer.events() == [
        [TextDelta(0, "Hel"), TextDelta(0, "lo")],
        [TextDelta(1, "Jambo")],
    ]
    assert (answer.account_id, answer.recording_id) == (7, "str_9")
    assert (answer.usage, answer.target, answer.ignored) == (
        USAGE,
        "acme:acme-1",
        ("store", "user"),
    )
    assert (answer.stored_ms, answer.expires_ms) == (START_MS, START_MS + 5000)
    assert (house.cache.count, house.cache.size) == (1, answer.size)
    assert house.cache.find(key("b")) is None


async def test_an_answer_is_fresh_until_its_time_is_over():
    house = House()
    house.keep(ttl_ms=1000)
    house.clock.pass_ms(999)
    assert house.text() == "Hello"
    house.clock.pass_ms(1)
    assert house.text() is None
    assert (house.cache.count, house.cache.size) == (0, 0)


async def test_the_time_of_an_answer_begins_at_its_end():
    house = House()
    flight = house.take_off(ttl_ms=1000)
    house.clock.pass_ms(100_000)
    flight.land(USAGE, "acme:acme-1", ())
    house.clock.pass_ms(999)
    assert house.cache.find(key("a")) is not None


async def test_an_answer_without_time_is_given_to_those_who_wait_and_not_kept():
    house = House()
    flight = house.take_off(ttl_ms=0)
    waiting = asyncio.create_task(flight.landed())
    await until_idle()
    flight.land(USAGE, "acme:acme-1", ())
    assert await waiting is not None
    assert house.cache.count == 0


async def test_a_newer_answer_takes_the_place_of_an_older_one():
    house = House()
    house.keep(text="old", recording="str_old")
    size = house.cache.size
    house.clock.pass_ms(500)
    house.keep(text="new", recording="str_new")
    house.clock.pass_ms(600)
    assert house.text() == "new"
    assert (house.cache.count, house.cache.size) == (1, size)
    house.cache.forget_recording(1, "str_old")
    assert house.text() == "new"
    house.cache.forget_recording(1, "str_new")
    assert house.text() is None


# -- room ------------------------------------------------------------------------------------------


def sized(text: str = "Hello") -> int:
    """What one answer takes."""
    house = House()
    house.keep(text=text)
    return house.cache.size


async def test_those_go_first_that_were_used_least_recently():
    house = House(max_bytes=3 * sized())
    for name in "abc":
        house.keep(name)
    assert house.text("a") == "Hello"  # used again
    house.keep("d")
    assert [house.text(name) for name in "abcd"] == ["Hello", None, "Hello", "Hello"]
    assert house.cache.size == 3 * sized()


async def test_those_that_have_expired_go_before_all_others():
    house = House(max_bytes=3 * sized())
    house.keep("a", ttl_ms=10_000)
    house.keep("b", ttl_ms=10)
    house.keep("c", ttl_ms=10_000)
    assert house.text("b") == "Hello"
    house.clock.pass_ms(10)
    house.keep("d", ttl_ms=10_000)
    assert house.cache.count == 3
    assert [house.text(name) for name in "abcd"] == ["Hello", None, "Hello", "Hello"]


async def test_a_large_answer_makes_room_of_several_small_ones():
    house = House(max_bytes=4 * sized())
    for name in "abcd":
        house.keep(name)
    house.keep("e", text="x" * sized())
    assert [house.text(name) is None for name in "abcde"] == [True, True, False, False, False]
    assert house.cache.size <= 4 * sized()


async def test_what_has_no_room_at_all_displaces_nobody():
    house = House(max_bytes=3 * sized())
    house.keep("a")
    house.keep("b", text="x" * 3 * sized())
    assert [house.text(name) for name in "ab"] == ["Hello", None]


async def test_without_room_nothing_is_kept_and_those_who_wait_are_served():
    house = House(max_bytes=0)
    flight = house.take_off()
    assert house.cache.flight(key("a")) is flight
    waiting = asyncio.create_task(flight.landed())
    await until_idle()
    flight.observe(HELLO)
    flight.land(USAGE, "acme:acme-1", ())
    answer = await waiting
    assert answer is not None
    assert text_of(answer) == "Hello"
    assert (house.text(), house.cache.count, house.cache.size) == (None, 0, 0)


async def test_what_has_expired_is_forgotten_unasked():
    house = House()
    for name in "abc":
        house.keep(name, ttl_ms=1000)
    house.keep("d", ttl_ms=5000)
    house.clock.pass_ms(999)
    assert house.cache.forget_expired() == 0
    house.clock.pass_ms(1)
    assert house.cache.forget_expired() == 3
    assert house.cache.forget_expired() == 0
    assert (house.cache.count, house.text("d")) == (1, "Hello")


async def test_not_everything_is_forgotten_at_once():
    house = House(max_bytes=10**8)
    for number in range(FORGET_AT_ONCE + 3):
        house.keep(str(number))
    house.clock.pass_ms(1000)
    assert [house.cache.forget_expired() for _ in range(3)] == [FORGET_AT_ONCE, 3, 0]


async def test_one_that_was_renewed_does_not_go_with_the_old_one():
    house = House()
    house.keep(ttl_ms=1000)
    house.keep(text="new", ttl_ms=5000)
    house.clock.pass_ms(2000)
    assert house.cache.forget_expired() == 0
    assert house.text() == "new"


async def test_what_was_renewed_often_leaves_nothing_behind():
    house = House()
    house.keep()
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(2000):
        house.keep(ttl_ms=10**9)
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] - before < 50_000
    tracemalloc.stop()
    house.clock.pass_ms(10**9)
    assert house.cache.forget_expired() == 1


# -- answers that are too large --------------------------------------------------------------------


async def test_an_answer_that_grows_too_large_fails_while_it_grows():
    house = House(max_answer_bytes=3 * SEGMENT_BYTES)
    flight = house.take_off()
    waiting = asyncio.create_task(flight.landed())
    await until_idle()
    for _ in range(5):
        flight.observe((TextDelta(0, "x" * SEGMENT_BYTES),))
    await until_idle()
    assert waiting.done()
    assert await waiting is None
    assert flight.is_too_large
    flight.observe(HELLO)
    flight.land(USAGE, "acme:acme-1", ())
    assert house.cache.find(key("a")) is None


async def test_one_that_is_too_large_lets_go_of_what_it_had():
    house = House(max_answer_bytes=SEGMENT_BYTES)
    flight = house.take_off()
    flight.observe((TextDelta(0, "x" * 10 * SEGMENT_BYTES),))
    assert flight.is_too_large
    assert not any(isinstance(one, AnswerWriter) for one in gc.get_referents(flight))


async def test_an_answer_as_large_as_may_be_is_kept_and_one_byte_more_is_not():
    exact = sized("x" * 5000)
    for less, is_kept in ((0, True), (1, False)):
        house = House(max_answer_bytes=exact - less)
        house.keep(text="x" * 5000)
        assert (house.cache.count == 1) is is_kept
    assert ENTRY_BYTES < exact < 5000 + 2 * ENTRY_BYTES


async def test_nobody_waits_for_what_was_too_large_shortly_before():
    house = House(max_answer_bytes=1)
    house.keep("a")
    first, second = house.take_off("a"), house.take_off("a")
    assert house.cache.flight(key("a")) is None
    for flight in (first, second):
        assert await flight.landed() is None  # before its end
        flight.observe(HELLO)
        flight.land(USAGE, "acme:acme-1", ())
        assert await flight.landed() is None
    other = house.take_off("b")
    assert house.cache.flight(key("b")) is other
    house.clock.pass_ms(ALONE_MS)
    third = house.take_off("a")
    assert house.cache.flight(key("a")) is third


async def test_only_so_many_are_left_alone():
    house = House(max_answer_bytes=1)
    for number in range(MAX_ALONE + 1):
        house.keep(str(number))
    last, first = house.take_off(str(MAX_ALONE)), house.take_off("0")
    assert house.cache.flight(last.key) is None
    assert house.cache.flight(first.key) is first


async def test_what_cannot_be_written_is_not_kept_and_hurts_nobody():
    house = House()
    flight = house.take_off()
    flight.observe((TextDelta(0, "\ud800"),))
    flight.observe(HELLO)
    assert house.cache.flight(key("a")) is None
    flight.land(USAGE, "acme:acme-1", ())
    assert house.cache.count == 0


# -- flights ---------------------------------------------------------------------------------------


async def test_those_who_ask_meanwhile_wait_and_get_what_was_generated():
    house = House()
    flight = house.take_off()
    assert house.cache.flight(key("a")) is flight
    assert house.cache.flight(key("b")) is None
    waiting = [asyncio.create_task(flight.landed()) for _ in range(50)]
    await until_idle()
    assert flight.waiting == 50
    flight.observe(HELLO)
    assert not any(task.done() for task in waiting)
    flight.land(USAGE, "acme:acme-1", ("store",))
    answers = await asyncio.gather(*waiting)
    kept = house.cache.find(key("a"))
    assert kept is not None
    assert all(answer is kept for answer in answers)
    assert flight.waiting == 0
    assert house.cache.flight(key("a")) is None
    assert await flight.landed() is kept  # who comes late


async def test_where_it_fails_one_of_those_who_waited_goes_on():
    house = House()
    taken: list[Flight] = []

    async def ask() -> str:
        while (flight := house.cache.flight(key("a"))) is not None:
            answer = await flight.landed()
            if answer is not None:
                return text_of(answer)
        taken.append(house.take_off())
        return "generates"

    asked = [asyncio.create_task(ask()) for _ in range(10)]
    await until_idle()
    for failures in range(1, 4):
        assert len(taken) == failures
        assert taken[-1].waiting == 10 - failures
        taken[-1].fail()
        await until_idle()
    taken[-1].observe(HELLO)
    taken[-1].land(USAGE, "acme:acme-1", ())
    got = await asyncio.gather(*asked)
    assert len(taken) == 4
    assert sorted(got) == ["Hello"] * 6 + ["generates"] * 4


async def test_to_cancel_one_who_waits_harms_nobody():
    house = House()
    flight = house.take_off()
    waiting = [asyncio.create_task(flight.landed()) for _ in range(3)]
    await until_idle()
    waiting[1].cancel()
    await until_idle()
    assert waiting[1].cancelled()
    assert flight.waiting == 2
    waiting.append(asyncio.create_task(flight.landed()))
    await until_idle()
    waiting[3].cancel()
    flight.land(USAGE, "acme:acme-1", ())  # before the one that was cancelled has noticed
    waiting[2].cancel()  # at the very moment at which it gets its answer
    assert await waiting[0] is not None
    await until_idle()
    assert waiting[2].cancelled()
    assert waiting[3].cancelled()
    assert house.cache.count == 1


async def test_a_flight_ends_once():
    house = House()
    flight = house.take_off()
    flight.land(USAGE, "acme:acme-1", ())
    flight.fail()
    flight.land(Usage(1, 1), "other", ())
    answer = await flight.landed()
    assert answer is not None
    assert answer.target == "acme:acme-1"
    assert house.cache.find(key("a")) is answer
    other = house.take_off("b")
    other.fail()
    other.land(USAGE, "acme:acme-1", ())
    assert await other.landed() is None
    assert house.cache.find(key("b")) is None


@pytest.mark.parametrize("is_first", [True, False], ids=["older first", "newer first"])
async def test_of_two_flights_only_the_newer_is_kept(is_first: bool):
    house = House()
    older, newer = house.take_off(recording="str_1"), house.take_off(recording="str_2")
    assert house.cache.flight(key("a")) is newer
    waiting = asyncio.create_task(older.landed())
    await until_idle()
    for flight in (older, newer) if is_first else (newer, older):
        flight.observe((TextDelta(0, flight.recording_id),))
        flight.land(USAGE, "acme:acme-1", ())
    answer = await waiting
    assert answer is not None
    assert text_of(answer) == "str_1"  # who waited for it gets it
    assert house.text() == "str_2"


async def test_an_older_flight_is_not_kept_where_the_newer_one_fails():
    house = House()
    older, newer = house.take_off(recording="str_1"), house.take_off(recording="str_2")
    newer.fail()
    assert house.cache.flight(key("a")) is None
    older.land(USAGE, "acme:acme-1", ())
    assert house.cache.count == 0


async def test_an_older_flight_that_ends_leaves_the_newer_one_in_its_place():
    house = House()
    older, newer = house.take_off(recording="str_1"), house.take_off(recording="str_2")
    older.fail()
    assert house.cache.flight(key("a")) is newer


async def test_what_is_kept_stays_while_a_newer_answer_is_generated():
    house = House()
    house.keep(text="old")
    flight = house.take_off(recording="str_2")
    assert house.text() == "old"
    flight.fail()
    assert house.text() == "old"


# -- forgetting ------------------------------------------------------------------------------------


async def test_a_recording_is_forgotten_by_its_account_only():
    house = House()
    house.keep("a", account=1)
    house.keep("b", account=1)
    house.cache.forget_recording(2, "str_a")
    house.cache.forget_recording(1, "str_unknown")
    assert house.text("a") == "Hello"
    house.cache.forget_recording(1, "str_a")
    house.cache.forget_recording(1, "str_a")
    assert [house.text(name) for name in "ab"] == [None, "Hello"]
    assert house.cache.count == 1


async def test_a_recording_stays_known_by_what_is_kept_of_it_last():
    house = House()
    house.keep("a", recording="str_1", ttl_ms=10)
    house.keep("b", recording="str_1")
    house.clock.pass_ms(10)
    assert [house.text(name) for name in "ab"] == [None, "Hello"]
    house.cache.forget_recording(1, "str_1")
    assert house.text("b") is None


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_one_that_is_being_generated_is_forgotten_too(is_replaced: bool):
    house = House()
    flight = house.take_off(account=1, recording="str_1")
    if is_replaced:
        house.take_off(account=1, recording="str_2")
    waiting = asyncio.create_task(flight.landed())
    await until_idle()
    house.cache.forget_recording(2, "str_1")
    await until_idle()
    assert not waiting.done()
    house.cache.forget_recording(1, "str_1")
    assert await waiting is None
    flight.observe(HELLO)
    flight.land(USAGE, "acme:acme-1", ())
    assert house.cache.count == 0
    assert (house.cache.flight(key("a")) is not None) is is_replaced


class Chunk(list[Event]):
    """Events that can be watched."""


async def test_what_was_said_is_taken_down_and_not_kept_alive():
    house = House()
    flight = house.take_off()
    chunk = Chunk(HELLO)
    watched = weakref.ref(chunk)
    flight.observe(chunk)
    del chunk
    gc.collect()
    assert watched() is None
    flight.land(USAGE, "acme:acme-1", ())
    assert house.text() == "Hello"


async def test_flights_that_have_ended_are_gone():
    house = House()
    watched = []
    for number, end in enumerate(("land", "fail", "forget", "replace")):
        flight = house.take_off(str(number))
        if end == "land":
            flight.land(USAGE, "acme:acme-1", ())
        elif end == "forget":
            house.cache.forget_recording(1, flight.recording_id)
        else:
            if end == "replace":
                house.take_off(str(number), recording="str_newer").fail()
            flight.fail()
        watched.append(flight.key)
        del flight
    gc.collect()
    assert all(house.cache.flight(one) is None for one in watched)
    assert [one for one in gc.get_objects() if isinstance(one, Flight)] == []


# -- all of it together ----------------------------------------------------------------------------

NAMES = st.sampled_from("abcdef")


class CacheMachine(RuleBasedStateMachine):
    """Whatever is done: what is found is fresh, newest and whole, and there is never too much."""

    def __init__(self) -> None:
        super().__init__()
        self.house = House(max_bytes=4 * sized(), max_answer_bytes=3 * sized())
        self.newest: dict[str, tuple[str, int] | None] = {}
        self.serial = 0

    @rule(name=NAMES, ttl_ms=st.integers(0, 20), length=st.integers(0, 4))
    def keep(self, name: str, ttl_ms: int, length: int) -> None:
        self.serial += 1
        text = f"{self.serial} ".ljust(length * sized(), "x")
        self.house.keep(name, text, ttl_ms=ttl_ms, recording=f"str_{self.serial}")
        is_small = length < 3
        self.house.clock.pass_ms(0 if is_small else ALONE_MS)
        if is_small and ttl_ms:
            self.newest[name] = (text, self.house.clock.now_ms() + ttl_ms)

    @rule(milliseconds=st.integers(1, 15))
    def wait(self, milliseconds: int) -> None:
        self.house.clock.pass_ms(milliseconds)

    @rule(name=NAMES)
    def find(self, name: str) -> None:
        found = self.house.text(name)
        if found is not None:
            newest = self.newest[name]
            assert newest is not None
            text, expires_ms = newest
            assert found == text
            assert self.house.clock.now_ms() < expires_ms

    @rule(serial=st.integers(1, 30))
    def forget(self, serial: int) -> None:
        self.house.cache.forget_recording(1, f"str_{serial}")

    @rule()
    def forget_expired(self) -> None:
        self.house.cache.forget_expired()
        live = sum(
            1
            for newest in self.newest.values()
            if newest is not None and newest[1] > self.house.clock.now_ms()
        )
        assert self.house.cache.count <= live

    @invariant()
    def there_is_room(self) -> None:
        assert 0 <= self.house.cache.size <= 4 * sized()
        assert (self.house.cache.size == 0) is (self.house.cache.count == 0)


CacheMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCacheMachine = CacheMachine.TestCase
