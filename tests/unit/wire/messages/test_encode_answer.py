"""From events to a client's bytes, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain import problem
from bandari.domain.answer import Answer, AnswerFold
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
    UsageReported,
)
from bandari.domain.faults import UpstreamInterrupted, UpstreamMalformed
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.count_tokens import encode_count
from bandari.wire.messages.decode_answer import AnswerDecoder
from bandari.wire.messages.encode_answer import PING, StreamEncoder, WholeEncoder
from bandari.wire.seals import unwrap
from bandari.wire.sse import SseDecoder

ENVELOPE = Envelope(id="msg_1", created=1795175853, model="fikra-pro-20b", input_tokens=77)
USAGE = Usage(
    input_tokens=10, output_tokens=2, cached_tokens=6, cache_write_tokens=3, reasoning_tokens=1
)
STOP = ChoiceFinished(0, FinishReason.STOP)
CALLS = ChoiceFinished(0, FinishReason.TOOL_CALLS)
CUT = ChoiceFinished(0, FinishReason.LENGTH)


def signed(data: str, protocol: str = PROTOCOL) -> ReasoningSealed:
    return ReasoningSealed(0, Seal(protocol, data))


def hidden(data: str, protocol: str = PROTOCOL) -> ReasoningSealed:
    return ReasoningSealed(0, Seal(protocol, data, is_thought=True))


def streamed(events: Sequence[Event], finish: FinishReason | None = None) -> bytes:
    encoder = StreamEncoder(ENVELOPE)
    return b"".join([*encoder.events(events), *encoder.close(USAGE, finish)])


def frames(stream: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events, having made sure that each is named as it says."""
    events = [(event.name, json.loads(event.data)) for event in SseDecoder().feed(stream)]
    assert all(name == data["type"] for name, data in events)
    return [data for _, data in events]


def between(stream: bytes) -> list[dict[str, Any]]:
    """What stands between the start of the message and its end, which are made sure of."""
    first, *blocks, delta, stop = frames(stream)
    assert [first["type"], delta["type"], stop] == [
        "message_start",
        "message_delta",
        {"type": "message_stop"},
    ]
    return blocks


def content(stream: bytes) -> list[dict[str, Any]]:
    """The blocks as a client puts them together; they come one after the other."""
    blocks: list[dict[str, Any]] = []
    is_open = False
    for data in between(stream):
        assert is_open == (data["type"] != "content_block_start")
        is_open = data["type"] != "content_block_stop"
        if data["type"] == "content_block_start":
            blocks.append(data["content_block"])
        elif data["type"] == "content_block_delta":
            put(blocks[-1], data["delta"])
        assert data["index"] == len(blocks) - 1
    assert not is_open
    return blocks


NAME_OF_DELTA = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}


def put(block: dict[str, Any], delta: dict[str, Any]) -> None:
    name = NAME_OF_DELTA[delta["type"]]
    assert delta.keys() == {"type", name}
    assert delta[name]
    block[name] = block.get(name, "") + delta[name]


def ending(stream: bytes) -> dict[str, Any]:
    delta: dict[str, Any] = frames(stream)[-2]["delta"]
    return delta


def whole(events: Sequence[Event], finish: FinishReason | None = None) -> dict[str, Any]:
    encoder = WholeEncoder(ENVELOPE)
    assert list(encoder.events(events)) == []
    (body,) = encoder.close(USAGE, finish)
    read: dict[str, Any] = json.loads(body)
    return read


# -- streamed -------------------------------------------------------------------------------------


