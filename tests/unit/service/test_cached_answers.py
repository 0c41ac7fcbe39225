from __future__ import annotations

import gc
import tracemalloc
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.clock import START_MS, SetClock

from bandari.domain.chat import Seal
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    InputCounted,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    UsageReported,
)
from bandari.domain.usage import Usage
from bandari.service.cached_answers import (
    SEGMENT_BYTES,
    UNWRITABLE,
    AnswerWriter,
    CachedAnswer,
    read_segment,
    size_in_memory,
)
from bandari.service.caching import Cache


class OtherText(str):
    __slots__ = ()


USAGE_EVENTS = (Counted, InputCounted, UsageReported)

texts = st.text(max_size=20)
choices = st.integers(0, 200)
logprobs = st.floats(allow_nan=False) | st.integers(-5, 0).map(float)
token_bytes = st.none() | st.lists(st.integers(0, 255), max_size=4)
tops = st.lists(st.builds(TopLogprob, texts, logprobs, token_bytes), max_size=3).map(tuple)
token_logprobs = st.builds(TokenLogprob, texts, logprobs, token_bytes, tops)
counts = st.integers(0, 2**40)
SAMPLES: dict[type, st.SearchStrategy[Event]] = {
    TextDelta: (
        st.builds(TextDelta, choices, texts)
        | st.builds(TextDelta, choices, texts, st.lists(token_logprobs, max_size=2).map(tuple))
    ),
    ReasoningDelta: st.builds(ReasoningDelta, choices, texts),
    ReasoningSealed: st.builds(
        ReasoningSealed, choices, st.builds(Seal, texts, texts, st.booleans())
    ),
    RefusalDelta: st.builds(RefusalDelta, choices, texts),
    ToolCallDelta: st.builds(
        ToolCallDelta, choices, choices, texts, id=st.none() | texts, name=st.none() | texts
    ),
    ChoiceFinished: st.builds(
        ChoiceFinished, choices, st.sampled_from(FinishReason), st.none() | texts
    ),
    Counted: st.builds(Counted, choices, counts, counts, counts),
    InputCounted: st.builds(InputCounted, counts),
    UsageReported: st.builds(UsageReported, st.builds(Usage, counts, counts)),
}
events = st.one_of(*SAMPLES.values())


def test_there_is_a_sample_of_every_kind():
    assert set(SAMPLES) == set(get_args(Event))


def kept(batches: list[list[Event]]) -> list[list[Event]]:
    """What is to be kept of these: all but what is said of the usage."""
    rest = [[one for one in batch if not isinstance(one, USAGE_EVENTS)] for batch in batches]
    return [batch for batch in rest if batch]


def answer_of(segments: tuple[bytes, ...]) -> CachedAnswer:
    return CachedAnswer(
        account_id=1,
        end_user=None,
        recording_id="str_1",
        usage=Usage(),
        target="acme:acme-1",
        ignored=(),
        stored_ms=START_MS,
        expires_ms=START_MS + 1,
        segments=segments,
        size=size_in_memory(segments),
    )


@given(st.lists(st.lists(events, max_size=4), max_size=8))
def test_everything_that_was_said_comes_back_as_it_was(batches: list[list[Event]]):
    writer = AnswerWriter()
    for batch in batches:
        writer.add(tuple(batch))
    read = [list(batch) for batch in answer_of(writer.segments()).events()]
    assert read == kept(batches)
    assert [[type(one) for one in batch] for batch in read] == [
        [type(one) for one in batch] for batch in kept(batches)
    ]
    assert repr(read) == repr(kept(batches))  # also -0.0, and 1.0 for 1


def test_a_log_probability_of_minus_infinity_comes_back():
    said = [TextDelta(0, "a", (TokenLogprob("a", float("-inf")),))]
    writer = AnswerWriter()
    writer.add(said)
    assert answer_of(writer.segments()).events() == [said]


@pytest.mark.parametrize(
    "said",
    [
        TextDelta(0, "\ud800"),
        ToolCallDelta(0, 0, "\udfff"),
        Counted,
        ChoiceFinished(2**70, FinishReason.STOP),
        TextDelta(0, OtherText("a")),
    ],
    ids=["surrogate", "in arguments", "no event", "number", "other text"],
)
def test_what_cannot_be_written_is_said(said: Event):
    with pytest.raises(UNWRITABLE):
        AnswerWriter().add([said])


@pytest.mark.parametrize("length", [1, 100, SEGMENT_BYTES, 5 * SEGMENT_BYTES])
def test_a_long_answer_is_in_segments_that_are_read_one_by_one(length: int):
    said = [[TextDelta(0, f"{index} ".ljust(length, "x"))] for index in range(3000 // length + 5)]
    writer = AnswerWriter()
    for batch in said * (3 if length == 1 else 1):
        writer.add(batch)
    segments = writer.segments()
    assert writer.size == sum(map(len, segments))
    assert all(len(segment) < SEGMENT_BYTES + length + 100 for segment in segments)
    assert all(len(segment) >= SEGMENT_BYTES for segment in segments[:-1])
    read = [batch for segment in segments for batch in read_segment(segment)]
    assert read == said * (3 if length == 1 else 1)


def test_nothing_is_kept_of_an_answer_in_which_nothing_was_said():
    writer = AnswerWriter()
    writer.add([InputCounted(3)])
    writer.add([])
    assert writer.segments() == ()
    assert answer_of(()).events() == []


@pytest.mark.parametrize(
    ("answers", "deltas", "characters"),
    [(400, 1, 5), (200, 100, 5), (5, 20_000, 4), (20, 1, 100_000)],
    ids=["short", "usual", "long", "of one piece"],
)
def test_the_size_is_what_it_takes_in_memory(answers: int, deltas: int, characters: int):
    cache = Cache(SetClock(), max_bytes=2**30, max_answer_bytes=2**30)
    word = TextDelta(0, "x" * characters)

    def keep(index: int) -> None:
        flight = cache.take_off(
            index.to_bytes(32, "big"),
            account_id=1_000_000 + index,
            ttl_ms=1_000_000 + index,
            recording_id=f"str_{index:026d}",
        )
        for _ in range(deltas):
            flight.observe((word,))
        flight.land(
            Usage(1000 + index, 2000 + index, 300 + index, 400, 500 + index),
            f"acme-{index}:a-model-of-theirs",
            (f"metadata{index}", "store"),
        )

    keep(2**20)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    size_before = cache.size
    for index in range(answers):
        keep(index)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    told = cache.size - size_before
    assert cache.count == answers + 1
    assert taken / 1.2 < told < taken * 1.2, (taken // answers, told // answers)
