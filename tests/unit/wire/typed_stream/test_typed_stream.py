"""oRPC's event iterator: blocks that all have a name, ids that count, an end of its own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain import problem
from bandari.domain.events import (
    ChoiceFinished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
)
from bandari.domain.faults import InvalidValue, UpstreamInterrupted
from bandari.domain.problem import Blame, Problem
from bandari.domain.usage import Usage
from bandari.wire.chat_completions.encode_answer import StreamEncoder
from bandari.wire.envelope import Envelope
from bandari.wire.sse import SseDecoder, SseEvent
from bandari.wire.typed_stream.encode_answer import TypedStreamEncoder
from bandari.wire.typed_stream.errors import encode_problem

ENVELOPE = Envelope("chatcmpl-1", 1_795_175_853, "bandari-1")
STOP = ChoiceFinished(0, FinishReason.STOP)
USAGE = Usage(10, 2)


def read(frames: list[bytes]) -> list[SseEvent]:
    return SseDecoder().feed(b"".join(frames))


def test_every_block_names_its_event_and_counts_its_chunk() -> None:
    encoder = TypedStreamEncoder(ENVELOPE)
    frames = [*encoder.events([TextDelta(0, "Ka")]), *encoder.events([TextDelta(0, "ribu"), STOP])]
    frames += encoder.close(USAGE)
    events = read(frames)
    assert [(event.name, event.id) for event in events[:-1]] == [
        ("message", "0"),
        ("message", "1"),
        ("message", "2"),
        ("message", "3"),
    ]
    assert (events[-1].name, events[-1].data) == ("done", b"null")
    assert frames[1].startswith(b"event: message\nid: 1\ndata: {")
    deltas = [json.loads(event.data)["choices"][0] for event in events[:-1]]
    assert [choice["delta"] for choice in deltas] == [
        {"role": "assistant", "content": ""},
        {"content": "Ka"},
        {"content": "ribu"},
        {},
    ]
    # Its readers want these of every choice, also where there is nothing to say.
    assert all({"index", "delta", "finish_reason"} <= choice.keys() for choice in deltas)
    assert deltas[-1]["finish_reason"] == "stop"


def test_the_values_are_the_chunks_of_chat_completions() -> None:
    said = [TextDelta(0, "a"), ToolCallDelta(1, 0, "{}", "call_1", "f"), STOP]
    plain = StreamEncoder(ENVELOPE, choices=2, include_usage=True)
    typed = TypedStreamEncoder(ENVELOPE, choices=2, include_usage=True)
    chunks = read([*plain.events(said), *plain.close(USAGE)])[:-1]  # without [DONE]
    values = read([*typed.events(said), *typed.close(USAGE)])[:-1]
    assert [event.data for event in values] == [event.data for event in chunks]
    assert json.loads(values[-1].data)["usage"]["total_tokens"] == 12


def test_thoughts_are_where_its_clients_look_for_them() -> None:
    said = [ReasoningDelta(0, "Hm."), TextDelta(0, "a")]
    chunks = [json.loads(event.data) for event in read(TypedStreamEncoder(ENVELOPE).events(said))]
    assert chunks[1]["choices"][0]["delta"] == {"reasoning": "Hm."}


def test_usage_alone_has_no_chunk_of_its_own_unless_asked_for() -> None:
    events = read([*TypedStreamEncoder(ENVELOPE).close(USAGE)])
    assert [event.name for event in events] == ["message", "message", "done"]


@given(st.lists(st.lists(st.text(min_size=1), max_size=3), max_size=8))
def test_ids_count_on_over_any_batches(batches: list[list[str]]) -> None:
    encoder = TypedStreamEncoder(ENVELOPE)
    frames: list[bytes] = []
    for texts in batches:
        frames += encoder.events([TextDelta(0, text) for text in texts])
    frames += encoder.close(USAGE)
    ids = [event.id for event in read(frames) if event.name == "message"]
    assert ids == [str(number) for number in range(len(ids))]
    assert all(frame.endswith(b"\n\n") for frame in frames)


def test_a_failure_in_the_stream_is_an_event_of_its_own() -> None:
    (frame,) = TypedStreamEncoder(ENVELOPE).problem(problem.of_fault(UpstreamInterrupted()))
    (event,) = read([frame])
    assert event.name == "error"
    assert json.loads(event.data) == {
        "defined": False,
        "code": "BAD_GATEWAY",
        "status": 502,
        "message": "The model's provider broke the answer off before its end.",
        "data": {"code": "upstream_interrupted", "param": None},
    }


def test_a_whole_error_has_exactly_the_keys_that_its_reader_knows() -> None:
    told = problem.of_fault(InvalidValue("'n' must be at least 1.", param="n"))
    assert json.loads(encode_problem(told)) == {
        "defined": False,
        "code": "BAD_REQUEST",
        "status": 400,
        "message": "'n' must be at least 1.",
        "data": {"code": "invalid_value", "param": "n"},
    }


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "UNAUTHORIZED"),
        (402, "PAYMENT_REQUIRED"),
        (403, "FORBIDDEN"),
        (404, "NOT_FOUND"),
        (405, "METHOD_NOT_SUPPORTED"),
        (408, "TIMEOUT"),
        (409, "CONFLICT"),
        (413, "PAYLOAD_TOO_LARGE"),
        (418, "BAD_REQUEST"),
        (422, "UNPROCESSABLE_CONTENT"),
        (429, "TOO_MANY_REQUESTS"),
        (500, "INTERNAL_SERVER_ERROR"),
        (502, "BAD_GATEWAY"),
        (503, "SERVICE_UNAVAILABLE"),
        (504, "GATEWAY_TIMEOUT"),
        (507, "INTERNAL_SERVER_ERROR"),
    ],
)
def test_statuses_have_their_names(status: int, code: str) -> None:
    body = json.loads(encode_problem(Problem(status, "x", "y", Blame.OURS)))
    assert (body["status"], body["code"]) == (status, code)