def test_a_stream_byte_for_byte() -> None:
    first = InputCounted(10, cached_tokens=6, cache_write_tokens=3)
    assert (
        streamed([first, TextDelta(0, "Hél"), TextDelta(0, 'lo"\n'), STOP])
        == (
            "event: message_start\n"
            'data: {"type":"message_start","message":{"id":"msg_1","type":"message",'
            '"role":"assistant","model":"fikra-pro-20b","content":[],"stop_reason":null,'
            '"stop_sequence":null,"usage":{"input_tokens":1,"cache_creation_input_tokens":3,'
            '"cache_read_input_tokens":6,"output_tokens":0}}}\n\n'
            "event: content_block_start\n"
            'data: {"type":"content_block_start","index":0,'
            '"content_block":{"type":"text","text":""}}\n\n'
            "event: content_block_delta\n"
            'data: {"type":"content_block_delta","index":0,'
            '"delta":{"type":"text_delta","text":"Hél"}}\n\n'
            "event: content_block_delta\n"
            'data: {"type":"content_block_delta","index":0,'
            '"delta":{"type":"text_delta","text":"lo\\"\\n"}}\n\n'
            "event: content_block_stop\n"
            'data: {"type":"content_block_stop","index":0}\n\n'
            "event: message_delta\n"
            'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
            '"usage":{"input_tokens":1,"cache_creation_input_tokens":3,"cache_read_input_tokens":6,'
            '"output_tokens":2,"output_tokens_details":{"thinking_tokens":1}}}\n\n'
            "event: message_stop\n"
            'data: {"type":"message_stop"}\n\n'
        ).encode()
    )


def test_every_block_byte_for_byte() -> None:
    stream = streamed(
        [
            ReasoningDelta(0, "hm"),
            signed("c2ln"),
            hidden("ZGF0YQ=="),
            ToolCallDelta(0, 0, "{}", "toolu_1", "f"),
            CALLS,
        ]
    )
    start, end = stream.index(b"event: content_block_start"), stream.index(b"event: message_delta")
    assert stream[start:end] == (
        b"event: content_block_start\n"
        b'data: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"thinking","thinking":"","signature":""}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"thinking_delta","thinking":"hm"}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"signature_delta","signature":"c2ln"}}\n\n'
        b"event: content_block_stop\n"
        b'data: {"type":"content_block_stop","index":0}\n\n'
        b"event: content_block_start\n"
        b'data: {"type":"content_block_start","index":1,'
        b'"content_block":{"type":"redacted_thinking","data":"ZGF0YQ=="}}\n\n'
        b"event: content_block_stop\n"
        b'data: {"type":"content_block_stop","index":1}\n\n'
        b"event: content_block_start\n"
        b'data: {"type":"content_block_start","index":2,'
        b'"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":2,'
        b'"delta":{"type":"input_json_delta","partial_json":"{}"}}\n\n'
        b"event: content_block_stop\n"
        b'data: {"type":"content_block_stop","index":2}\n\n'
    )


def test_every_frame_is_one_event() -> None:
    encoder = StreamEncoder(ENVELOPE)
    told = [ReasoningDelta(0, "a\n\nb"), signed("x"), TextDelta(0, "\n\n"), STOP]
    for frame in [*encoder.events(told), *encoder.close(USAGE), PING]:
        assert frame.startswith(b"event: ")
        assert frame.endswith(b"\n\n")
        assert frame.count(b"\n") == 3


def test_nothing_of_the_end_is_told_before_the_close() -> None:
    encoder = StreamEncoder(ENVELOPE)
    assert len(encoder.events([TextDelta(0, "a")])) == 3
    assert encoder.events([STOP, UsageReported(USAGE), Counted(0, 1, 0, 1)]) == []


@pytest.mark.parametrize(
    "count",
    [
        InputCounted(9, cached_tokens=4, cache_write_tokens=3),
        UsageReported(Usage(9, 0, cached_tokens=4, cache_write_tokens=3)),
    ],
)
@pytest.mark.parametrize("where", ["in a batch before", "before", "after"])
def test_the_message_starts_with_the_prompts_count(count: Event, where: str) -> None:
    encoder = StreamEncoder(ENVELOPE)
    batch: list[Event] = [TextDelta(0, "a")]
    if where == "in a batch before":
        assert encoder.events([count]) == []
    elif where == "before":
        batch.insert(0, count)
    else:
        batch.append(count)
    (start, *_) = frames(b"".join(encoder.events(batch)))
    assert start["message"]["usage"] == {
        "input_tokens": 2,
        "cache_creation_input_tokens": 3,
        "cache_read_input_tokens": 4,
        "output_tokens": 0,
    }


