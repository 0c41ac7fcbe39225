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
from bandari.domain.faults import UpstreamInterrupted
from bandari.domain.usage import Usage
from bandari.wire.chat_completions import DONE
from bandari.wire.chat_completions.decode_answer import AnswerDecoder
from bandari.wire.chat_completions.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.envelope import Envelope
from bandari.wire.sse import SseDecoder

ENVELOPE = Envelope(id="chatcmpl-1", created=1795175853, model="fikra-pro-20b")
USAGE = Usage(input_tokens=10, output_tokens=2, cached_tokens=9, reasoning_tokens=1)
HEAD = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795175853,'
    b'"model":"fikra-pro-20b","choices":['
)
USAGE_JSON = (
    b'{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,'
    b'"prompt_tokens_details":{"cached_tokens":9},'
    b'"completion_tokens_details":{"reasoning_tokens":1}}'
)
STOP = ChoiceFinished(0, FinishReason.STOP)


def streamed(
    events: Sequence[Event],
    *,
    choices: int = 1,
    include_usage: bool = False,
    finish: FinishReason | None = None,
) -> bytes:
    encoder = StreamEncoder(ENVELOPE, choices=choices, include_usage=include_usage)
    return b"".join([*encoder.events(events), *encoder.close(USAGE, finish)])


def chunks(stream: bytes) -> list[dict[str, Any]]:
    *events, done = SseDecoder().feed(stream)
    assert done.data == DONE
    assert not any(event.name or event.id for event in (*events, done))
    return [json.loads(event.data) for event in events]


def deltas(stream: bytes, choice: int = 0) -> list[dict[str, Any]]:
    return [
        entry["delta"]
        for chunk in chunks(stream)
        for entry in chunk["choices"]
        if entry["index"] == choice
    ]


# -- streamed -------------------------------------------------------------------------------------


def test_a_stream_byte_for_byte() -> None:
    assert streamed([TextDelta(0, "Hél"), TextDelta(0, 'lo"\n'), STOP]) == b"".join(
        [
            HEAD + b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
            b'"finish_reason":null}]}\n\n',
            HEAD
            + '{"index":0,"delta":{"content":"Hél"},"logprobs":null,'.encode()
            + b'"finish_reason":null}]}\n\n',
            HEAD + b'{"index":0,"delta":{"content":"lo\\"\\n"},"logprobs":null,'
            b'"finish_reason":null}]}\n\n',
            HEAD + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}\n\n',
            b"data: [DONE]\n\n",
        ]
    )


def test_a_stream_with_usage_byte_for_byte() -> None:
    assert streamed([TextDelta(0, "a"), STOP], include_usage=True) == b"".join(
        [
            HEAD + b'{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,'
            b'"finish_reason":null}],"usage":null}\n\n',
            HEAD + b'{"index":0,"delta":{"content":"a"},"logprobs":null,'
            b'"finish_reason":null}],"usage":null}\n\n',
            HEAD + b'{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],'
            b'"usage":null}\n\n',
            HEAD + b'],"usage":' + USAGE_JSON + b"}\n\n",
            b"data: [DONE]\n\n",
        ]
    )


def test_every_frame_is_one_event() -> None:
    encoder = StreamEncoder(ENVELOPE, include_usage=True)
    frames = [*encoder.events([TextDelta(0, "a\n\nb"), STOP]), *encoder.close(USAGE)]
    assert len(frames) == 5
    for frame in frames:
        assert frame.startswith(b"data: ")
        assert frame.endswith(b"\n\n")
        assert frame.count(b"\n") == 2


def test_nothing_of_the_usage_is_told_before_the_close() -> None:
    encoder = StreamEncoder(ENVELOPE, include_usage=True)
    assert encoder.events([UsageReported(USAGE), Counted(0, 1, 0, 1)]) == []


@pytest.mark.parametrize("include_usage", [True, False])
def test_usage_stands_in_the_last_chunk_alone(include_usage: bool) -> None:
    events: list[Event] = [TextDelta(0, "a"), ToolCallDelta(0, 0, "{}", "1", "f"), STOP]
    *others, last = chunks(streamed(events, include_usage=include_usage))
    if include_usage:
        assert all(chunk["usage"] is None for chunk in others)
        assert last["choices"] == []
        assert last["usage"] == json.loads(USAGE_JSON)
    else:
        assert not any("usage" in chunk for chunk in (*others, last))


def test_the_role_comes_once_for_each_choice_and_first() -> None:
    stream = streamed(
        [
            TextDelta(1, "b"),
            TextDelta(0, "a"),
            TextDelta(1, "B"),
            ChoiceFinished(1, FinishReason.LENGTH),
            STOP,
        ],
        choices=2,
    )
    first = {"role": "assistant", "content": ""}
    assert deltas(stream, 0) == [first, {"content": "a"}, {}]
    assert deltas(stream, 1) == [first, {"content": "b"}, {"content": "B"}, {}]


