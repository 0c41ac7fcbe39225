"""From events to the bytes of a legacy answer, streamed and whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bandari.domain import problem
from bandari.domain.events import (
    ChoiceFinished,
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
from bandari.wire.chat_completions.errors import encode_problem
from bandari.wire.completions.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.envelope import Envelope
from bandari.wire.sse import SseDecoder

ENVELOPE = Envelope(id="cmpl-1", created=1795175853, model="m")
USAGE = Usage(input_tokens=10, output_tokens=2, cached_tokens=9, reasoning_tokens=1)
HEAD = (
    b'data: {"id":"cmpl-1","object":"text_completion","created":1795175853,"model":"m","choices":['
)
USAGE_JSON = (
    b'{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,'
    b'"prompt_tokens_details":{"cached_tokens":9},'
    b'"completion_tokens_details":{"reasoning_tokens":1}}'
)
STOP = ChoiceFinished(0, FinishReason.STOP)
LOGPROBS = (
    TokenLogprob("He", -0.5, None, (TopLogprob("He", -0.5), TopLogprob("Ho", -1.5))),
    TokenLogprob("llo", -0.25),
)


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


def pieces(stream: bytes, choice: int = 0) -> list[dict[str, Any]]:
    return [
        entry for chunk in chunks(stream) for entry in chunk["choices"] if entry["index"] == choice
    ]


def whole(
    events: Sequence[Event], *, choices: int = 1, finish: FinishReason | None = None
) -> dict[str, Any]:
    encoder = WholeEncoder(ENVELOPE, choices=choices)
    assert list(encoder.events(events)) == []
    (body,) = encoder.close(USAGE, finish)
    read: dict[str, Any] = json.loads(body)
    return read


def test_a_stream_byte_for_byte() -> None:
    assert streamed([TextDelta(0, "Hé"), TextDelta(0, '"\n'), STOP]) == b"".join(
        [
            HEAD + '{"text":"Hé","index":0,"logprobs":null,"finish_reason":null}]}\n\n'.encode(),
            HEAD + b'{"text":"\\"\\n","index":0,"logprobs":null,"finish_reason":null}]}\n\n',
            HEAD + b'{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}]}\n\n',
            b"data: [DONE]\n\n",
        ]
    )


def test_a_stream_with_usage_byte_for_byte() -> None:
    assert streamed([TextDelta(0, "a"), STOP], include_usage=True) == b"".join(
        [
            HEAD
            + b'{"text":"a","index":0,"logprobs":null,"finish_reason":null}],"usage":null}\n\n',
            HEAD
            + b'{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":null}\n\n',
            HEAD + b'],"usage":' + USAGE_JSON + b"}\n\n",
            b"data: [DONE]\n\n",
        ]
    )


def test_a_whole_answer() -> None:
    assert whole([TextDelta(0, "Hé"), TextDelta(0, "y"), STOP]) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1795175853,
        "model": "m",
        "choices": [{"text": "Héy", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": json.loads(USAGE_JSON),
    }


def test_what_we_ended_says_why_and_every_choice_ends() -> None:
    events = [TextDelta(1, "b"), ChoiceFinished(1, FinishReason.CONTENT_FILTER), TextDelta(0, "a")]
    stream = streamed(events, choices=3, finish=FinishReason.LENGTH)
    reasons = {
        choice: [entry["finish_reason"] for entry in pieces(stream, choice)] for choice in range(3)
    }
    assert reasons == {0: [None, "length"], 1: [None, "content_filter"], 2: ["length"]}
    answer = whole(events, choices=3, finish=FinishReason.LENGTH)
    assert [(each["text"], each["finish_reason"]) for each in answer["choices"]] == [
        ("a", "length"),
        ("b", "content_filter"),
        ("", "length"),
    ]


def test_a_choice_that_nobody_announced_ends_too() -> None:
    assert pieces(streamed([TextDelta(4, "x")]), 4)[-1]["finish_reason"] == "stop"


def test_a_refusal_is_text_and_thoughts_and_calls_are_not_said() -> None:
    events: list[Event] = [
        ReasoningDelta(0, "hmm"),
        RefusalDelta(0, "No."),
        ToolCallDelta(0, 0, "{}", "id", "name"),
        UsageReported(USAGE),
        ChoiceFinished(0, FinishReason.TOOL_CALLS),
    ]
    stream = streamed(events)
    assert [entry["text"] for entry in pieces(stream)] == ["No.", ""]
    assert pieces(stream)[-1]["finish_reason"] == "stop"
    assert whole(events)["choices"] == [
        {"text": "No.", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]


def test_logprobs_are_lists_side_by_side() -> None:
    told = {
        "tokens": ["He", "llo"],
        "token_logprobs": [-0.5, -0.25],
        "top_logprobs": [{"He": -0.5, "Ho": -1.5}, {}],
        "text_offset": [0, 2],
    }
    answer = whole([TextDelta(0, "Hello", LOGPROBS), STOP])
    assert answer["choices"][0]["logprobs"] == told
    stream = streamed([TextDelta(0, "Hello", LOGPROBS), TextDelta(0, "x"), STOP])
    assert [entry["logprobs"] for entry in pieces(stream)] == [told, None, None]


def test_offsets_go_on_through_a_stream_choice_by_choice() -> None:
    token = (TokenLogprob("ab", -1.0),)
    stream = streamed(
        [TextDelta(0, "ab", token), TextDelta(1, "ab", token), TextDelta(0, "ab", token)],
        choices=2,
    )
    assert [each["logprobs"]["text_offset"] for each in pieces(stream)[:2]] == [[0], [2]]
    assert pieces(stream, 1)[0]["logprobs"]["text_offset"] == [0]


def test_without_likely_tokens_there_is_no_list_of_them() -> None:
    answer = whole([TextDelta(0, "llo", LOGPROBS[1:]), STOP])
    assert answer["choices"][0]["logprobs"]["top_logprobs"] is None


def test_of_two_tokens_that_look_alike_the_likelier_counts() -> None:
    entry = TokenLogprob("\ufffd", -0.5, None, (TopLogprob("�", -0.5), TopLogprob("�", -3.0)))
    answer = whole([TextDelta(0, "", (entry,)), STOP])
    assert answer["choices"][0]["logprobs"]["top_logprobs"] == [{"�": -0.5}]


def test_a_problem_is_an_event_in_a_stream_and_a_status_elsewhere() -> None:
    what = problem.of_fault(UpstreamInterrupted())
    assert list(StreamEncoder(ENVELOPE).problem(what)) == [
        b"data: " + encode_problem(what) + b"\n\n"
    ]
    assert list(WholeEncoder(ENVELOPE).problem(what)) == []


texts = st.builds(TextDelta, st.integers(0, 2), st.text(st.characters(codec="utf-8")), st.just(()))


@given(st.lists(texts))
def test_a_stream_says_what_the_whole_says(events: list[TextDelta]) -> None:
    answer = whole(events, choices=3)
    stream = streamed(events, choices=3)
    for choice in answer["choices"]:
        said = pieces(stream, choice["index"])
        assert "".join(entry["text"] for entry in said) == choice["text"]
        assert [each["finish_reason"] for each in said if each["finish_reason"]] == ["stop"]