def test_a_running_count_tells_the_prompt_too() -> None:
    start, *_ = frames(streamed([TextDelta(0, "a"), Counted(0, 9, 4, 1)]))
    assert start["message"]["usage"]["input_tokens"] == 5
    assert start["message"]["usage"]["cache_read_input_tokens"] == 4


def test_counts_that_contradict_each_other_are_never_negative() -> None:
    start, *_ = frames(streamed([TextDelta(0, "a"), Counted(0, 4, 9, 1)]))
    assert start["message"]["usage"]["input_tokens"] == 0


def test_without_a_count_the_prompt_is_what_was_known_before() -> None:
    start, *_ = frames(streamed([TextDelta(0, "a")]))
    assert start["message"]["usage"]["input_tokens"] == 77


def test_a_new_kind_of_content_is_a_new_block() -> None:
    events = [
        ReasoningDelta(0, "hm "),
        ReasoningDelta(0, "hm"),
        TextDelta(0, "a"),
        RefusalDelta(0, "b"),
        ToolCallDelta(0, 0, '{"x":', "toolu_1", "f"),
        ToolCallDelta(0, 0, "1}"),
        ToolCallDelta(0, 1, "", "toolu_2", "g"),
        TextDelta(0, "c"),
        STOP,
    ]
    assert content(streamed(events)) == [
        {"type": "thinking", "thinking": "hm hm", "signature": ""},
        {"type": "text", "text": "ab"},
        {
            "type": "tool_use",
            "id": "toolu_1",
            "name": "f",
            "input": {},
            "partial_json": '{"x":1}',
        },
        {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}},
        {"type": "text", "text": "c"},
    ]


THOUGHTS: list[tuple[list[Event], list[dict[str, Any]]]] = [
    (
        [ReasoningDelta(0, "a"), signed("s"), ReasoningDelta(0, "b")],
        [
            {"type": "thinking", "thinking": "a", "signature": "s"},
            {"type": "thinking", "thinking": "b", "signature": ""},
        ],
    ),
    (
        [TextDelta(0, "x"), signed("s"), TextDelta(0, "y")],
        [
            {"type": "text", "text": "x"},
            {"type": "thinking", "thinking": "", "signature": "s"},
            {"type": "text", "text": "y"},
        ],
    ),
    (
        [ReasoningDelta(0, "a"), hidden("d"), ReasoningDelta(0, "b")],
        [
            {"type": "thinking", "thinking": "a", "signature": ""},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "thinking", "thinking": "b", "signature": ""},
        ],
    ),
    ([hidden("d", "other")], [{"type": "redacted_thinking", "data": "bandari:other:thought:d"}]),
    (
        [signed("s"), hidden("d", "other")],
        [
            {"type": "thinking", "thinking": "", "signature": "s"},
            {"type": "redacted_thinking", "data": "bandari:other:thought:d"},
        ],
    ),
    (
        [ReasoningDelta(0, "a"), hidden("d", "other")],
        [{"type": "thinking", "thinking": "a", "signature": "bandari:other:thought:d"}],
    ),
    (
        [ReasoningDelta(0, "a"), signed("d", "other")],
        [{"type": "thinking", "thinking": "a", "signature": "bandari:other:signature:d"}],
    ),
    (
        [ReasoningDelta(0, "a"), signed("bandari:other:thought:d")],
        [
            {
                "type": "thinking",
                "thinking": "a",
                "signature": "bandari:messages:signature:bandari:other:thought:d",
            }
        ],
    ),
]


@pytest.mark.parametrize(("events", "blocks"), THOUGHTS)
def test_thoughts_and_their_seals(events: list[Event], blocks: list[dict[str, Any]]) -> None:
    assert content(streamed(events)) == blocks
    assert whole(events)["content"] == blocks


@given(
    st.builds(
        Seal,
        st.sampled_from([PROTOCOL, "responses"]),
        st.text(st.characters(codec="utf-8"), min_size=1)
        | st.builds(
            "bandari:{}:{}:{}".format, st.text(), st.sampled_from(["thought", "x"]), st.text()
        ),
        st.booleans(),
    )
)
def test_a_seal_comes_back_as_it_was(seal: Seal) -> None:
    (block,) = content(streamed([ReasoningSealed(0, seal)]))
    text = block.get("data") or block["signature"]
    assert unwrap(text, PROTOCOL, is_thought=block["type"] == "redacted_thinking") == seal


