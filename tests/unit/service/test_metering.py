from __future__ import annotations

import pytest
from tests.support.scripted_upstream import counted, finish, text, usage

from bandari.domain.estimate import IMAGE_TOKENS, Basis, Ratios
from bandari.domain.events import InputCounted, ReasoningDelta, RefusalDelta, ToolCallDelta
from bandari.domain.ledger import Count
from bandari.domain.usage import CountRule, Usage
from bandari.service.metering import Meter

REPORTED, COUNTED, ESTIMATED = CountRule.REPORTED, CountRule.COUNTED, CountRule.ESTIMATED


def meter(*events, input_bytes: int = 40, known_input: int | None = None) -> Meter:
    made = Meter(input_bytes)
    if known_input is not None:
        made.know_input(known_input)
    for event in events:
        made.observe([event])
    return made


def test_what_the_upstream_reports_at_its_end_is_believed_first():
    made = meter(text("Hello"), counted(3, prompt=9), finish(), usage(11, 5))
    assert made.result(completed=True) == Count(Usage(11, 5), REPORTED, made.basis)


def test_running_counts_come_second():
    made = meter(text("Hello"), counted(3, prompt=9, cached=4), finish())
    assert made.result(completed=True) == Count(Usage(9, 3, cached_tokens=4), COUNTED, made.basis)


def test_bytes_are_the_last_resort():
    made = meter(text("Hello"), finish(), input_bytes=41)
    assert made.result(completed=True) == Count(Usage(11, 2), ESTIMATED, made.basis)


def test_an_estimate_takes_the_exact_prompt_where_it_is_known():
    assert meter(text("abc"), known_input=7).result(completed=True).usage == Usage(7, 1)


PROMPT = InputCounted(100, cached_tokens=60, cache_write_tokens=30)


@pytest.mark.parametrize("completed", [True, False])
def test_a_prompt_that_was_counted_early_is_exact_by_its_kinds(completed):
    made = meter(PROMPT, text("Hello"))
    usage = Usage(100, 2, cached_tokens=60, cache_write_tokens=30)
    assert made.result(completed=completed) == Count(usage, ESTIMATED, made.basis)
    made.know_output(3)
    usage = Usage(100, 3, cached_tokens=60, cache_write_tokens=30)
    assert made.result(completed=completed) == Count(usage, COUNTED, made.basis)


def test_a_prompt_that_was_counted_early_promises_no_running_counts():
    made = meter(PROMPT)
    made.keep_text()
    made.observe([text("Hello")])
    assert not made.is_counting
    assert made.uncounted_text == "Hello"
    assert not meter(PROMPT).has_output
    assert made.output_tokens == 2


def test_reports_and_running_counts_come_before_a_prompt_that_was_counted_early():
    made = meter(PROMPT, text("Hello"), usage(11, 5))
    assert made.result(completed=True) == Count(Usage(11, 5), REPORTED, made.basis)
    assert meter(usage(11, 5), PROMPT).input_tokens == 11
    assert meter(PROMPT, counted(3, prompt=9)).result(completed=False).usage == Usage(9, 3)
    assert meter(counted(3, prompt=9), PROMPT).input_tokens == 9


def test_a_report_that_is_not_believed_leaves_the_prompt_that_was_counted_early():
    made = meter(PROMPT, text("Hello"), usage(11, 0))
    usage_by_kinds = Usage(100, 2, cached_tokens=60, cache_write_tokens=30)
    assert made.result(completed=True) == Count(usage_by_kinds, ESTIMATED, made.basis)


def test_the_kinds_of_a_prompt_never_exceed_it():
    made = meter(InputCounted(5, cached_tokens=3, cache_write_tokens=9))
    assert made.result(completed=False).usage == Usage(5, 0, 3, 2)
    made = meter(InputCounted(5, cached_tokens=9, cache_write_tokens=9))
    assert made.result(completed=False).usage == Usage(5, 0, 5, 0)


def test_an_interrupted_answer_is_charged_by_its_running_counts():
    """A usage chunk in the middle (llama.cpp's for n > 1) is not the whole."""
    made = meter(counted(3, prompt=9), usage(9, 2), counted(6, prompt=9))
    assert made.result(completed=False) == Count(Usage(9, 6), COUNTED, made.basis)
    assert made.running().usage == Usage(9, 6)


def test_an_interrupted_answer_without_counts_takes_what_was_reported_until_then():
    made = meter(text("x" * 400), usage(9, 30))
    assert made.result(completed=False) == Count(Usage(9, 30), COUNTED, made.basis)


def test_of_two_reports_the_later_one_counts():
    made = meter(usage(9, 2), usage(9, 8))
    assert made.result(completed=True) == Count(Usage(9, 8), REPORTED, made.basis)


