"""From what an upstream says to events; ``test_answer_transcripts`` has whole answers."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.chat import Seal
from bandari.domain.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    InputCounted,
    ReasoningDelta,
    ReasoningSealed,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.faults import (
    Fault,
    UpstreamFault,
    UpstreamMalformed,
)
from bandari.domain.usage import Usage
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.decode_answer import AnswerDecoder
from bandari.wire.sse import SseEvent


def told(decoder: AnswerDecoder, **fields: Any) -> list[Event]:
    return list(decoder.stream_event(SseEvent(json.dumps(fields).encode(), fields["type"])))


def all_told(*events: dict[str, Any], decoder: AnswerDecoder | None = None) -> list[Event]:
    decoder = decoder or AnswerDecoder()
    return [event for fields in events for event in told(decoder, **fields)]


def begin(block: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def end(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def start(**usage: Any) -> dict[str, Any]:
    return {"type": "message_start", "message": {"type": "message", "usage": usage}}


def stop(reason: str | None = "end_turn", sequence: str | None = None, **usage: Any) -> Any:
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return {"type": "message_delta", "delta": delta, **({"usage": usage} if usage else {})}


def call(number: int = 0, name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}, **fields}


def whole(*content: Any, reason: str | None = "end_turn", **fields: Any) -> bytes:
    answer = {"type": "message", "role": "assistant", "content": content, "stop_reason": reason}
    return json.dumps(answer | fields).encode()


def signature(data: str) -> ReasoningSealed:
    return ReasoningSealed(0, Seal(PROTOCOL, data))


STOP = ChoiceFinished(0, FinishReason.STOP)
CALLS = ChoiceFinished(0, FinishReason.TOOL_CALLS)

# -- the end --------------------------------------------------------------------------------------


def test_an_answer_has_ended_when_it_is_said_why_it_stopped() -> None:
    decoder = AnswerDecoder()
    all_told(start(), more(type="text_delta", text="a"), stop(None), decoder=decoder)
    assert not decoder.ended
    assert all_told(stop("end_turn"), decoder=decoder) == [STOP]
    assert (decoder.ended, decoder.is_over) == (True, False)
    assert told(decoder, type="message_stop") == []
    assert decoder.is_over


def test_an_answer_has_ended_with_its_last_event_in_any_case() -> None:
    decoder = AnswerDecoder()
    assert told(decoder, type="message_stop") == []
    assert decoder.ended


def test_nothing_is_read_after_the_last_event() -> None:
    decoder = AnswerDecoder()
    told(decoder, type="message_stop")
    assert list(decoder.stream_event(SseEvent(b"[DONE]"))) == []


def test_the_end_is_told_once() -> None:
    assert all_told(stop("end_turn"), stop("max_tokens")) == [STOP]


@pytest.mark.parametrize("reason", [None, ""])
def test_a_body_that_does_not_say_why_it_stopped_has_not_ended(reason: str | None) -> None:
    decoder = AnswerDecoder()
    assert list(decoder.body(whole({"type": "text", "text": "x"}, reason=reason))) == [
        TextDelta(0, "x")
    ]
    assert not decoder.ended


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("pause_turn", FinishReason.STOP),
        ("something_new", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("refusal", FinishReason.CONTENT_FILTER),
    ],
)
def test_stop_reasons(said: str, meant: FinishReason) -> None:
    assert all_told(stop(said)) == [ChoiceFinished(0, meant)]
    assert list(AnswerDecoder().body(whole(reason=said))) == [ChoiceFinished(0, meant)]


def test_the_stop_sequence_is_told() -> None:
    body = whole(reason="stop_sequence", stop_sequence="X")
    expected = [ChoiceFinished(0, FinishReason.STOP, "X")]
    assert all_told(stop("stop_sequence", "X")) == list(AnswerDecoder().body(body)) == expected


# -- blocks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ping"},
        {"type": "something_new", "delta": 5, "index": "x", "usage": [], "message": "hello"},
        {"type": "something_new", "error": {"message": "not ours"}},
        begin({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        begin({"type": "something_new", "text": 5, "input": [1]}),
        begin({"type": "something_new", "data": "x", "text": "x", "thinking": "x"}),
        more(type="citations_delta", citation={}),
        more(type="something_new", text=[5]),
        more(type="text_delta"),
        more(type="text_delta", text=None),
        more(type="thinking_delta", thinking=""),
        more(type="signature_delta", signature=""),
        more(type="input_json_delta", partial_json="{}"),
        begin({"type": "text"}),
        begin({"type": "thinking"}),
        begin({"type": "redacted_thinking"}),
        end(5),
        {"type": "message_delta"},
        {"type": "message_start"},
    ],
)
def test_what_says_nothing_to_us(event: dict[str, Any]) -> None:
    assert all_told(event) == []


def test_a_block_may_begin_with_its_content() -> None:
    assert all_told(
        begin({"type": "thinking", "thinking": "hm", "signature": "s"}),
        end(),
        begin({"type": "text", "text": "a"}, 1),
        end(1),
    ) == [ReasoningDelta(0, "hm"), signature("s"), TextDelta(0, "a")]


def test_the_last_signature_of_a_thought_counts() -> None:
    assert all_told(
        begin({"type": "thinking", "thinking": "", "signature": "a"}),
        more(type="signature_delta", signature="b"),
        more(type="signature_delta", signature=""),
        more(type="signature_delta"),
        end(),
    ) == [signature("b")]


def test_a_thought_that_was_not_signed_has_no_seal() -> None:
    assert all_told(
        begin({"type": "thinking", "thinking": "", "signature": ""}),
        more(type="thinking_delta", thinking="hm"),
        more(type="signature_delta", signature=""),
        end(),
    ) == [ReasoningDelta(0, "hm")]


@pytest.mark.parametrize("said_at_the_start", [{}, None])
def test_a_call_without_arguments_has_an_empty_object(said_at_the_start: Any) -> None:
    block = call(input=said_at_the_start)
    expected = [ToolCallDelta(0, 0, "", "toolu_0", "f"), ToolCallDelta(0, 0, "{}")]
    assert all_told(begin(block), more(type="input_json_delta", partial_json=""), end()) == expected
    assert list(AnswerDecoder().body(whole(block)))[:-1] == expected


def test_arguments_that_come_at_once_are_told_at_the_end_of_the_call() -> None:
    block = call(input={"a": 1})
    expected = [ToolCallDelta(0, 0, "", "toolu_0", "f"), ToolCallDelta(0, 0, '{"a": 1}')]
    assert all_told(begin(block), end()) == expected
    assert all_told(begin(block), more(type="input_json_delta", partial_json="{}"), end()) == [
        expected[0],
        ToolCallDelta(0, 0, "{}"),
    ]


def test_arguments_are_told_as_they_were_written() -> None:
    body = (
        b'{"content":[{"type":"tool_use","id":"1","name":"f","input":'
        b'{"n": 12345678901234567890123456789, "x": 1.50, "t": "\\u00e9\xc3\xa9"}}]}'
    )
    *_, arguments = AnswerDecoder().body(body)
    assert arguments == ToolCallDelta(
        0, 0, '{"n": 12345678901234567890123456789, "x": 1.50, "t": "\\u00e9é"}'
    )


def test_blocks_need_not_come_one_after_the_other() -> None:
    """llama.cpp stops all of them at the end."""
    assert all_told(
        begin({"type": "thinking", "thinking": ""}),
        more(type="thinking_delta", thinking="hm"),
        begin({"type": "text", "text": ""}, 1),
        more(1, type="text_delta", text="a"),
        begin(call(0), 2),
        begin(call(1), 3),
        more(3, type="input_json_delta", partial_json="[3"),
        more(2, type="input_json_delta", partial_json="[2"),
        more(0, type="signature_delta", signature="s"),
        end(0),
        end(1),
        end(2),
        end(3),
    ) == [
        ReasoningDelta(0, "hm"),
        TextDelta(0, "a"),
        ToolCallDelta(0, 0, "", "toolu_0", "f"),
        ToolCallDelta(0, 1, "", "toolu_1", "f"),
        ToolCallDelta(0, 1, "[3"),
        ToolCallDelta(0, 0, "[2"),
        signature("s"),
    ]


def test_a_thought_has_no_arguments() -> None:
    thought = begin({"type": "thinking", "signature": "s"})
    piece = more(type="input_json_delta", partial_json="{}")
    assert all_told(thought, piece, end()) == [signature("s")]


def test_a_call_that_begins_twice_is_one() -> None:
    """llama.cpp's last batch may begin the open call again."""
    piece = more(type="input_json_delta", partial_json="{}")
    assert all_told(begin(call()), begin(call()), piece, end()) == [
        ToolCallDelta(0, 0, "", "toolu_0", "f"),
        ToolCallDelta(0, 0, "{}"),
    ]