@pytest.mark.parametrize(
    "event",
    [
        TextDelta(0, ""),
        RefusalDelta(0, ""),
        ReasoningDelta(0, ""),
        TextDelta(0, "", (TokenLogprob("a", -1),)),
    ],
)
def test_what_is_empty_is_not_said(event: Event) -> None:
    assert StreamEncoder(ENVELOPE).events([event]) == []
    assert whole([event])["content"] == []


def test_a_call_without_an_id_is_given_the_same_one_each_time() -> None:
    events = [ToolCallDelta(0, 0, "{}", None, "f"), ToolCallDelta(0, 1, "{}", None, "g"), CALLS]
    ids = [block["id"] for block in content(streamed(events))]
    assert ids == ["toolu_1_0", "toolu_1_1"]
    assert [block["id"] for block in whole(events)["content"]] == ids


def test_numbers_of_calls_mean_nothing_to_clients() -> None:
    events = [TextDelta(0, "a"), ToolCallDelta(0, -1, "{}", "x", "f"), TextDelta(0, "b")]
    assert [block["type"] for block in content(streamed(events))] == ["text", "tool_use", "text"]


def test_a_call_that_goes_on_after_the_next_has_begun_cannot_be_told() -> None:
    encoder = StreamEncoder(ENVELOPE)
    calls = [ToolCallDelta(0, 0, "[", "1", "f"), ToolCallDelta(0, 1, "", "2", "g")]
    encoder.events([*calls, ToolCallDelta(0, 0, "")])
    with pytest.raises(UpstreamMalformed, match="after the next had begun"):
        encoder.events([ToolCallDelta(0, 0, "]")])


@pytest.mark.parametrize("name", [None, ""])
def test_a_call_without_a_name_cannot_be_told(name: str | None) -> None:
    with pytest.raises(UpstreamMalformed, match="without a name"):
        StreamEncoder(ENVELOPE).events([ToolCallDelta(0, 0, "{}", "1", name)])


ENDINGS = [
    ([STOP], None, "end_turn", None),
    ([ChoiceFinished(0, FinishReason.STOP, "X")], None, "stop_sequence", "X"),
    ([ChoiceFinished(0, FinishReason.STOP, "")], None, "stop_sequence", ""),
    ([CUT], None, "max_tokens", None),
    ([CALLS], None, "tool_use", None),
    ([ChoiceFinished(0, FinishReason.CONTENT_FILTER)], None, "refusal", None),
    ([], None, "end_turn", None),
    ([], FinishReason.LENGTH, "max_tokens", None),
    ([STOP], FinishReason.LENGTH, "end_turn", None),
    ([ToolCallDelta(0, 0, "{}", "1", "f"), STOP], None, "tool_use", None),
    ([ToolCallDelta(0, 0, "{}", "1", "f"), CUT], None, "max_tokens", None),
    (
        [ToolCallDelta(0, 0, "{}", "1", "f"), ChoiceFinished(0, FinishReason.STOP, "X")],
        None,
        "stop_sequence",
        "X",
    ),
]


@pytest.mark.parametrize(("events", "finish", "reason", "sequence"), ENDINGS)
def test_why_it_stopped(
    events: list[Event], finish: FinishReason | None, reason: str, sequence: str | None
) -> None:
    expected = {"stop_reason": reason, "stop_sequence": sequence}
    assert ending(streamed(events, finish)) == expected
    body = whole(events, finish)
    assert {name: body[name] for name in expected} == expected


def test_an_answer_of_nothing_is_still_an_answer() -> None:
    assert between(streamed([])) == []
    assert whole([])["content"] == []


@pytest.mark.parametrize("text", ['"', "\\", "\u2028", "\0", "🌍", "\n\nevent: error\ndata: {}"])
def test_names_and_text_cannot_break_out(text: str) -> None:
    encoder = StreamEncoder(Envelope(text, 1, text))
    told = [TextDelta(0, text), ReasoningDelta(0, text), signed(text)]
    calls = [ToolCallDelta(0, 0, text, text, text), STOP]
    stream = b"".join([*encoder.events([*told, *calls]), *encoder.close(USAGE)])
    message = frames(stream)[0]["message"]
    assert (message["id"], message["model"]) == (text, text)
    said, thought, call = content(stream)
    assert {said["text"], thought["thinking"], thought["signature"]} == {text}
    assert {call["id"], call["name"], call["partial_json"]} == {text}


