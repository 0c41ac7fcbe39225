"""Events fold into an answer, however they are interleaved and cut."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.answer import Answer, AnswerFold, Choice
from bandari.domain.chat import ToolCall
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.usage import Usage


def fold(*events: Event, choices: int = 0) -> Answer:
    folding = AnswerFold(choices)
    folding.add(events)
    return folding.answer()


def test_pieces_are_joined() -> None:
    logprob = TokenLogprob("lo", -0.5)
    assert fold(
        ReasoningDelta(0, "hm"),
        TextDelta(0, "Hel"),
        ReasoningDelta(0, "m"),
        TextDelta(0, "lo", (logprob,)),
        RefusalDelta(0, "no"),
        RefusalDelta(0, "pe"),
        ChoiceFinished(0, FinishReason.CONTENT_FILTER),
    ) == Answer(
        (
            Choice(
                index=0,
                text="Hello",
                finish_reason=FinishReason.CONTENT_FILTER,
                reasoning="hmm",
                refusal="nope",
                logprobs=(logprob,),
            ),
        )
    )


def test_choices_come_out_in_order_whatever_order_they_came_in() -> None:
    answer = fold(
        TextDelta(1, "b"),
        ChoiceFinished(1, FinishReason.LENGTH),
        TextDelta(0, "a"),
        TextDelta(1, "B"),
        ChoiceFinished(0, FinishReason.STOP),
    )
    assert [(choice.index, choice.text, choice.finish_reason) for choice in answer.choices] == [
        (0, "a", FinishReason.STOP),
        (1, "bB", FinishReason.LENGTH),
    ]


def test_tool_calls_come_interleaved_and_out_in_order() -> None:
    answer = fold(
        ToolCallDelta(0, 1, "{", "two", "time"),
        ToolCallDelta(0, 0, "", "one", "weather"),
        ToolCallDelta(0, 1, "}"),
        ToolCallDelta(0, 0, "[]"),
    )
    assert answer.choices[0].tool_calls == (
        ToolCall("one", "weather", "[]"),
        ToolCall("two", "time", "{}"),
    )


def test_a_repeated_name_is_not_joined() -> None:
    answer = fold(ToolCallDelta(0, 0, "a", "id", "f"), ToolCallDelta(0, 0, "b", "id", "f"))
    assert answer.choices[0].tool_calls == (ToolCall("id", "f", "ab"),)


def test_counts_are_not_part_of_the_answer() -> None:
    assert fold(Counted(0, 1, 0, 1), UsageReported(Usage(1, 1))) == Answer(())


def test_an_open_choice_gets_the_reason_that_it_is_given() -> None:
    folding = AnswerFold()
    folding.add([TextDelta(0, "a"), ChoiceFinished(1, FinishReason.STOP)])
    reasons = [choice.finish_reason for choice in folding.answer(FinishReason.LENGTH).choices]
    assert reasons == [FinishReason.LENGTH, FinishReason.STOP]


@pytest.mark.parametrize("choices", [0, 1, 3])
def test_an_answer_has_its_choices_also_where_nothing_was_generated(choices: int) -> None:
    assert [choice.index for choice in fold(choices=choices).choices] == list(range(choices))


@given(
    st.lists(st.builds(TextDelta, choice=st.integers(0, 2), text=st.text(max_size=5))),
    st.data(),
)
def test_batches_make_no_difference(events: Sequence[Event], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(events)))
    folding = AnswerFold()
    folding.add(events[:cut])
    folding.add(events[cut:])
    assert folding.answer() == fold(*events)