def test_another_block_under_the_same_number_ends_the_one_before() -> None:
    assert all_told(begin(call(0)), begin(call(1)), end()) == [
        ToolCallDelta(0, 0, "", "toolu_0", "f"),
        ToolCallDelta(0, 0, "{}"),
        ToolCallDelta(0, 1, "", "toolu_1", "f"),
        ToolCallDelta(0, 1, "{}"),
    ]


@pytest.mark.parametrize("last", [stop("tool_use"), {"type": "message_stop"}])
def test_what_was_never_stopped_ends_with_the_answer(last: dict[str, Any]) -> None:
    events = all_told(begin(call(0)), begin({"type": "thinking", "signature": "s"}, 1), last)
    assert events[1:3] == [ToolCallDelta(0, 0, "{}"), signature("s")]


def test_a_call_may_lack_its_id() -> None:
    assert all_told(begin(call(id=None)))[0] == ToolCallDelta(0, 0, "", None, "f")
    assert all_told(begin(call(id="")))[0] == ToolCallDelta(0, 0, "", None, "f")


# -- one call only --------------------------------------------------------------------------------


def test_where_one_call_is_wanted_the_second_ends_the_answer() -> None:
    decoder = AnswerDecoder(single_call=True)
    first = [begin({"type": "text", "text": "a"}), end(), begin(call(0), 1)]
    assert all_told(*first, decoder=decoder) == [
        TextDelta(0, "a"),
        ToolCallDelta(0, 0, "", "toolu_0", "f"),
    ]
    assert not decoder.has_enough
    assert all_told(begin(call(1), 2), decoder=decoder) == [ToolCallDelta(0, 0, "{}"), CALLS]
    assert decoder.has_enough
    assert decoder.ended
    rest = [
        more(2, type="input_json_delta", partial_json="{}"),
        end(2),
        begin({"type": "text", "text": "b"}, 3),
        more(3, type="text_delta", text="b"),
        stop("max_tokens", input_tokens=5, output_tokens=7),
    ]
    assert all_told(*rest, decoder=decoder) == [UsageReported(Usage(5, 7))]