@pytest.mark.parametrize("begun", [[], [TextDelta(0, "a")]])
def test_a_problem_is_told_in_stream_and_nothing_after_it(begun: list[Event]) -> None:
    told = problem.of_fault(UpstreamInterrupted())
    encoder = StreamEncoder(ENVELOPE)
    encoder.events(begun)
    (frame,) = encoder.problem(told)
    assert frame == (
        b'event: error\ndata: {"type":"error","error":{"type":"api_error",'
        b'"message":"The model\'s provider broke the answer off before its end."}}\n\n'
    )
    assert list(WholeEncoder(ENVELOPE).problem(told)) == []


def test_a_ping() -> None:
    assert PING == b'event: ping\ndata: {"type": "ping"}\n\n'


# -- whole ----------------------------------------------------------------------------------------


def test_a_whole_answer_byte_for_byte() -> None:
    encoder = WholeEncoder(ENVELOPE)
    encoder.events([ReasoningDelta(0, "hm"), signed("c2ln"), hidden("ZGF0YQ==")])
    encoder.events([TextDelta(0, "Hel"), TextDelta(0, "lo"), InputCounted(3)])
    encoder.events([ToolCallDelta(0, 0, '{"n": ', "toolu_1", "f"), ToolCallDelta(0, 0, "1.50}")])
    encoder.events([CALLS, UsageReported(USAGE)])
    (body,) = encoder.close(USAGE)
    assert body == (
        b'{"id":"msg_1","type":"message","role":"assistant","model":"fikra-pro-20b","content":['
        b'{"type":"thinking","thinking":"hm","signature":"c2ln"},'
        b'{"type":"redacted_thinking","data":"ZGF0YQ=="},'
        b'{"type":"text","text":"Hello"},'
        b'{"type":"tool_use","id":"toolu_1","name":"f","input":{"n": 1.50}}],'
        b'"stop_reason":"tool_use","stop_sequence":null,'
        b'"usage":{"input_tokens":1,"cache_creation_input_tokens":3,"cache_read_input_tokens":6,'
        b'"output_tokens":2,"output_tokens_details":{"thinking_tokens":1}}}'
    )


def test_blocks_of_a_whole_answer_are_in_the_order_in_which_they_began() -> None:
    events = [
        ToolCallDelta(0, 0, "", "1", "f"),
        TextDelta(0, "a"),
        ToolCallDelta(0, 1, '{"x":', "2", "g"),
        ToolCallDelta(0, 0, "{}"),
        ToolCallDelta(0, 1, "1}"),
        RefusalDelta(0, "b"),
    ]
    assert whole(events)["content"] == [
        {"type": "tool_use", "id": "1", "name": "f", "input": {}},
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "2", "name": "g", "input": {"x": 1}},
        {"type": "text", "text": "b"},
    ]


def test_a_whole_call_without_arguments_has_an_empty_object() -> None:
    events = [ToolCallDelta(0, 0, "", "1", "f"), CALLS]
    assert whole(events)["content"] == [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]


def test_a_whole_answer_may_name_its_call_late() -> None:
    events = [ToolCallDelta(0, 0, "{}"), ToolCallDelta(0, 0, "", "1", "f"), CALLS]
    assert whole(events)["content"] == [{"type": "tool_use", "id": "1", "name": "f", "input": {}}]


BROKEN = [
    ToolCallDelta(0, 0, '{"x":', "1", "f"),
    ToolCallDelta(0, 0, "[1]", "1", "f"),
    ToolCallDelta(0, 0, '"x"', "1", "f"),
    ToolCallDelta(0, 0, "null", "1", "f"),
    ToolCallDelta(0, 0, "{} {}", "1", "f"),
    ToolCallDelta(0, 0, '{"x":' + "[" * 10_000, "1", "f"),
    ToolCallDelta(0, 0, "{}", "1"),
]