@pytest.mark.parametrize(
    "event",
    [
        TextDelta(0, "a"),
        ReasoningDelta(0, "a"),
        RefusalDelta(0, "a"),
        ToolCallDelta(0, 0, "{}", "1", "f"),
        STOP,
    ],
)
def test_whatever_comes_first_the_role_comes_before(event: Event) -> None:
    assert deltas(streamed([event]))[0] == {"role": "assistant", "content": ""}


def test_reasoning_and_refusal_have_their_own_fields() -> None:
    assert deltas(streamed([ReasoningDelta(0, "hm"), RefusalDelta(0, "no")]))[1:3] == [
        {"reasoning_content": "hm"},
        {"refusal": "no"},
    ]


def test_a_tool_call_is_named_in_its_first_piece_only() -> None:
    events = [
        ToolCallDelta(0, 0, "{", "1", "f"),
        ToolCallDelta(0, 0, "}", "1", "f"),
        ToolCallDelta(0, 1, "", "2", "f"),
        ToolCallDelta(0, 1, "{}"),
        ToolCallDelta(1, 0, "{}", "1", "f"),
    ]
    stream = streamed(events, choices=2)
    named = {"index": 0, "id": "1", "type": "function"}
    assert [delta["tool_calls"] for delta in deltas(stream)[1:-1]] == [
        [named | {"function": {"name": "f", "arguments": "{"}}],
        [{"index": 0, "function": {"arguments": "}"}}],
        [{"index": 1, "id": "2", "type": "function", "function": {"name": "f", "arguments": ""}}],
        [{"index": 1, "function": {"arguments": "{}"}}],
    ]
    assert deltas(stream, 1)[1]["tool_calls"] == [
        named | {"function": {"name": "f", "arguments": "{}"}}
    ]


def test_a_name_that_comes_late_is_still_told_once() -> None:
    events = [ToolCallDelta(0, 0, "", "1"), ToolCallDelta(0, 0, "{}", None, "f")]
    pieces = [delta["tool_calls"][0] for delta in deltas(streamed(events))[1:3]]
    assert [piece.get("id") for piece in pieces] == ["1", None]
    assert [piece["function"].get("name") for piece in pieces] == [None, "f"]


def test_log_probabilities() -> None:
    logprob = TokenLogprob("a", -0.5, [97], (TopLogprob("a", -0.5, [97]), TopLogprob("b", -1.5)))
    chunk = chunks(streamed([TextDelta(0, "a", (logprob,))]))[1]
    assert chunk["choices"][0]["logprobs"] == {
        "content": [
            {
                "token": "a",
                "logprob": -0.5,
                "bytes": [97],
                "top_logprobs": [
                    {"token": "a", "logprob": -0.5, "bytes": [97]},
                    {"token": "b", "logprob": -1.5, "bytes": None},
                ],
            }
        ],
        "refusal": None,
    }


@pytest.mark.parametrize("finish", [None, FinishReason.LENGTH])
def test_choices_left_open_are_finished(finish: FinishReason | None) -> None:
    stream = streamed([TextDelta(1, "b"), STOP], choices=3, finish=finish)
    finished = [
        (entry["index"], entry["finish_reason"])
        for chunk in chunks(stream)
        for entry in chunk["choices"]
        if entry["finish_reason"]
    ]
    otherwise = finish or "stop"
    assert finished == [(0, "stop"), (1, otherwise), (2, otherwise)]


def test_an_answer_of_nothing_is_still_an_answer() -> None:
    assert deltas(streamed([])) == [{"role": "assistant", "content": ""}, {}]


def test_a_choice_beyond_those_that_were_asked_for_is_finished_too() -> None:
    assert deltas(streamed([TextDelta(5, "x")]), 5)[-1] == {}


@pytest.mark.parametrize("text", ['"', "\\", "\u2028", "\0", "</script>", "🌍", "\n\ndata: [DONE]"])
def test_names_and_text_cannot_break_out(text: str) -> None:
    encoder = StreamEncoder(Envelope(text, 1, text))
    stream = b"".join([*encoder.events([TextDelta(0, text), STOP]), *encoder.close(USAGE)])
    _, chunk, _ = chunks(stream)
    assert (chunk["id"], chunk["model"], chunk["choices"][0]["delta"]["content"]) == (text,) * 3


def test_a_problem_is_told_in_stream_and_nothing_after_it() -> None:
    told = problem.of_fault(UpstreamInterrupted())
    (frame,) = StreamEncoder(ENVELOPE).problem(told)
    assert frame == (
        b'data: {"error":{"message":"The model\'s provider broke the answer off before its end.",'
        b'"type":"server_error","param":null,"code":"upstream_interrupted"}}\n\n'
    )
    assert list(WholeEncoder(ENVELOPE).problem(told)) == []


# -- whole ----------------------------------------------------------------------------------------


def whole(
    events: Sequence[Event], *, choices: int = 1, wants_logprobs: bool = False, finish: Any = None
) -> dict[str, Any]:
    encoder = WholeEncoder(ENVELOPE, choices=choices, wants_logprobs=wants_logprobs)
    assert encoder.events(events) == ()
    (body,) = encoder.close(USAGE, finish)
    read: dict[str, Any] = json.loads(body)
    return read