def test_where_one_call_is_wanted_a_body_is_cut_too() -> None:
    body = whole(
        call(0),
        call(1),
        {"type": "text", "text": "b"},
        usage={"input_tokens": 1, "output_tokens": 2},
    )
    assert list(AnswerDecoder(single_call=True).body(body)) == [
        ToolCallDelta(0, 0, "", "toolu_0", "f"),
        ToolCallDelta(0, 0, "{}"),
        CALLS,
        UsageReported(Usage(1, 2)),
    ]


def test_one_call_that_begins_twice_is_not_cut() -> None:
    decoder = AnswerDecoder(single_call=True)
    all_told(begin(call()), begin(call()), end(), stop("tool_use"), decoder=decoder)
    assert not decoder.has_enough


# -- usage ----------------------------------------------------------------------------------------


def test_the_prompt_is_told_with_the_first_event_that_was_generated() -> None:
    """Until then another upstream may still be asked."""
    decoder = AnswerDecoder()
    text = more(type="text_delta", text="a")
    assert all_told(start(input_tokens=7), begin({"type": "text"}), decoder=decoder) == []
    assert all_told(text, text, decoder=decoder) == [
        InputCounted(7),
        TextDelta(0, "a"),
        TextDelta(0, "a"),
    ]


@pytest.mark.parametrize("usage", [{}, {"output_tokens": 5}, {"input_tokens": 0}])
def test_a_prompt_whose_size_was_not_told(usage: dict[str, Any]) -> None:
    assert all_told(start(**usage), more(type="text_delta", text="a")) == [TextDelta(0, "a")]


