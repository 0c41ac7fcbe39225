"""From an upstream's bytes to events, by golden transcripts and however the network cuts them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.feeding import cuts, dressed, sse_events_cut_anyhow, transcript

from bandari.domain.chat import Seal
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    ReasoningDelta,
    ReasoningSealed,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
    TopLogprob,
    UsageReported,
)
from bandari.domain.faults import (
    Fault,
    UpstreamFault,
    UpstreamInvalidRequest,
    UpstreamMalformed,
    UpstreamOverloaded,
)
from bandari.domain.usage import Usage
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.decode_answer import AnswerDecoder
from bandari.wire.sse import SseDecoder, SseEvent

USAGE = UsageReported(Usage(75, 30, cached_tokens=64, cache_write_tokens=5, reasoning_tokens=20))
STOP = ChoiceFinished(0, FinishReason.STOP)
CALLED = ChoiceFinished(0, FinishReason.TOOL_CALLS)
CUT = ChoiceFinished(0, FinishReason.LENGTH)

HI = TokenLogprob("Hi", -0.25, [72, 105], (TopLogprob("Hi", -0.25, [72, 105]),))


def read(events: Iterable[SseEvent], decoder: AnswerDecoder | None = None) -> list[Event]:
    decoder = decoder or AnswerDecoder(top_logprobs=1)
    return [event for sse in events for event in decoder.stream_event(sse)]


def told(kind: str, **fields: Any) -> SseEvent:
    return SseEvent(json.dumps({"type": kind, **fields}).encode(), kind)


def tell(*events: SseEvent, **options: Any) -> list[Event]:
    return read(events, AnswerDecoder(**options))


def added(index: int | None = None, **item: Any) -> SseEvent:
    place = {} if index is None else {"output_index": index}
    return told("response.output_item.added", item=item, **place)


def done(index: int | None = None, **item: Any) -> SseEvent:
    place = {} if index is None else {"output_index": index}
    return told("response.output_item.done", item=item, **place)


def text(piece: str, **place: Any) -> SseEvent:
    return told("response.output_text.delta", delta=piece, **place)


def completed(**response: Any) -> SseEvent:
    return told("response.completed", response={"status": "completed", **response})


# -- golden transcripts ---------------------------------------------------------------------------

STREAMS: list[tuple[str, list[Event]]] = [
    (
        "llama_cpp.sse",
        [
            *(TextDelta(0, piece) for piece in ("Habari", "!", " N", "ik", "us", "aid")),
            STOP,
            UsageReported(Usage(input_tokens=9, output_tokens=6)),
        ],
    ),
    (
        "llama_cpp_timings.sse",
        [
            TextDelta(0, "Habari"),
            Counted(0, input_tokens=9, cached_tokens=0, output_tokens=1),
            TextDelta(0, "!"),
            Counted(0, input_tokens=9, cached_tokens=0, output_tokens=2),
            TextDelta(0, " N"),
            Counted(0, input_tokens=9, cached_tokens=0, output_tokens=3),
            STOP,
            UsageReported(Usage(input_tokens=9, output_tokens=3)),
        ],
    ),
    (
        "llama_cpp_tools.sse",
        [
            *(
                TextDelta(0, piece)
                for piece in (
                    *("I", " am", " Bandari", " Tiny", ",", " a", " small", " demonstration"),
                    *(" model", " that", " comes", " with", " Bandari", ".", "\n"),
                )
            ),
            ToolCallDelta(0, 0, "", "call_6BgW7z0D6jtqcL1sOcGpHY6s5Q6o77PX", "get_weather"),
            *(
                ToolCallDelta(0, 0, piece)
                for piece in ("{", '"', "city", '":', ' "', "N", "airo", "bi", '"}')
            ),
            CALLED,
            UsageReported(Usage(input_tokens=141, output_tokens=47, cached_tokens=1)),
        ],
    ),
    (
        "openai_reasoning.sse",
        [
            ReasoningDelta(0, "**Greet"),
            ReasoningDelta(0, "ing**"),
            ReasoningDelta(0, "\n\nSay hello."),
            ReasoningSealed(0, Seal(PROTOCOL, "gAAAAABo-whole", is_thought=True)),
            TextDelta(0, "Hello"),
            TextDelta(0, "! 🌍"),
            STOP,
            USAGE,
        ],
    ),
    (
        "openai_calls.sse",
        [
            ToolCallDelta(0, 0, "", "call_A", "get_weather"),
            ToolCallDelta(0, 0, '{"city"'),
            ToolCallDelta(0, 0, ':"Nairobi"}'),
            ToolCallDelta(0, 1, "", "call_B", "get_time"),
            ToolCallDelta(0, 1, "{}"),
            CALLED,
            USAGE,
        ],
    ),
    (
        "openai_refusal.sse",
        [RefusalDelta(0, "I can't"), RefusalDelta(0, " help."), STOP, USAGE],
    ),
    ("openai_logprobs.sse", [TextDelta(0, "Hi", (HI,)), STOP, USAGE]),
    ("openai_incomplete.sse", [TextDelta(0, "Once"), TextDelta(0, " upon"), CUT, USAGE]),
    (
        "openai_filtered.sse",
        [TextDelta(0, "Once"), ChoiceFinished(0, FinishReason.CONTENT_FILTER), USAGE],
    ),
    ("vllm_reasoning.sse", [ReasoningDelta(0, "Greet."), TextDelta(0, "Jambo"), CUT, USAGE]),
    (
        "only_whole_items.sse",
        [
            ReasoningDelta(0, "Ask the clock."),
            TextDelta(0, "Jambo"),
            ToolCallDelta(0, 0, "", "call_B", "get_time"),
            ToolCallDelta(0, 0, "{}"),
            CALLED,
            USAGE,
        ],
    ),
]


@pytest.mark.parametrize(("name", "expected"), STREAMS)
def test_a_transcript_says_the_same_however_it_is_cut(name: str, expected: list[Event]) -> None:
    data = transcript(PROTOCOL, name)
    decoder = AnswerDecoder(top_logprobs=1)
    assert read(sse_events_cut_anyhow(data), decoder) == expected
    assert decoder.ended
    assert decoder.is_over
    assert not decoder.has_enough


@pytest.mark.parametrize(("name", "expected"), STREAMS)
def test_a_transcript_says_the_same_however_it_is_dressed(name: str, expected: list[Event]) -> None:
    for data in dressed(transcript(PROTOCOL, name)):
        for pieces in ([data], [data[index : index + 1] for index in range(len(data))]):
            sse = SseDecoder()
            assert read(event for piece in pieces for event in sse.feed(piece)) == expected


@pytest.mark.parametrize(
    ("name", "fault", "message"),
    [
        (
            "openai_failed.sse",
            UpstreamFault,
            "The model's provider failed: The model failed to generate a response.",
        ),
        (
            "openai_error.sse",
            UpstreamOverloaded,
            "The model's provider is overloaded or limits our requests.",
        ),
        (
            "open_responses_error.sse",
            UpstreamFault,
            "The model's provider failed: The model is out of memory.",
        ),
    ],
)
def test_an_error_in_a_stream_is_raised_however_it_is_cut(
    name: str, fault: type[Fault], message: str
) -> None:
    for pieces in cuts(transcript(PROTOCOL, name)):
        sse, decoder = SseDecoder(), AnswerDecoder()
        with pytest.raises(fault) as caught:
            read((event for piece in pieces for event in sse.feed(piece)), decoder)
        assert type(caught.value) is fault
        assert caught.value.message == message
        assert not decoder.ended


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "llama_cpp.json",
            [
                TextDelta(0, "Habari! Nikusaid"),
                STOP,
                UsageReported(Usage(input_tokens=9, output_tokens=6, cached_tokens=8)),
            ],
        ),
        (
            "llama_cpp_tools.json",
            [
                TextDelta(
                    0, "I am Bandari Tiny, a small demonstration model that comes with Bandari.\n"
                ),
                ToolCallDelta(0, 0, "", "call_fxH14FHnPqpRKkfHyN44AwZ3nOjtZTe9", "get_weather"),
                ToolCallDelta(0, 0, '{"city": "Nairobi"}'),
                CALLED,
                UsageReported(Usage(input_tokens=141, output_tokens=47, cached_tokens=140)),
            ],
        ),
        (
            "openai.json",
            [
                ReasoningDelta(0, "**Greeting**"),
                ReasoningDelta(0, "\n\nSay hello."),
                ReasoningSealed(0, Seal(PROTOCOL, "gAAAAABo-whole", is_thought=True)),
                TextDelta(0, "Hi", (HI,)),
                RefusalDelta(0, "No more."),
                ToolCallDelta(0, 0, "", "call_A", "get_weather"),
                ToolCallDelta(0, 0, '{"city":"Nairobi"}'),
                ToolCallDelta(0, 1, "", "call_B", "get_time"),
                ToolCallDelta(0, 1, "{}"),
                CALLED,
                USAGE,
            ],
        ),
        ("openai_incomplete.json", [TextDelta(0, "Jambo"), CUT, USAGE]),
    ],
)
def test_a_whole_answer(name: str, expected: list[Event]) -> None:
    decoder = AnswerDecoder(top_logprobs=1)
    assert list(decoder.body(transcript(PROTOCOL, name))) == expected
    assert decoder.ended


def test_a_whole_response_that_failed() -> None:
    decoder = AnswerDecoder()
    with pytest.raises(UpstreamInvalidRequest, match="The image cannot be fetched"):
        decoder.body(transcript(PROTOCOL, "openai_failed.json"))
    assert not decoder.ended


# -- the end --------------------------------------------------------------------------------------


def test_a_stream_that_was_cut_off_has_not_ended() -> None:
    events = sse_events_cut_anyhow(transcript(PROTOCOL, "openai_calls.sse"))
    decoder = AnswerDecoder()
    read(events[:-1], decoder)
    assert not decoder.ended
    read(events[-1:], decoder)
    assert decoder.ended


def test_nothing_is_read_after_the_end() -> None:
    decoder = AnswerDecoder()
    assert read([completed()], decoder) == [STOP]
    assert read([text("more"), completed(), told("error", message="late")], decoder) == []


def test_done_from_habit_is_no_end_and_harms_nothing() -> None:
    decoder = AnswerDecoder()
    assert read([SseEvent(b"[DONE]")], decoder) == []
    assert not decoder.ended
    assert read([completed(), SseEvent(b"[DONE]")], decoder) == [STOP]


@pytest.mark.parametrize(
    ("kind", "response", "reason"),
    [
        ("completed", {"status": "completed"}, FinishReason.STOP),
        ("completed", {}, FinishReason.STOP),
        ("completed", {"incomplete_details": None}, FinishReason.STOP),
        ("completed", {"status": "incomplete"}, FinishReason.LENGTH),
        ("incomplete", {}, FinishReason.LENGTH),
        ("incomplete", {"incomplete_details": {"reason": None}}, FinishReason.LENGTH),
        ("incomplete", {"incomplete_details": {"reason": "steered"}}, FinishReason.LENGTH),
        (
            "incomplete",
            {"incomplete_details": {"reason": "content_filter"}},
            FinishReason.CONTENT_FILTER,
        ),
    ],
)
def test_finish_reasons(kind: str, response: dict[str, Any], reason: FinishReason) -> None:
    assert tell(told(f"response.{kind}", response=response)) == [ChoiceFinished(0, reason)]


def test_an_answer_with_a_call_that_was_cut_short_was_cut_short() -> None:
    call = added(0, type="function_call", call_id="c", name="f", arguments="")
    end = told("response.incomplete", response={"status": "incomplete"})
    assert tell(call, end) == [ToolCallDelta(0, 0, "", "c", "f"), CUT]


@pytest.mark.parametrize("output", [{}, {"output": []}])
def test_a_body_that_failed_without_a_reason_is_a_fault_still(output: dict[str, Any]) -> None:
    body = json.dumps({"status": "failed", "error": None, **output}).encode()
    with pytest.raises(UpstreamFault) as caught:
        AnswerDecoder().body(body)
    assert type(caught.value) is UpstreamFault


@pytest.mark.parametrize("kind", ["completed", "failed"])
def test_a_response_that_failed_is_a_fault_whatever_its_event_says(kind: str) -> None:
    response = {"status": "failed", "error": {"code": "server_error", "message": "no GPU"}}
    with pytest.raises(UpstreamFault, match="The model's provider failed: no GPU"):
        tell(told(f"response.{kind}", response=response))


@pytest.mark.parametrize("response", [{"error": None}, {}])
def test_a_failure_without_a_reason_is_a_fault_still(response: dict[str, Any]) -> None:
    with pytest.raises(UpstreamFault) as caught:
        tell(told("response.failed", response=response))
    assert caught.value.message == "The model's provider failed."


@pytest.mark.parametrize(
    "event",
    [
        SseEvent(b'{"error":{"message":"no GPU"}}', "error"),
        SseEvent(b'{"error":{"message":"no GPU"}}'),
        SseEvent(b'{"error":"no GPU"}'),
        SseEvent(b'{"type":"error","message":"no GPU"}'),
        SseEvent(b'{"type":"server_error","code":500,"message":"no GPU"}', "error"),
        SseEvent(b'{"type":"server_error","item":5,"delta":5,"message":"no GPU"}', "error"),
    ],
)
def test_errors_have_many_shapes(event: SseEvent) -> None:
    with pytest.raises(UpstreamFault, match="The model's provider failed: no GPU"):
        tell(event)


# -- one text, once -------------------------------------------------------------------------------

PLACE = {"item_id": "i", "output_index": 0}


@pytest.mark.parametrize(
    ("kind", "pieces", "whole", "said"),
    [
        ("output_text", {"delta": "a"}, {"text": "a"}, TextDelta(0, "a")),
        ("refusal", {"delta": "a"}, {"refusal": "a"}, RefusalDelta(0, "a")),
        ("reasoning_summary_text", {"delta": "a"}, {"text": "a"}, ReasoningDelta(0, "a")),
        ("reasoning_text", {"delta": "a"}, {"text": "a"}, ReasoningDelta(0, "a")),
        ("reasoning", {"delta": "a"}, {"text": "a"}, ReasoningDelta(0, "a")),
    ],
)
def test_a_text_is_taken_from_its_pieces_or_from_its_end(
    kind: str, pieces: dict[str, Any], whole: dict[str, Any], said: Event
) -> None:
    piece = told(f"response.{kind}.delta", **PLACE, **pieces)
    end = told(f"response.{kind}.done", **PLACE, **whole)
    empty = told(f"response.{kind}.delta", **PLACE, delta="")
    assert tell(piece) == [said]
    assert tell(piece, end) == [said]
    assert tell(end) == [said]
    assert tell(empty, end, end) == [said]
    assert tell(empty, told(f"response.{kind}.done", **PLACE)) == []


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ({"type": "message", "content": [{"type": "output_text", "text": "a"}]}, TextDelta(0, "a")),
        (
            {"type": "message", "content": [{"type": "refusal", "refusal": "a"}]},
            RefusalDelta(0, "a"),
        ),
        (
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}]},
            ReasoningDelta(0, "a"),
        ),
        (
            {"type": "reasoning", "summary": [], "content": [{"text": "a"}]},
            ReasoningDelta(0, "a"),
        ),
    ],
)
def test_an_item_that_is_only_told_whole_is_read_once(item: dict[str, Any], said: Event) -> None:
    whole = done(0, id="i", **item)
    assert tell(added(0, id="i", type=item["type"]), whole) == [said]
    assert tell(whole, completed(output=[{"id": "i", **item}])) == [said, STOP]
    assert tell(completed(output=[{"id": "i", **item}])) == [said, STOP]


def test_an_index_may_be_null() -> None:
    nulls = {"output_index": None, "item_id": None, "content_index": None}
    end = told("response.output_text.done", text="a", **nulls)
    assert tell(text("a", **nulls), end) == [TextDelta(0, "a")]


def test_two_parts_of_a_message_are_two_texts() -> None:
    ends = [told("response.output_text.done", **PLACE, content_index=n, text="a") for n in (0, 1)]
    assert tell(*ends) == [TextDelta(0, "a"), TextDelta(0, "a")]


def test_arguments_are_taken_once() -> None:
    call = {"id": "i", "type": "function_call", "call_id": "c", "name": "f"}
    begun = added(0, **call, arguments="")
    piece = told("response.function_call_arguments.delta", **PLACE, delta="[]")
    end = told("response.function_call_arguments.done", **PLACE, arguments="[]")
    whole = done(0, **call, arguments="[]")
    expected = [ToolCallDelta(0, 0, "", "c", "f"), ToolCallDelta(0, 0, "[]")]
    assert tell(begun, piece, end, whole) == expected
    assert tell(begun, end, whole) == expected
    empty = told("response.function_call_arguments.delta", **PLACE, delta="")
    assert tell(begun, empty, end, whole) == expected
    assert tell(begun, whole) == expected
    assert tell(whole) == expected
    assert tell(begun, piece, whole, completed()) == [*expected, CALLED]


@pytest.mark.parametrize("arguments", ["", None])
def test_a_call_without_arguments_has_an_empty_object(arguments: str | None) -> None:
    call = {"id": "i", "type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
    expected = [ToolCallDelta(0, 0, "", "c", "f"), ToolCallDelta(0, 0, "{}")]
    end = told("response.function_call_arguments.done", **PLACE, arguments=arguments)
    assert tell(added(0, **call), end, done(0, **call)) == expected
    assert tell(added(0, **call), end, completed()) == [*expected, CALLED]


def test_a_call_without_a_call_id_has_the_id_of_its_item() -> None:
    call = added(id="fc_1", type="function_call", name="f")
    assert tell(call) == [ToolCallDelta(0, 0, "", "fc_1", "f")]


# -- which item -----------------------------------------------------------------------------------


def test_an_index_counts_for_more_than_an_id() -> None:
    """Some proxies give an item a new id in every event."""
    call = {"type": "function_call", "call_id": "c", "name": "f"}
    events = [
        added(0, id="x1", **call),
        told("response.function_call_arguments.delta", output_index=0, item_id="x2", delta="{}"),
        done(0, id="x3", arguments="{}", **call),
    ]
    assert tell(*events) == [ToolCallDelta(0, 0, "", "c", "f"), ToolCallDelta(0, 0, "{}")]
    same = [added(n, id="x", type="function_call", call_id=str(n), name="f") for n in (0, 1)]
    piece = told("response.function_call_arguments.delta", output_index=0, item_id="x", delta="[]")
    assert tell(*same, piece)[-1] == ToolCallDelta(0, 0, "[]")


def test_an_index_that_is_used_again_is_a_new_item() -> None:
    """Some servers give every item the index 0."""
    calls = [{"id": f"fc_{n}", "type": "function_call", "call_id": n, "name": "f"} for n in "ab"]
    events = [
        event
        for call in calls
        for event in (
            added(0, **call),
            told("response.function_call_arguments.delta", output_index=0, delta=call["call_id"]),
            done(0, **call, arguments=call["call_id"]),
        )
    ]
    assert tell(*events) == [
        ToolCallDelta(0, 0, "", "a", "f"),
        ToolCallDelta(0, 0, "a"),
        ToolCallDelta(0, 1, "", "b", "f"),
        ToolCallDelta(0, 1, "b"),
    ]


def test_pieces_of_two_calls_may_come_interleaved() -> None:
    events = [
        *(added(n, id=f"fc_{n}", type="function_call", call_id=f"c{n}", name="f") for n in (0, 1)),
        told("response.function_call_arguments.delta", item_id="fc_0", delta="0"),
        told("response.function_call_arguments.delta", output_index=1, delta="1"),
        told("response.function_call_arguments.delta", output_index=0, delta="0"),
    ]
    assert tell(*events)[2:] == [
        ToolCallDelta(0, 0, "0"),
        ToolCallDelta(0, 1, "1"),
        ToolCallDelta(0, 0, "0"),
    ]


def test_an_event_that_names_no_item_is_about_the_last() -> None:
    events = [
        added(type="message"),
        text("a"),
        added(type="function_call", call_id="c", name="f"),
        told("response.function_call_arguments.delta", delta="[]"),
        done(type="function_call", call_id="c", name="f", arguments="[]"),
    ]
    assert tell(*events) == [
        TextDelta(0, "a"),
        ToolCallDelta(0, 0, "", "c", "f"),
        ToolCallDelta(0, 0, "[]"),
    ]


def test_text_of_an_item_that_was_not_announced_is_read() -> None:
    assert tell(text("a", **PLACE), text("b")) == [TextDelta(0, "a"), TextDelta(0, "b")]


def test_arguments_of_no_call_are_malformed() -> None:
    for kind, field in (("delta", "delta"), ("done", "arguments")):
        with pytest.raises(UpstreamMalformed, match="arguments of no tool call"):
            tell(told(f"response.function_call_arguments.{kind}", **PLACE, **{field: "{}"}))


# -- thoughts -------------------------------------------------------------------------------------


def thought(kind: str, piece: str, part: int = 0, index: int = 0) -> SseEvent:
    numbered = {"summary_index" if "summary" in kind else "content_index": part}
    return told(f"response.{kind}.delta", output_index=index, delta=piece, **numbered)


@pytest.mark.parametrize("first", ["reasoning_summary_text", "reasoning_text"])
def test_a_thought_that_is_told_twice_is_read_as_it_came_first(first: str) -> None:
    second = {"reasoning_summary_text", "reasoning_text"} - {first}
    events = [thought(first, "a"), thought(*second, "A"), thought(first, "b")]
    assert tell(*events) == [ReasoningDelta(0, "a"), ReasoningDelta(0, "b")]
    other = [thought(*second, "B", index=1)]
    assert tell(*events, *other)[-1] == ReasoningDelta(0, "B"), "another item may choose anew"


def test_parts_of_a_summary_are_set_apart() -> None:
    kind = "reasoning_summary_text"
    parts = [thought(kind, "a"), thought(kind, "b"), thought(kind, "c", 1), thought(kind, "d", 1)]
    pieces = ["a", "b", "\n\nc", "d"]
    assert tell(*parts) == [ReasoningDelta(0, piece) for piece in pieces]


def test_a_seal_without_text_and_text_without_a_seal() -> None:
    sealed = done(0, type="reasoning", summary=[], encrypted_content="xyz")
    seal = ReasoningSealed(0, Seal(PROTOCOL, "xyz", is_thought=True))
    assert tell(sealed) == [seal]
    plain = done(1, type="reasoning", summary=[{"text": "hm"}], encrypted_content="")
    assert tell(plain) == [ReasoningDelta(0, "hm")]


def test_a_seal_of_another_protocol_is_unwrapped() -> None:
    sealed = done(0, type="reasoning", encrypted_content="bandari:messages:signature:a:b")
    assert tell(sealed) == [ReasoningSealed(0, Seal("messages", "a:b"))]


def test_a_thought_that_only_begins_has_no_seal() -> None:
    assert tell(added(0, type="reasoning", summary=[], encrypted_content="half")) == []


# -- log-probabilities ----------------------------------------------------------------------------


def test_no_more_alternatives_than_were_asked_for() -> None:
    tops = [{"token": token, "logprob": -1} for token in "abc"]
    entry = {"token": "a", "logprob": -1, "top_logprobs": tops}
    for count in range(4):
        (event,) = tell(text("a", logprobs=[entry]), top_logprobs=count)
        tokens = [top.token for top in event.logprobs[0].top]  # type: ignore[union-attr]
        assert tokens == ["a", "b", "c"][:count]


def test_log_probabilities_may_lack_almost_everything() -> None:
    entries = [
        {"token": "a", "logprob": -1, "bytes": [], "top_logprobs": None},
        {"token": "b", "logprob": -1, "top_logprobs": [{"token": "c"}, {"logprob": -1}, {}]},
    ]
    assert tell(text("", logprobs=entries), top_logprobs=5) == [
        TextDelta(0, "", (TokenLogprob("a", -1.0), TokenLogprob("b", -1.0)))
    ]


# -- usage and counts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"input_tokens": 10},
        {"output_tokens": 10},
        {"input_tokens": 10, "output_tokens": None},
        {"total_tokens": 10},
    ],
)
def test_half_a_report_is_none(usage: dict[str, Any] | None) -> None:
    assert tell(completed(usage=usage)) == [STOP]


@pytest.mark.parametrize(
    "details",
    [
        {},
        {"input_tokens_details": None, "output_tokens_details": None},
        {"input_tokens_details": {}, "output_tokens_details": {}},
        {
            "input_tokens_details": {"cached_tokens": None, "cache_write_tokens": None},
            "output_tokens_details": {"reasoning_tokens": None},
        },
    ],
)
def test_usage_without_details(details: dict[str, Any]) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5} | details
    assert tell(completed(usage=usage)) == [STOP, UsageReported(Usage(10, 5))]


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -1, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": -1},
        {"input_tokens": 1_000_000_001, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 10**30},
        {"input_tokens": 1.5, "output_tokens": 1},
        {"input_tokens": "1", "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 2}},
        {
            "input_tokens": 3,
            "output_tokens": 1,
            "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 2},
        },
        {"input_tokens": 3, "output_tokens": 1, "output_tokens_details": {"reasoning_tokens": -1}},
    ],
)
def test_impossible_usage_is_malformed(usage: dict[str, Any]) -> None:
    with pytest.raises(UpstreamMalformed):
        tell(completed(usage=usage))
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().body(json.dumps({"output": [], "usage": usage}).encode())


def test_a_body_may_have_counts_too() -> None:
    body = {"output": [], "timings": {"prompt_n": 2, "cache_n": 3, "predicted_n": 4}}
    assert list(AnswerDecoder().body(json.dumps(body).encode())) == [STOP, Counted(0, 5, 3, 4)]


@pytest.mark.parametrize("name", ["prompt_n", "cache_n", "predicted_n"])
@pytest.mark.parametrize("count", [-1, 10**10])
def test_impossible_counts_are_malformed(name: str, count: int) -> None:
    with pytest.raises(UpstreamMalformed):
        tell(text("a", timings={name: count}))


# -- one call only --------------------------------------------------------------------------------


def call(number: int, **more: Any) -> dict[str, Any]:
    return {"id": f"fc_{number}", "type": "function_call", "call_id": f"c{number}", "name": "f"}


def test_a_second_call_is_cut_where_one_was_asked_for() -> None:
    decoder = AnswerDecoder(single_call=True)
    first = read([added(0, **call(0)), done(0, **call(0), arguments="[]")], decoder)
    assert first == [ToolCallDelta(0, 0, "", "c0", "f"), ToolCallDelta(0, 0, "[]")]
    assert not decoder.has_enough
    assert not decoder.ended
    assert read([added(1, **call(1))], decoder) == [CALLED]
    assert decoder.has_enough
    assert decoder.ended
    assert not decoder.is_over
    late = [
        told("response.function_call_arguments.delta", output_index=1, delta="{}"),
        done(1, **call(1), arguments="{}"),
        text("more"),
    ]
    assert read(late, decoder) == []
    usage = {"input_tokens": 10, "output_tokens": 5}
    assert read([completed(usage=usage)], decoder) == [UsageReported(Usage(10, 5))]
    assert decoder.is_over


def test_counts_are_read_beyond_the_cut() -> None:
    decoder = AnswerDecoder(single_call=True)
    read([added(n, **call(n)) for n in (0, 1)], decoder)
    timings = {"prompt_n": 5, "predicted_n": 9}
    assert read([text("a", timings=timings)], decoder) == [Counted(0, 5, 0, 9)]


def test_a_call_without_arguments_is_completed_before_the_cut() -> None:
    events = tell(*(added(n, **call(n)) for n in (0, 1)), single_call=True)
    assert events == [ToolCallDelta(0, 0, "", "c0", "f"), ToolCallDelta(0, 0, "{}"), CALLED]


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_body_is_cut_at_its_second_call(status: str) -> None:
    calls = [{**call(n), "arguments": "[]"} for n in (0, 1)]
    message = {"type": "message", "content": [{"type": "output_text", "text": "a"}]}
    body = json.dumps({"status": status, "output": [*calls, message]}).encode()
    decoder = AnswerDecoder(single_call=True)
    assert list(decoder.body(body)) == [
        ToolCallDelta(0, 0, "", "c0", "f"),
        ToolCallDelta(0, 0, "[]"),
        CALLED,
    ]
    assert decoder.has_enough


def test_several_calls_are_kept_where_they_may_come() -> None:
    decoder = AnswerDecoder()
    read([added(n, **call(n)) for n in (0, 1)], decoder)
    assert not decoder.has_enough


# -- malformed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        told("response.created", response={"status": "in_progress"}),
        told("response.output_item.added", output_index=0, item=None),
        told("response.output_item.done", output_index=0, item=None),
        added(0, type="web_search_call", arguments={}, content=5, summary="x", name=7),
        done(0, type="mcp_call", output=[], content=5, encrypted_content=[]),
        done(0, type="message", content=None),
        done(0, type="message", content=[{"type": "output_text"}, {"type": "refusal"}]),
        done(0, type="reasoning", summary=None),
        told("response.mcp_call.failed", error={"message": "theirs"}),
        told("response.some_new_thing", delta={}, item=5, output_index="0", logprobs=7),
        told("response.content_part.added", **PLACE, part={"type": "output_text", "text": ""}),
        SseEvent(b"{}"),
        SseEvent(b'{"error":null}'),
    ],
)
def test_events_that_say_nothing(event: SseEvent) -> None:
    assert tell(event) == []


def test_an_event_may_be_typed_by_its_name_alone() -> None:
    assert tell(SseEvent(b'{"delta":"a"}', "response.output_text.delta")) == [TextDelta(0, "a")]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"5",
        b"DONE",
        b'{"type":5}',
        b'{"type":null}',
        b'{"type":"response.output_text.delta","delta":5}',
        b'{"type":"response.output_text.delta","delta":"\xff"}',
        b'{"type":"response.output_text.delta","delta":"\\ud800"}',
        b'{"type":"response.output_text.delta","delta":"a","output_index":"0"}',
        b'{"type":"response.output_text.delta","delta":"a","logprobs":[{"token":"a"}]}',
        b'{"type":"response.output_text.delta","logprobs":[{"token":"x","logprob":1e999}]}',
        b'{"type":"response.output_text.done","logprobs":[{"token":"","logprob":0,"bytes":[-1]}]}',
        b'{"type":"response.output_text.done","logprobs":[{"token":"","logprob":0,"bytes":[256]}]}',
        b'{"type":"response.output_item.added"}',
        b'{"type":"response.output_item.added","item":5}',
        b'{"type":"response.output_item.added","item":{"type":5}}',
        b'{"type":"response.output_item.added","item":{"type":"function_call"}}',
        b'{"type":"response.output_item.done","item":{"type":"message","content":{}}}',
        b'{"type":"response.output_item.done","item":{"type":"reasoning","summary":[5]}}',
        b'{"type":"response.completed"}',
        b'{"type":"response.completed","response":null}',
        b'{"type":"response.completed","response":{"output":5}}',
        b'{"type":"response.completed","response":{"output":[5]}}',
        b'{"type":"response.completed","response":{"usage":[]}}',
        b'{"type":"response.completed","response":{"incomplete_details":"x"}}',
        b'{"type":' + b"[" * 10_000,
        b'{"item":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"zzz":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    ],
)
def test_malformed_events(data: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        tell(SseEvent(data))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"object":"error","message":"x"}',
        b'{"status":"completed"}',
        b'{"status":"completed","output":{}}',
        b'{"status":"completed","output":[5]}',
        b'{"status":"completed","output":[{"type":"function_call"}]}',
        b'{"status":5,"output":[]}',
        b'{"status":"queued","output":[]}',
        b'{"status":"in_progress","output":[]}',
        b'{"status":"cancelled","output":[]}',
        b'{"status":"completed","output":' + b"[" * 10_000,
        b'{"status":"completed","output":[{"type":"message","content":"\xff"}]}',
    ],
)
def test_malformed_bodies(body: bytes) -> None:
    decoder = AnswerDecoder()
    with pytest.raises(UpstreamMalformed):
        decoder.body(body)


def test_a_body_may_be_an_error_under_a_good_status() -> None:
    with pytest.raises(UpstreamFault, match="The model's provider failed: no GPU"):
        AnswerDecoder().body(b'{"error":{"message":"no GPU"}}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KINDS = (
    *("output_item.added", "output_item.done", "output_text.delta", "output_text.done"),
    *("refusal.delta", "refusal.done", "reasoning_summary_text.delta", "reasoning_text.done"),
    *("function_call_arguments.delta", "function_call_arguments.done", "new_thing"),
    *("completed", "incomplete", "failed"),
)
FIELDS = (
    *("item_id", "output_index", "content_index", "summary_index", "delta", "text", "refusal"),
    *("arguments", "logprobs", "item", "response", "error", "timings"),
)


@given(st.binary(max_size=100))
def test_any_bytes_are_events_or_a_fault(data: bytes) -> None:
    try:
        assert tell(SseEvent(data)) == []
    except Fault as fault:
        assert isinstance(fault, UpstreamFault)  # noqa: PT017 - both are right


@given(st.sampled_from(KINDS), st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_fields_are_events_or_a_fault(kind: str, fields: dict[str, Any]) -> None:
    data = json.dumps({"type": f"response.{kind}", **fields}).encode("utf-8", "replace")
    try:
        tell(SseEvent(data))
    except Fault as fault:
        assert isinstance(fault, UpstreamFault)  # noqa: PT017 - both are right


@given(JSON)
def test_any_body_is_events_or_a_fault(body: Any) -> None:
    whole = {"status": "completed", "output": body}
    for data in (body, whole):
        try:
            AnswerDecoder().body(json.dumps(data).encode())
        except Fault as fault:
            assert isinstance(fault, UpstreamFault)  # noqa: PT017 - both are right