def test_a_report_of_no_output_is_not_believed_where_there_was_some():
    made = meter(text("Hello"), finish(), usage(11, 0), input_bytes=44)
    assert made.result(completed=True) == Count(Usage(11, 2), ESTIMATED, made.basis)
    assert meter(finish(), usage(11, 0)).result(completed=True).rule is REPORTED


def test_counts_of_several_choices_add_up_over_one_prompt():
    made = meter(
        counted(1, prompt=9, choice=0),
        counted(4, prompt=9, choice=1, cached=9),
        counted(2, prompt=9, choice=0),
    )
    assert made.result(completed=True) == Count(Usage(9, 6, cached_tokens=9), COUNTED, made.basis)
    assert made.output_tokens == 6
    assert made.input_tokens == 9


def test_cached_tokens_never_exceed_the_prompt():
    made = meter(counted(1, prompt=5, choice=0, cached=9))
    assert made.result(completed=False).usage == Usage(5, 1, cached_tokens=5)


@pytest.mark.parametrize(
    ("events", "tokens"),
    [
        ([text("")], 0),
        ([text("abcd")], 1),
        ([text("abcde")], 2),
        ([text("日本")], 2),  # six bytes
        ([text("🦁")], 1),
        ([text("\ud800")], 1),  # half a surrogate pair is not UTF-8, and no reason to fail
        ([ReasoningDelta(0, "abcde")], 2),
        ([RefusalDelta(0, "abcde")], 2),
        ([ToolCallDelta(0, 0, '{"a":1}', "id", "f")], 2),
        ([ToolCallDelta(0, 0, "", None, None)], 0),
        ([text("ab"), text("cd", choice=1)], 1),
    ],
)
def test_the_estimate_counts_the_bytes_of_everything_that_was_generated(events, tokens):
    assert meter(*events).result(completed=True).usage.output_tokens == tokens


def test_while_it_runs_every_piece_is_taken_for_a_token_at_least():
    made = meter(text("a"), text("b"), ToolCallDelta(0, 0, "c"))
    assert made.output_tokens == 3
    assert meter(text("x" * 40)).output_tokens == 10


def test_output_follows_the_counts_then_the_report():
    assert meter(text("x" * 400), counted(3)).output_tokens == 3
    assert meter(text("x" * 400), usage(9, 5)).output_tokens == 5
    assert meter(counted(7), usage(9, 5)).output_tokens == 7


def test_the_prompts_exact_count_is_known_as_soon_as_somebody_tells_it():
    assert meter().input_tokens is None
    assert meter(known_input=8).input_tokens == 8
    assert meter(counted(1, prompt=9), known_input=8).input_tokens == 9
    assert meter(InputCounted(9), known_input=8).input_tokens == 9
    told = meter(InputCounted(9))
    told.know_input(8)
    assert told.input_tokens == 9
    assert meter(counted(1, prompt=9), usage(10, 1)).input_tokens == 10


def test_whether_anything_was_generated():
    assert not meter().has_output
    assert not meter(counted(0)).has_output
    assert not meter(finish()).has_output
    assert meter(counted(1)).has_output
    assert meter(text("a")).has_output
    assert meter(ToolCallDelta(0, 0, "", "id", "f")).has_output


def test_an_estimate_goes_by_the_ratios_of_the_model():
    made = Meter(1_000, images=2)
    made.ratios = Ratios(input=300_000, output=500_000)
    made.observe([text("x" * 99)])
    count = made.result(completed=True)
    assert count.usage == Usage(300 + 2 * IMAGE_TOKENS, 50)
    assert count.basis == Basis(1_000, 2, 99, made.ratios)
    assert made.output_tokens == 50


def test_text_is_kept_for_a_tokenizer_until_somebody_tells_its_tokens():
    made = meter(text("lost"))
    assert made.uncounted_text is None
    made.keep_text()
    made.observe([text("Hel"), ReasoningDelta(0, "lo"), ToolCallDelta(0, 0, "{}", "id", "f")])
    assert made.uncounted_text == "Hellof{}"
    reported = meter()
    reported.keep_text()
    reported.observe([text("Hello"), usage(9, 3)])
    assert reported.uncounted_text is None
    counting = meter()
    counting.keep_text()
    counting.observe([text("Hello"), counted(1), text(" you")])
    assert counting.uncounted_text is None
    assert (counting.is_counting, reported.is_counting) == (True, False)


def test_what_a_tokenizer_counted_is_no_estimate():
    made = meter(text("Hello"), input_bytes=400)
    made.know_output(3)
    assert made.result(completed=True) == Count(Usage(100, 3), ESTIMATED, made.basis)
    made.know_input(80)
    assert made.result(completed=True) == Count(Usage(80, 3), COUNTED, made.basis)