def test_a_whole_answer_byte_for_byte() -> None:
    encoder = WholeEncoder(ENVELOPE)
    encoder.events([TextDelta(0, "Hel"), TextDelta(0, "lo"), STOP, UsageReported(USAGE)])
    assert list(encoder.close(USAGE)) == [
        b'{"id":"chatcmpl-1","object":"chat.completion","created":1795175853,'
        b'"model":"fikra-pro-20b","choices":[{"index":0,"message":{"role":"assistant",'
        b'"content":"Hello","refusal":null},"logprobs":null,"finish_reason":"stop"}],'
        b'"usage":' + USAGE_JSON + b"}"
    ]


def test_a_whole_answer_with_tool_calls_has_no_content() -> None:
    message = whole([ToolCallDelta(0, 0, "{}", "1", "f")])["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }
    with_text = whole([TextDelta(0, "a"), ToolCallDelta(0, 0, "{}", "1", "f")])
    assert with_text["choices"][0]["message"]["content"] == "a"


def test_a_whole_answer_with_reasoning_and_refusal() -> None:
    message = whole([ReasoningDelta(0, "hm"), RefusalDelta(0, "no")])["choices"][0]["message"]
    assert message == {
        "role": "assistant",
        "content": "",
        "refusal": "no",
        "reasoning_content": "hm",
    }


def test_a_whole_answer_has_log_probabilities_where_they_were_asked_for() -> None:
    events = [TextDelta(0, "a", (TokenLogprob("a", -0.5),))]
    assert whole(events)["choices"][0]["logprobs"] is None
    asked = whole(events, wants_logprobs=True)["choices"][0]["logprobs"]
    assert [entry["token"] for entry in asked["content"]] == ["a"]


def test_a_whole_answer_finishes_what_was_left_open() -> None:
    events: list[Event] = [TextDelta(1, "b"), STOP]
    answer = whole(events, choices=3, finish=FinishReason.LENGTH)
    assert [(entry["index"], entry["finish_reason"]) for entry in answer["choices"]] == [
        (0, "stop"),
        (1, "length"),
        (2, "length"),
    ]


def test_a_whole_answer_of_nothing_has_its_choice() -> None:
    (entry,) = whole([])["choices"]
    assert entry["message"]["content"] == ""
    assert entry["finish_reason"] == "stop"


# -- there and back -------------------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
indices = st.integers(0, 2)
byte_lists = st.none() | st.lists(st.integers(0, 255), max_size=3)
logprobs = st.builds(
    TokenLogprob,
    texts,
    st.floats(-100, 0),
    byte_lists,
    st.lists(st.builds(TopLogprob, texts, st.floats(-100, 0), byte_lists), max_size=2).map(tuple),
)
pieces = st.one_of(
    st.builds(TextDelta, indices, texts, st.lists(logprobs, max_size=2).map(tuple)),
    st.builds(ReasoningDelta, indices, texts),
    st.builds(RefusalDelta, indices, texts),
    st.builds(ToolCallDelta, indices, indices, texts, st.none() | texts, st.none() | texts),
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """What a good upstream says: calls are named in their first piece, choices finish once."""
    named: set[tuple[int, int]] = set()
    events: list[Event] = []
    for event in draw(st.lists(pieces, max_size=10)):
        if isinstance(event, ToolCallDelta):
            call = (event.choice, event.index)
            first = call not in named
            named.add(call)
            names = (f"id{call}", f"name{call}") if first else (None, None)
            events.append(ToolCallDelta(*call, event.arguments, *names))
        else:
            events.append(event)
    finishes = [ChoiceFinished(index, draw(st.sampled_from(FinishReason))) for index in range(3)]
    return [*events, *draw(st.permutations(finishes))]


def decoded(stream: bytes) -> list[Event]:
    decoder = AnswerDecoder(choices=3, top_logprobs=2)
    events = [event for data in SseDecoder().feed(stream) for event in decoder.stream_event(data)]
    assert decoder.ended
    return events


def folded(events: Sequence[Event]) -> Answer:
    folding = AnswerFold()
    folding.add(events)
    return folding.answer()


@given(answers(), st.booleans())
def test_a_stream_that_is_decoded_again_says_the_same(
    events: list[Event], include_usage: bool
) -> None:
    reported = [UsageReported(USAGE)] if include_usage else []
    stream = streamed(events, choices=3, include_usage=include_usage)
    assert decoded(stream) == [*events, *reported]
    assert {(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks(stream)} == {
        ("chatcmpl-1", 1795175853, "fikra-pro-20b")
    }


@given(answers())
def test_streamed_and_whole_are_the_same_answer(events: list[Event]) -> None:
    encoder = WholeEncoder(ENVELOPE, choices=3, wants_logprobs=True)
    encoder.events(events)
    (body,) = encoder.close(USAGE)
    decoder = AnswerDecoder(choices=3, top_logprobs=2)
    read = decoder.body(body)
    assert decoder.ended
    assert folded(read) == folded(events) == folded(decoded(streamed(events, choices=3)))
    assert read[-1] == UsageReported(USAGE)
