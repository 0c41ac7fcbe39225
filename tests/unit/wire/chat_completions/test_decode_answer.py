"""From an upstream's bytes to events, by golden transcripts and however the network cuts them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.feeding import cuts, dressed, transcript

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
    TopLogprob,
    UsageReported,
)
from bandari.domain.faults import Fault, UpstreamFault, UpstreamMalformed
from bandari.domain.usage import Usage
from bandari.wire.chat_completions.decode_answer import AnswerDecoder
from bandari.wire.sse import SseDecoder, SseEvent

PROTOCOL = "chat_completions"


def read_stream(
    pieces: Iterable[bytes], choices: int = 1, top_logprobs: int = 0
) -> tuple[list[Event], bool]:
    sse, decoder = SseDecoder(), AnswerDecoder(choices, top_logprobs)
    events: list[Event] = []
    for piece in pieces:
        for event in sse.feed(piece):
            events.extend(decoder.stream_event(event))
    return events, decoder.ended


def chunk(decoder: AnswerDecoder, **fields: Any) -> list[Event]:
    return list(decoder.stream_event(SseEvent(json.dumps(fields).encode())))


def one(**fields: Any) -> list[Event]:
    """What one chunk says to a decoder that has seen nothing yet."""
    return chunk(AnswerDecoder(), **fields)


def delta(**fields: Any) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": fields, "finish_reason": None}]


USAGE = UsageReported(Usage(input_tokens=10, output_tokens=2, cached_tokens=9))


# -- golden transcripts ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "choices", "top_logprobs", "expected"),
    [
        (
            "llama_cpp.sse",
            1,
            0,
            [
                TextDelta(0, "Habari, dunia"),
                TextDelta(0, " 🌍"),
                ChoiceFinished(0, FinishReason.STOP),
                USAGE,
            ],
        ),
        (
            "llama_cpp_timings.sse",
            1,
            0,
            [
                TextDelta(0, "sys"),
                Counted(0, input_tokens=10, cached_tokens=9, output_tokens=1),
                TextDelta(0, "tem"),
                Counted(0, input_tokens=10, cached_tokens=9, output_tokens=2),
                ChoiceFinished(0, FinishReason.LENGTH),
                Counted(0, input_tokens=10, cached_tokens=9, output_tokens=2),
            ],
        ),
        (
            "llama_cpp_logprobs.sse",
            1,
            2,
            [
                TextDelta(
                    0,
                    "sys",
                    (
                        TokenLogprob(
                            "sys",
                            -4.25,
                            [115, 121, 115],
                            (
                                TopLogprob("sys", -4.25, [115, 121, 115]),
                                TopLogprob("\ufffd", -4.5, [173]),
                            ),
                        ),
                    ),
                ),
                ChoiceFinished(0, FinishReason.LENGTH),
            ],
        ),
        (
            "llama_cpp_logprobs.sse",
            1,
            0,
            [
                TextDelta(0, "sys", (TokenLogprob("sys", -4.25, [115, 121, 115]),)),
                ChoiceFinished(0, FinishReason.LENGTH),
            ],
        ),
        (
            "llama_cpp_tools.sse",
            1,
            0,
            [
                ToolCallDelta(0, 0, "{", "tWn4", "get_weather"),
                Counted(0, 40, 0, 38),
                ToolCallDelta(0, 0, '"city":"Nairobi"}'),
                Counted(0, 40, 0, 44),
                ToolCallDelta(0, 1, "", "x9Qe", "get_time"),
                Counted(0, 40, 0, 60),
                ToolCallDelta(0, 1, "{}"),
                Counted(0, 40, 0, 61),
                ChoiceFinished(0, FinishReason.TOOL_CALLS),
                Counted(0, 40, 0, 62),
            ],
        ),
        (
            "llama_cpp_two_choices.sse",
            2,
            0,
            [
                TextDelta(1, "b"),
                Counted(1, 10, 0, 1),
                TextDelta(0, "a"),
                Counted(0, 10, 9, 1),
                ChoiceFinished(1, FinishReason.LENGTH),
                UsageReported(Usage(input_tokens=10, output_tokens=1)),
                TextDelta(0, "A"),
                Counted(0, 10, 9, 2),
                ChoiceFinished(0, FinishReason.STOP),
                USAGE,
            ],
        ),
        (
            "openai.sse",
            1,
            0,
            [
                TextDelta(0, "Hello"),
                TextDelta(0, "!"),
                ChoiceFinished(0, FinishReason.STOP),
                UsageReported(
                    Usage(input_tokens=19, output_tokens=10, cached_tokens=5, reasoning_tokens=4)
                ),
            ],
        ),
        (
            "openai_refusal.sse",
            1,
            0,
            [
                RefusalDelta(0, "I can't"),
                RefusalDelta(0, " help."),
                ChoiceFinished(0, FinishReason.CONTENT_FILTER),
            ],
        ),
        (
            "vllm.sse",
            1,
            0,
            [
                UsageReported(Usage(input_tokens=12, output_tokens=0)),
                ReasoningDelta(0, "Greet."),
                UsageReported(Usage(input_tokens=12, output_tokens=2)),
                TextDelta(0, "Jambo"),
                UsageReported(Usage(input_tokens=12, output_tokens=3)),
                ChoiceFinished(0, FinishReason.STOP),
                UsageReported(Usage(input_tokens=12, output_tokens=4)),
                UsageReported(Usage(input_tokens=12, output_tokens=4)),
            ],
        ),
    ],
)
def test_a_transcript_says_the_same_however_it_is_cut_or_dressed(
    name: str, choices: int, top_logprobs: int, expected: list[Event]
) -> None:
    data = transcript(PROTOCOL, name)
    for pieces in [*cuts(data), *([other] for other in dressed(data))]:
        events, ended = read_stream(pieces, choices, top_logprobs)
        assert events == expected
        assert ended


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("error_object.sse", "The model's provider failed: KV cache is full"),
        ("error_string.sse", "The model's provider failed: CUDA out of memory"),
    ],
)
def test_an_error_in_a_stream_is_raised_however_it_is_cut(name: str, message: str) -> None:
    for pieces in cuts(transcript(PROTOCOL, name)):
        with pytest.raises(UpstreamFault) as caught:
            read_stream(pieces)
        assert caught.value.message == message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "llama_cpp.json",
            [
                TextDelta(0, "Hello there"),
                ChoiceFinished(0, FinishReason.LENGTH),
                Counted(0, 10, 0, 4),
                UsageReported(Usage(input_tokens=10, output_tokens=4)),
            ],
        ),
        (
            "llama_cpp_tools.json",
            [
                ToolCallDelta(0, 0, '{"city":"Nairobi"}', "tmA2", "get_weather"),
                ToolCallDelta(0, 1, "{}", "tmA3", "get_time"),
                ChoiceFinished(0, FinishReason.TOOL_CALLS),
                Counted(0, 10, 0, 4),
                UsageReported(Usage(input_tokens=10, output_tokens=4)),
            ],
        ),
        (
            "openai_logprobs.json",
            [
                TextDelta(0, "Hi", (TokenLogprob("Hi", -0.25, [72, 105]),)),
                ChoiceFinished(0, FinishReason.STOP),
                UsageReported(
                    Usage(input_tokens=19, output_tokens=10, cached_tokens=5, reasoning_tokens=4)
                ),
            ],
        ),
    ],
)
def test_a_whole_answer(name: str, expected: list[Event]) -> None:
    decoder = AnswerDecoder()
    assert list(decoder.body(transcript(PROTOCOL, name))) == expected
    assert decoder.ended


# -- the end --------------------------------------------------------------------------------------


def test_an_answer_has_ended_when_every_choice_has_finished() -> None:
    decoder = AnswerDecoder(choices=2)
    assert not decoder.ended
    chunk(decoder, choices=[{"index": 1, "delta": {}, "finish_reason": "stop"}])
    assert not decoder.ended
    chunk(decoder, choices=[{"index": 1, "delta": {}, "finish_reason": "stop"}])
    assert not decoder.ended, "the same choice twice"
    chunk(decoder, choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
    assert decoder.ended


def test_an_answer_has_ended_when_the_upstream_says_so() -> None:
    decoder = AnswerDecoder()
    assert list(decoder.stream_event(SseEvent(b"[DONE]"))) == []
    assert decoder.ended


def test_a_stream_that_was_cut_off_has_not_ended() -> None:
    whole = transcript(PROTOCOL, "llama_cpp.sse")
    finish = whole.index(b"\n\n", whole.index(b'"finish_reason":"stop"')) + 2
    assert not read_stream([whole[: finish - 1]])[1]
    assert read_stream([whole[:finish]])[1]


def test_a_body_without_a_finish_reason_has_not_ended() -> None:
    decoder = AnswerDecoder()
    body = b'{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":null}]}'
    assert list(decoder.body(body)) == [TextDelta(0, "x")]
    assert not decoder.ended


# -- what upstreams do ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("function_call", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("eos_token", FinishReason.STOP),
    ],
)
def test_finish_reasons(said: str, meant: FinishReason) -> None:
    assert one(choices=[{"index": 0, "finish_reason": said}]) == [ChoiceFinished(0, meant)]


def test_an_empty_finish_reason_is_none() -> None:
    decoder = AnswerDecoder()
    choices = [{"index": 0, "delta": {"content": "x"}, "finish_reason": ""}]
    assert chunk(decoder, choices=choices) == [TextDelta(0, "x")]
    assert not decoder.ended


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_has_two_names(name: str) -> None:
    assert one(choices=delta(**{name: "hm"})) == [ReasoningDelta(0, "hm")]


def test_reasoning_under_both_names_is_said_once() -> None:
    assert one(choices=delta(reasoning="hm", reasoning_content="hm")) == [ReasoningDelta(0, "hm")]


@pytest.mark.parametrize(
    "fields",
    [
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": ""},
        {"content": None, "refusal": "", "reasoning": "", "tool_calls": []},
        {},
    ],
)
def test_what_is_empty_says_nothing(fields: dict[str, Any]) -> None:
    assert one(choices=delta(**fields)) == []


def test_log_probabilities_without_text_are_kept() -> None:
    choices = [
        {
            "index": 0,
            "delta": {"content": ""},
            "logprobs": {"content": [{"token": "\ufffd", "logprob": -1, "bytes": [240]}]},
        }
    ]
    assert one(choices=choices) == [TextDelta(0, "", (TokenLogprob("\ufffd", -1.0, [240]),))]


def test_everything_in_one_delta() -> None:
    assert one(
        choices=delta(
            reasoning="hm",
            content="a",
            refusal="b",
            tool_calls=[{"id": "1", "function": {"name": "f", "arguments": None}}, {"id": "2"}],
        )
    ) == [
        ReasoningDelta(0, "hm"),
        TextDelta(0, "a"),
        RefusalDelta(0, "b"),
        ToolCallDelta(0, 0, "", "1", "f"),
        ToolCallDelta(0, 1, "", "2", None),
    ]


def test_counts_that_name_no_choice_are_not_used() -> None:
    timings = {"prompt_n": 1, "cache_n": 0, "predicted_n": 5}
    assert one(choices=[], timings=timings) == []
    assert one(choices=delta(), timings=timings) == [Counted(0, 1, 0, 5)]


@pytest.mark.parametrize(
    "fields",
    [
        {"object": "chat.completion.chunk"},
        {"choices": []},
        {"choices": [], "usage": None, "error": None},
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    ],
)
def test_chunks_that_say_nothing(fields: dict[str, Any]) -> None:
    assert one(**fields) == []


# -- usage ----------------------------------------------------------------------------------------


def test_usage_with_every_detail() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    assert one(choices=[], usage=usage) == [UsageReported(Usage(10, 5, 4, 3, 2))]


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"prompt_tokens_details": None, "completion_tokens_details": None},
        {"prompt_tokens_details": {}, "completion_tokens_details": {}},
        {
            "prompt_tokens_details": {"cached_tokens": None, "cache_write_tokens": None},
            "completion_tokens_details": {"reasoning_tokens": None},
        },
    ],
)
def test_usage_without_details(details: dict[str, Any]) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5} | details
    assert one(choices=[], usage=usage) == [UsageReported(Usage(10, 5))]


@pytest.mark.parametrize(
    "usage",
    [
        {},
        {"prompt_tokens": 10},
        {"completion_tokens": 10},
        {"prompt_tokens": 10, "completion_tokens": None},
        {"total_tokens": 10},
    ],
)
def test_half_a_report_is_none(usage: dict[str, Any]) -> None:
    assert one(choices=delta(content="x"), usage=usage) == [TextDelta(0, "x")]


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": -1},
        {"prompt_tokens": 1_000_000_001, "completion_tokens": 1},
        {"prompt_tokens": 1, "completion_tokens": 10**30},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"prompt_tokens": "1", "completion_tokens": 1},
        {
            "prompt_tokens": 1,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
        {
            "prompt_tokens": 3,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 2},
        },
        {
            "prompt_tokens": 3,
            "completion_tokens": 1,
            "completion_tokens_details": {"reasoning_tokens": -1},
        },
    ],
)
def test_impossible_usage_is_malformed(usage: dict[str, Any]) -> None:
    with pytest.raises(UpstreamMalformed):
        one(choices=[], usage=usage)


@pytest.mark.parametrize("name", ["prompt_n", "cache_n", "predicted_n"])
@pytest.mark.parametrize("count", [-1, 10**10])
def test_impossible_counts_are_malformed(name: str, count: int) -> None:
    timings = {"prompt_n": 1, "cache_n": 1, "predicted_n": 1, name: count}
    with pytest.raises(UpstreamMalformed):
        one(choices=delta(), timings=timings)


# -- malformed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b"DONE",
        b'{"choices":{}}',
        b'{"choices":[5]}',
        b'{"choices":[{"index":"0"}]}',
        b'{"choices":[{"delta":{"content":5}}]}',
        b'{"choices":[{"delta":{"content":"\xff"}}]}',
        b'{"choices":[{"delta":{"content":"\\ud800"}}]}',
        b'{"choices":[{"delta":{"tool_calls":[5]}}]}',
        b'{"choices":[{"delta":{},"logprobs":{"content":[{"token":"x"}]}}]}',
        b'{"choices":[{"delta":{},"logprobs":{"content":[{"token":"x","logprob":1e999}]}}]}',
        b'{"choices":' + b"[" * 10_000,
        b'{"zzz":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
)
def test_malformed_answers(data: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().stream_event(SseEvent(data))
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().body(data)


@pytest.mark.parametrize("body", [b"{}", b'{"choices":[]}', b'{"object":"error","message":"x"}'])
def test_a_body_without_choices_is_malformed(body: bytes) -> None:
    with pytest.raises(UpstreamMalformed, match="without choices"):
        AnswerDecoder().body(body)


def test_a_body_may_be_an_error_under_a_good_status() -> None:
    with pytest.raises(UpstreamFault, match="The model's provider failed: no GPU"):
        AnswerDecoder().body(b'{"error":{"message":"no GPU"}}')


@given(st.binary(max_size=100))
def test_any_bytes_are_events_or_a_fault(data: bytes) -> None:
    decoder = AnswerDecoder()
    try:
        assert list(decoder.stream_event(SseEvent(data))) == []
    except Fault as fault:
        assert isinstance(fault, UpstreamFault)  # noqa: PT017 - both are right


def call(number: int, tokens: int) -> dict[str, Any]:
    piece = {"index": number, "id": f"c{number}", "function": {"name": "f", "arguments": "{}"}}
    return {
        "choices": [{"index": 0, "delta": {"tool_calls": [piece]}}],
        "timings": {"prompt_n": 5, "predicted_n": tokens},
    }


def test_a_second_call_is_cut_where_one_was_asked_for() -> None:
    decoder = AnswerDecoder(single_call=True)
    first = chunk(decoder, **call(0, 9))
    assert ToolCallDelta(0, 0, "{}", "c0", "f") in first
    assert not decoder.has_enough
    assert chunk(decoder, **call(1, 12)) == [
        ChoiceFinished(0, FinishReason.TOOL_CALLS),
        Counted(0, 5, 0, 12),
    ]
    assert decoder.has_enough
    assert decoder.ended
    assert chunk(decoder, **call(1, 13)) == [Counted(0, 5, 0, 13)]


def test_several_calls_are_kept_where_they_may_come() -> None:
    decoder = AnswerDecoder()
    for number in range(2):
        chunk(decoder, **call(number, 9))
    assert not decoder.has_enough