@pytest.mark.parametrize(
    ("first", "last", "usage"),
    [
        ({"input_tokens": 7}, {"output_tokens": 3}, Usage(7, 3)),
        ({"input_tokens": 7}, {"input_tokens": None, "output_tokens": 3}, Usage(7, 3)),
        ({"input_tokens": 7}, {"input_tokens": 9, "output_tokens": 3}, Usage(9, 3)),
        ({"input_tokens": 0}, {"input_tokens": 9, "output_tokens": 3}, Usage(9, 3)),
        ({"input_tokens": 7}, {"input_tokens": 0, "output_tokens": 3}, Usage(7, 3)),
        ({}, {"input_tokens": 9, "output_tokens": 0}, Usage(9, 0)),
        (
            {"input_tokens": 25},
            {"input_tokens": 0, "cache_read_input_tokens": 100, "output_tokens": 3},
            Usage(100, 3, cached_tokens=100),
        ),
        (
            {"input_tokens": 1, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 100},
            {"output_tokens": 3},
            Usage(111, 3, cached_tokens=10, cache_write_tokens=100),
        ),
        (
            {"input_tokens": 1, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 100},
            {
                "input_tokens": 2,
                "cache_read_input_tokens": 20,
                "cache_creation_input_tokens": 0,
                "output_tokens": 3,
            },
            Usage(22, 3, cached_tokens=20),
        ),
        (
            {"input_tokens": 0, "cache_read_input_tokens": 10},
            {"input_tokens": 0, "output_tokens": 3},
            Usage(10, 3, cached_tokens=10),
        ),
        (
            {"input_tokens": 1, "output_tokens": 8},
            {"output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
            Usage(1, 9, reasoning_tokens=4),
        ),
    ],
)
def test_the_report_takes_from_the_first_what_the_last_does_not_say(
    first: dict[str, Any], last: dict[str, Any], usage: Usage
) -> None:
    assert all_told(start(**first), stop(None, **last))[-1] == UsageReported(usage)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        ({"input_tokens": 7, "output_tokens": 5}, {"input_tokens": 7}),
        ({"input_tokens": 7}, {"output_tokens": None}),
        ({}, {"output_tokens": 5}),
        ({"input_tokens": 0}, {"input_tokens": 0, "output_tokens": 5}),
        ({"cache_read_input_tokens": 7}, {"output_tokens": 5}),
    ],
)
def test_half_a_report_is_none(first: dict[str, Any], last: dict[str, Any]) -> None:
    assert all_told(start(**first), stop(None, **last)) == []


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": -1},
        {"input_tokens": 1_000_000_001},
        {"input_tokens": 10**30},
        {"input_tokens": 1.5},
        {"input_tokens": "1"},
        {"output_tokens": -1},
        {"output_tokens": 1_000_000_001},
        {"cache_read_input_tokens": -1},
        {"cache_creation_input_tokens": -1},
        {"input_tokens": 600_000_000, "cache_read_input_tokens": 600_000_000},
        {"output_tokens_details": {"thinking_tokens": -1}},
    ],
)
def test_impossible_usage_is_malformed(usage: dict[str, Any]) -> None:
    whole_report = {"input_tokens": 1, "output_tokens": 1} | usage
    with pytest.raises(UpstreamMalformed):
        all_told(stop(**whole_report))
    with pytest.raises(UpstreamMalformed):
        all_told(start(**whole_report))
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().body(whole(usage=whole_report))


# -- errors and garbage ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("error", b'{"type":"error","error":{"type":"api_error","message":"no GPU"}}'),
        ("error", b'{"error":{"message":"no GPU"}}'),
        ("error", b'{"code":500,"message":"no GPU","type":"server_error"}'),
        ("", b'{"type":"error","error":{"type":"api_error","message":"no GPU"}}'),
        ("", b'{"error":{"message":"no GPU"}}'),
    ],
)
def test_errors_in_a_stream(name: str, data: bytes) -> None:
    with pytest.raises(UpstreamFault, match="The model's provider failed: no GPU"):
        AnswerDecoder().stream_event(SseEvent(data, name))


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"error","error":{"type":"api_error","message":"no GPU"}}',
        b'{"type":"error","message":"no GPU"}',
        b'{"error":{"message":"no GPU"}}',
        b'{"type":"message","content":[],"error":"no GPU"}',
    ],
)
def test_errors_in_a_body(body: bytes) -> None:
    with pytest.raises(UpstreamFault, match="The model's provider failed: no GPU"):
        AnswerDecoder().body(body)