@pytest.mark.parametrize("call", BROKEN)
@pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
def test_a_call_that_was_cut_off_is_left_out(call: Event, reason: FinishReason) -> None:
    events = [TextDelta(0, "a"), call, ToolCallDelta(0, 1, '{"x":1}', "2", "g")]
    for answer in (whole([*events, ChoiceFinished(0, reason)]), whole(events, reason)):
        assert answer["content"] == [
            {"type": "text", "text": "a"},
            {"type": "tool_use", "id": "2", "name": "g", "input": {"x": 1}},
        ]


@pytest.mark.parametrize("call", BROKEN)
@pytest.mark.parametrize("finished", [STOP, CALLS])
def test_a_call_that_is_broken_otherwise_is_the_upstreams_failure(
    call: Event, finished: Event
) -> None:
    with pytest.raises(UpstreamMalformed, match="not complete"):
        WholeEncoder(ENVELOPE).events([call, finished])
    encoder = WholeEncoder(ENVELOPE)
    encoder.events([call])
    with pytest.raises(UpstreamMalformed, match="not complete"):
        encoder.close(USAGE)


def test_a_count_of_tokens() -> None:
    assert encode_count(2095) == b'{"input_tokens":2095}'


# -- there and back -------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
said = st.one_of(
    st.builds(TextDelta, st.just(0), texts),
    st.builds(ReasoningDelta, st.just(0), texts),
    st.builds(signed, texts),
    st.builds(hidden, texts),
)
objects = st.dictionaries(texts, st.none() | st.integers(-9, 9) | texts, max_size=2).map(json.dumps)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """What a good upstream of any protocol says: calls one after the other, each in pieces."""
    events: list[Event] = []
    calls = 0
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            events.append(draw(said))
            continue
        arguments = draw(objects)
        at = draw(st.integers(0, len(arguments)))
        events.append(ToolCallDelta(0, calls, "", f"toolu_{calls}", draw(texts)))
        events += [ToolCallDelta(0, calls, part) for part in (arguments[:at], arguments[at:])]
        calls += 1
    reasons = (
        [FinishReason.TOOL_CALLS] if calls else [FinishReason.STOP, FinishReason.CONTENT_FILTER]
    )
    reason = draw(st.sampled_from([*reasons, FinishReason.LENGTH]))
    sequence = draw(st.none() | texts) if reason is FinishReason.STOP else None
    return [*events, ChoiceFinished(0, reason, sequence)]


def decoded(stream: bytes) -> list[Event]:
    decoder = AnswerDecoder()
    events = [event for data in SseDecoder().feed(stream) for event in decoder.stream_event(data)]
    assert decoder.ended
    assert decoder.is_over
    return events


def folded(events: Sequence[Event]) -> Answer:
    folding = AnswerFold(1)
    folding.add(events)
    return folding.answer()


def said_otherwise(events: Sequence[Event]) -> list[Event]:
    """All but the text, in order: what a fold does not keep, and where it stood."""
    kept = (ReasoningSealed, ChoiceFinished)
    return [event for event in events if isinstance(event, kept)]


@given(answers())
def test_a_stream_that_is_decoded_again_says_the_same(events: list[Event]) -> None:
    read = decoded(streamed(events))
    meant = [event for event in events if event != ToolCallDelta(0, getattr(event, "index", 0), "")]
    assert read == [InputCounted(77), *meant, UsageReported(USAGE)]


@given(answers())
def test_streamed_and_whole_are_the_same_answer(events: list[Event]) -> None:
    encoder = WholeEncoder(ENVELOPE)
    encoder.events(events)
    (body,) = encoder.close(USAGE)
    decoder = AnswerDecoder()
    read = decoder.body(body)
    assert decoder.ended
    assert folded(read) == folded(events) == folded(decoded(streamed(events)))
    assert said_otherwise(read) == said_otherwise(events)
    assert read[-1] == UsageReported(USAGE)


@given(answers())
def test_streamed_and_whole_have_the_same_blocks(events: list[Event]) -> None:
    blocks = content(streamed(events))
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block.pop("partial_json"))
    assert whole(events)["content"] == blocks