def test_an_event_is_known_by_its_name_where_its_data_does_not_say_it() -> None:
    data = b'{"index":0,"delta":{"type":"text_delta","text":"a"}}'
    decoder = AnswerDecoder()
    assert list(decoder.stream_event(SseEvent(data, "content_block_delta"))) == [TextDelta(0, "a")]
    assert list(decoder.stream_event(SseEvent(data))) == []


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"5",
    b"[DONE]",
    b'{"type":5}',
    b'{"type":["ping"]}',
    b'{"type":"content_block_delta"}',
    b'{"type":"content_block_delta","delta":5}',
    b'{"type":"content_block_delta","delta":{"type":5}}',
    b'{"type":"content_block_delta","index":"0","delta":{"type":"text_delta","text":"a"}}',
    b'{"type":"content_block_delta","delta":{"type":"text_delta","text":5}}',
    b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"\xff"}}',
    b'{"type":"content_block_delta","delta":{"type":"text_delta","text":"\\ud800"}}',
    b'{"type":"content_block_start","index":0}',
    b'{"type":"message_start","message":5}',
    b'{"type":"message_delta","delta":{"stop_reason":5}}',
    b'{"type":"message_delta","usage":{"output_tokens":1e999}}',
    b'{"type":"message_start","message":' + b"[" * 10_000,
    b'{"zzz":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
]


@pytest.mark.parametrize("data", MALFORMED)
def test_malformed_events(data: bytes) -> None:
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().stream_event(SseEvent(data))
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().body(data)


@pytest.mark.parametrize(
    "block",
    [
        b"null",
        b"5",
        b"{}",
        b'{"type":5}',
        b'{"type":"text","text":5}',
        b'{"type":"text","text":"\xff"}',
        b'{"type":"thinking","signature":{}}',
        b'{"type":"redacted_thinking","data":[]}',
        b'{"type":"tool_use","id":"1","input":{}}',
        b'{"type":"tool_use","id":"1","name":"","input":{}}',
        b'{"type":"tool_use","id":1,"name":"f","input":{}}',
        b'{"type":"tool_use","id":"1","name":"f","input":"{}"}',
        b'{"type":"tool_use","id":"1","name":"f","input":[]}',
        b'{"type":"tool_use","id":"1","name":"f","input":{"a":"\xff"}}',
        b'{"type":"new","text":5,"n":' + b"9" * 5000 + b"}",
    ],
)
def test_malformed_blocks(block: bytes) -> None:
    event = b'{"type":"content_block_start","index":0,"content_block":' + block + b"}"
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().stream_event(SseEvent(event))
    with pytest.raises(UpstreamMalformed):
        AnswerDecoder().body(b'{"content":[' + block + b'],"stop_reason":"end_turn"}')


@pytest.mark.parametrize("body", [b"{}", b'{"type":"message"}', b'{"choices":[],"content":null}'])
def test_a_body_without_content_is_malformed(body: bytes) -> None:
    with pytest.raises(UpstreamMalformed, match="without content"):
        AnswerDecoder().body(body)


@given(st.binary(max_size=100))
def test_any_bytes_are_events_or_a_fault(data: bytes) -> None:
    with contextlib.suppress(UpstreamFault):
        assert list(AnswerDecoder().stream_event(SseEvent(data))) == []
    with contextlib.suppress(UpstreamFault):
        assert list(AnswerDecoder().body(data)) == []


KINDS = [
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
    *("message_delta", "message_stop", "text", "thinking", "redacted_thinking", "tool_use"),
    *("text_delta", "thinking_delta", "signature_delta", "input_json_delta", "something_new"),
]
NAMES = [
    *("index", "delta", "content_block", "message", "usage", "error", "content", "text"),
    *("thinking", "signature", "data", "id", "name", "input", "partial_json", "stop_reason"),
    *("stop_sequence", "input_tokens", "output_tokens", "output_tokens_details"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
shapes = st.recursive(
    json_values,
    lambda inner: st.builds(
        lambda kind, fields: {"type": kind, **fields},
        st.sampled_from(KINDS) | json_values,
        st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    ),
    max_leaves=6,
)


@given(st.lists(shapes, max_size=6))
def test_any_shapes_are_events_or_a_fault(events: list[Any]) -> None:
    decoder = AnswerDecoder()
    for event in events:
        data = json.dumps(event).encode()
        with contextlib.suppress(Fault):
            decoder.stream_event(SseEvent(data))
        with contextlib.suppress(Fault):
            AnswerDecoder().body(data)
