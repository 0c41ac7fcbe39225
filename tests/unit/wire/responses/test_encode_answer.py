"""From events to a client's bytes, streamed and whole, as OpenAI's and MKA1's clients read them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meetkai_mka1 import models as mka1
from msgspec import Raw
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

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
    TopLogprob,
    UsageReported,
)
from bandari.domain.faults import Cancelled, Fault, OwnFault, UpstreamInterrupted, UpstreamMalformed
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.decode_answer import AnswerDecoder
from bandari.wire.responses.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.responses.response_object import ResponseFrame
from bandari.wire.sse import SseDecoder

ENVELOPE = Envelope(id="resp_68a1", created=1795175853, model="fikra-pro-20b")
ALL = ResponseFrame(include_encrypted=True, include_logprobs=True)
USAGE = Usage(10, 4, cached_tokens=5, cache_write_tokens=2, reasoning_tokens=1)
STOP = ChoiceFinished(0, FinishReason.STOP)
OWN_SEAL = Seal(PROTOCOL, "gAAAA", is_thought=True)
INTERRUPTED = problem.of_fault(UpstreamInterrupted())
NOW = 1795175860

openai_event: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
mka1_event: TypeAdapter[Any] = TypeAdapter(mka1.ResponseStreamingEvent)


def stream_encoder(frame: ResponseFrame = ALL) -> StreamEncoder:
    return StreamEncoder(ENVELOPE, frame, now_s=lambda: NOW)


def streamed(
    events: Sequence[Event], frame: ResponseFrame = ALL, finish: FinishReason | None = None
) -> bytes:
    encoder = stream_encoder(frame)
    return b"".join([*encoder.events(events), *encoder.close(USAGE, finish)])


def whole(
    events: Sequence[Event], frame: ResponseFrame = ALL, finish: FinishReason | None = None
) -> bytes:
    encoder = WholeEncoder(ENVELOPE, frame, now_s=lambda: NOW)
    assert encoder.events(events) == ()
    (body,) = encoder.close(USAGE, finish)
    return body


def told(stream: bytes) -> list[dict[str, Any]]:
    """The events of a stream, each of which is what its clients take it for."""
    events = []
    for number, sse in enumerate(SseDecoder().feed(stream)):
        data = json.loads(sse.data)
        assert data["type"] == sse.name
        assert data["sequence_number"] == number
        assert sse.id is None
        assert not type(openai_event.validate_json(sse.data)).__name__.startswith("Unknown")
        mka1_event.validate_json(sse.data)
        events.append(data)
    return events


def item_events(events: Sequence[Event], frame: ResponseFrame = ALL) -> list[dict[str, Any]]:
    """What a stream says between its opening and its end, without what is the same in all."""
    opened, going, *items, _ = told(streamed(events, frame))
    assert opened["type"] == "response.created"
    assert going["type"] == "response.in_progress"
    for event in items:
        del event["sequence_number"]
    return items


def output(events: Sequence[Event], frame: ResponseFrame = ALL) -> list[dict[str, Any]]:
    """The items of the response, which are the same for a stream and for a whole answer."""
    *_, last = told(streamed(events, frame))
    body = whole(events, frame)
    assert json.loads(body) == last["response"]
    Response.model_validate_json(body)
    mka1.ResponseObject.model_validate_json(body)
    items: list[dict[str, Any]] = last["response"]["output"]
    return items


# -- the frames of a stream -----------------------------------------------------------------------


def test_a_piece_of_text_byte_for_byte() -> None:
    encoder = stream_encoder()
    encoder.events([TextDelta(0, "a")])
    (frame,) = encoder.events([TextDelta(0, 'é"\n')])
    assert frame == (
        b"event: response.output_text.delta\n"
        b'data: {"type":"response.output_text.delta","sequence_number":5,'
        b'"item_id":"msg_68a1_0","output_index":0,"content_index":0,'
        b'"delta":"\xc3\xa9\\"\\n","logprobs":[]}\n\n'
    )


def test_every_frame_is_one_event() -> None:
    echo = {"tools": Raw(b'[\n  {"type": "function",\r\n "name": "f", "parameters": {}}\n]')}
    encoder = stream_encoder(ResponseFrame(echo))
    events = [ReasoningDelta(0, "\n"), TextDelta(0, "a\n\nb"), ToolCallDelta(0, 0, "\n", "1", "f")]
    frames = [*encoder.opening(), *encoder.events(events), *encoder.problem(INTERRUPTED)]
    for frame in frames:
        assert frame.startswith(b"event: ")
        assert frame.endswith(b"\n\n")
        assert frame.count(b"\n") == 3
        assert b"\r" not in frame
    assert len(told(b"".join(frames))) == len(frames)


def test_a_stream_opens_with_the_first_thing_to_show() -> None:
    encoder = stream_encoder()
    unseen = [UsageReported(USAGE), Counted(0, 1, 0, 1), InputCounted(1), STOP]
    assert encoder.events(unseen) == []
    kinds = [event["type"] for event in told(b"".join(encoder.events([TextDelta(0, "a")])))]
    assert kinds[:3] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
    ]


def test_a_stream_opens_once_and_also_where_there_is_nothing_to_show() -> None:
    encoder = stream_encoder()
    opening = encoder.opening()
    assert [event["type"] for event in told(b"".join(opening))] == [
        "response.created",
        "response.in_progress",
    ]
    assert encoder.opening() == []
    (end,) = encoder.close(USAGE)
    assert told(b"".join([*opening, end]))[-1]["type"] == "response.completed"
    assert [event["type"] for event in told(streamed([]))] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]


def test_what_runs_in_the_background_is_queued_first() -> None:
    encoder = stream_encoder(ResponseFrame(background=True))
    events = told(b"".join([*encoder.opening(), *encoder.close(USAGE)]))
    assert [(event["type"], event["response"]["status"]) for event in events] == [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
        ("response.completed", "completed"),
    ]
    assert all(event["response"]["background"] is True for event in events)


def test_nothing_of_the_end_is_told_before_the_close() -> None:
    encoder = stream_encoder()
    frames = encoder.events([TextDelta(0, "a"), STOP, UsageReported(USAGE)])
    kinds = [event["type"] for event in told(b"".join(frames))]
    assert kinds[-1] == "response.output_text.delta"
    assert encoder.snapshot().status == b"in_progress"
    *_, last = encoder.close(USAGE)
    assert json.loads(encoder.snapshot().body) == json.loads(last.split(b"data: ")[1])["response"]


# -- items ----------------------------------------------------------------------------------------

MESSAGE = {"item_id": "msg_68a1_0", "output_index": 0}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message(status: str, *content: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "msg_68a1_0",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": list(content),
    }


def test_a_message_of_text_and_a_refusal() -> None:
    events = [TextDelta(0, "a"), TextDelta(0, "b"), RefusalDelta(0, "n"), RefusalDelta(0, "o")]
    first, second = MESSAGE | {"content_index": 0}, MESSAGE | {"content_index": 1}
    refusal = {"type": "refusal", "refusal": "no"}
    item = message("completed", text_part("ab"), refusal)
    assert item_events(events) == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": message("in_progress"),
        },
        {"type": "response.content_part.added", **first, "part": text_part("")},
        {"type": "response.output_text.delta", **first, "delta": "a", "logprobs": []},
        {"type": "response.output_text.delta", **first, "delta": "b", "logprobs": []},
        {"type": "response.output_text.done", **first, "text": "ab", "logprobs": []},
        {"type": "response.content_part.done", **first, "part": text_part("ab")},
        {
            "type": "response.content_part.added",
            **second,
            "part": {"type": "refusal", "refusal": ""},
        },
        {"type": "response.refusal.delta", **second, "delta": "n"},
        {"type": "response.refusal.delta", **second, "delta": "o"},
        {"type": "response.refusal.done", **second, "refusal": "no"},
        {"type": "response.content_part.done", **second, "part": refusal},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    assert output(events) == [item]


def test_a_thought_and_its_seal() -> None:
    events = [ReasoningDelta(0, "h"), ReasoningDelta(0, "m"), ReasoningSealed(0, OWN_SEAL)]
    place = {"item_id": "rs_68a1_0", "output_index": 0}
    item = {
        "id": "rs_68a1_0",
        "type": "reasoning",
        "status": "completed",
        "summary": [{"type": "summary_text", "text": "hm"}],
        "encrypted_content": "gAAAA",
    }
    begun = item | {"status": "in_progress", "summary": [], "encrypted_content": None}
    kind = "response.reasoning_summary"
    place |= {"summary_index": 0}
    assert item_events(events) == [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": f"{kind}_part.added", **place, "part": {"type": "summary_text", "text": ""}},
        {"type": f"{kind}_text.delta", **place, "delta": "h"},
        {"type": f"{kind}_text.delta", **place, "delta": "m"},
        {"type": f"{kind}_text.done", **place, "text": "hm"},
        {"type": f"{kind}_part.done", **place, "part": {"type": "summary_text", "text": "hm"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    assert output(events) == [item]


def test_a_call() -> None:
    events = [
        ToolCallDelta(0, 3, "", "call_A", "f"),
        ToolCallDelta(0, 3, '{"a"'),
        ToolCallDelta(0, 3, ":1}"),
    ]
    place = {"item_id": "fc_68a1_0", "output_index": 0}
    item = {
        "id": "fc_68a1_0",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_A",
        "name": "f",
        "arguments": '{"a":1}',
    }
    begun = item | {"status": "in_progress", "arguments": ""}
    kind = "response.function_call_arguments"
    assert item_events(events) == [
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": f"{kind}.delta", **place, "delta": '{"a"'},
        {"type": f"{kind}.delta", **place, "delta": ":1}"},
        {"type": f"{kind}.done", **place, "name": "f", "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
    ]
    assert output(events) == [item]


def test_another_kind_closes_the_item() -> None:
    events = [
        ReasoningDelta(0, "a"),
        TextDelta(0, "b"),
        ToolCallDelta(0, 0, "{}", "1", "f"),
        ToolCallDelta(0, 1, "{}", "2", "f"),
        RefusalDelta(0, "c"),
        TextDelta(0, "d"),
        ReasoningDelta(0, "e"),
    ]
    items = output(events)
    assert [item["id"] for item in items] == [
        *("rs_68a1_0", "msg_68a1_1", "fc_68a1_2", "fc_68a1_3", "msg_68a1_4", "rs_68a1_5"),
    ]
    assert [part["type"] for part in items[4]["content"]] == ["refusal", "output_text"]
    done = [
        event["output_index"]
        for event in item_events(events)
        if event["type"] == "response.output_item.done"
    ]
    assert done == [0, 1, 2, 3, 4, 5]


def test_what_is_empty_shows_nothing() -> None:
    events = [TextDelta(0, ""), ReasoningDelta(0, ""), RefusalDelta(0, "")]
    assert output(events) == []
    unasked = [TextDelta(0, "", (TokenLogprob("a", -1.0),))]
    assert output(unasked, ResponseFrame()) == []


def test_an_answer_may_have_no_items() -> None:
    assert output([STOP]) == []


# -- thoughts -------------------------------------------------------------------------------------


def test_thoughts_end_with_their_seals() -> None:
    other = Seal("messages", "sig", is_thought=False)
    events = [
        ReasoningDelta(0, "a"),
        ReasoningSealed(0, other),
        ReasoningDelta(0, "b"),
        ReasoningSealed(0, OWN_SEAL),
        ReasoningSealed(0, OWN_SEAL),
        ReasoningDelta(0, "c"),
    ]
    assert [
        ([part["text"] for part in item["summary"]], item["encrypted_content"])
        for item in output(events)
    ] == [
        (["a"], "bandari:messages:signature:sig"),
        (["b"], "gAAAA"),
        ([], "gAAAA"),
        (["c"], None),
    ]


def test_a_thought_without_text_has_no_summary() -> None:
    kinds = [event["type"] for event in item_events([ReasoningSealed(0, OWN_SEAL)])]
    assert kinds == ["response.output_item.added", "response.output_item.done"]


def test_seals_are_for_those_who_asked() -> None:
    events = [ReasoningDelta(0, "a"), ReasoningSealed(0, OWN_SEAL)]
    (item,) = output(events, ResponseFrame())
    assert item["encrypted_content"] is None
    assert "gAAAA" not in streamed(events, ResponseFrame()).decode()


# -- calls ----------------------------------------------------------------------------------------


def test_a_call_that_is_over_does_not_go_on() -> None:
    encoder = stream_encoder()
    encoder.events([ToolCallDelta(0, 0, "{", "1", "f"), ToolCallDelta(0, 1, "{}", "2", "g")])
    assert encoder.events([ToolCallDelta(0, 0, "", "1", "f")]) == []
    with pytest.raises(UpstreamMalformed, match="went on with a tool call"):
        encoder.events([ToolCallDelta(0, 0, "}")])


def test_pieces_of_calls_may_come_interleaved_in_a_whole_answer() -> None:
    events = [
        ToolCallDelta(0, 0, "{", "1", "f"),
        ToolCallDelta(0, 1, "[]", "2", "g"),
        ToolCallDelta(0, 0, "}"),
    ]
    items = json.loads(whole(events))["output"]
    assert [item["arguments"] for item in items] == ["{}", "[]"]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    events = [ToolCallDelta(0, 0, "", "1", "f")]
    (item,) = output(events)
    assert item["arguments"] == "{}"
    kinds = [event["type"] for event in item_events(events)]
    assert "response.function_call_arguments.delta" not in kinds
    assert item_events(events)[1]["arguments"] == "{}"


def test_each_call_has_an_id_of_its_own() -> None:
    """Some servers give none, some the function's name."""
    given = [None, "", "get_weather", "get_weather", "get_weather"]
    events = [ToolCallDelta(0, n, "{}", call_id, "f") for n, call_id in enumerate(given)]
    assert [item["call_id"] for item in output(events)] == [
        "call_68a1_0",
        "call_68a1_1",
        "get_weather",
        "call_68a1_3",
        "call_68a1_4",
    ]


def test_a_call_is_shown_when_its_name_is_known() -> None:
    events = [
        ToolCallDelta(0, 0, "", "1"),
        ToolCallDelta(0, 0, "{"),
        ToolCallDelta(0, 0, "}", None, "f"),
        ToolCallDelta(0, 0, " ", None, "g"),
        ToolCallDelta(0, 1, "[]", "2"),
        TextDelta(0, "a"),
    ]
    shown = [
        event["item"]["name"] if "item" in event else event.get("delta", event.get("arguments"))
        for event in item_events(events)
        if event.get("item_id", "fc").startswith("fc") and event["output_index"] < 2
    ]
    assert shown == ["f", "{}", " ", "{} ", "f", "", "[]", "[]", ""]
    opened = [e for e in item_events(events) if e["type"] == "response.output_item.added"]
    assert [event["item"]["status"] for event in opened] == ["in_progress"] * 3
    assert [event["item"].get("arguments") for event in opened] == ["", "", None]


# -- log-probabilities ----------------------------------------------------------------------------

LOGPROBS = (
    TokenLogprob("a", -0.5, [97], (TopLogprob("a", -0.5, [97]), TopLogprob("b", -1.5))),
    TokenLogprob("\ufffd", -2.0),
)
LOGPROBS_JSON = [
    {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [
            {"token": "a", "logprob": -0.5, "bytes": [97]},
            {"token": "b", "logprob": -1.5, "bytes": []},
        ],
    },
    {"token": "\ufffd", "logprob": -2.0, "bytes": [], "top_logprobs": []},
]


def test_log_probabilities_are_for_those_who_asked() -> None:
    events = [TextDelta(0, "a", LOGPROBS[:1]), TextDelta(0, "", LOGPROBS[1:])]
    (item,) = output(events)
    assert item["content"][0]["logprobs"] == LOGPROBS_JSON
    given = [event["logprobs"] for event in item_events(events) if "output_text" in event["type"]]
    assert given == [LOGPROBS_JSON[:1], LOGPROBS_JSON[1:], LOGPROBS_JSON]
    (plain,) = output(events, ResponseFrame())
    assert plain["content"][0]["logprobs"] == []
    assert b"0.5" not in streamed(events, ResponseFrame())


# -- the end --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        (FinishReason.STOP, "completed", None),
        (FinishReason.TOOL_CALLS, "completed", None),
        (FinishReason.LENGTH, "incomplete", {"reason": "max_output_tokens"}),
        (FinishReason.CONTENT_FILTER, "incomplete", {"reason": "content_filter"}),
    ],
)
@pytest.mark.parametrize("who", ["upstream", "we"])
def test_how_an_answer_ends(
    reason: FinishReason, status: str, details: dict[str, str] | None, who: str
) -> None:
    events: list[Event] = [ReasoningDelta(0, "a"), TextDelta(0, "b")]
    finish = reason
    if who == "upstream":
        events.append(ChoiceFinished(0, reason))
        finish = FinishReason.STOP
    *_, item, last = told(streamed(events, finish=finish))
    assert last["type"] == f"response.{status}"
    response = last["response"]
    assert response["status"] == status
    assert response["incomplete_details"] == details
    assert response["error"] is None
    assert response["completed_at"] == (NOW if status == "completed" else None)
    assert [item["status"] for item in response["output"]] == ["completed", status]
    assert item["item"] == response["output"][-1]
    assert json.loads(whole(events, finish=finish)) == response


def test_usage() -> None:
    assert json.loads(whole([STOP]))["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 14,
    }


# -- problems -------------------------------------------------------------------------------------


def test_a_problem_is_told_in_every_way_that_clients_look_for_it() -> None:
    encoder = stream_encoder()
    begun = encoder.events([TextDelta(0, "a"), ToolCallDelta(0, 0, "{", "1", "f")])
    frames = encoder.problem(INTERRUPTED)
    assert len(frames) == 2
    *_, error, failed = told(b"".join([*begun, *frames]))
    del error["sequence_number"]
    said = "The model's provider broke the answer off before its end."
    assert error == {
        "type": "error",
        "code": "upstream_interrupted",
        "message": said,
        "param": None,
        "error": {
            "type": "server_error",
            "code": "upstream_interrupted",
            "message": said,
            "param": None,
        },
    }
    assert failed["type"] == "response.failed"
    response = failed["response"]
    assert response["status"] == "failed"
    assert response["error"] == {"code": "server_error", "message": said}
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    assert json.loads(encoder.snapshot().body) == response


def test_a_problem_before_anything_else_is_numbered_from_0() -> None:
    events = told(b"".join(stream_encoder().problem(INTERRUPTED)))
    assert [event["type"] for event in events] == ["error", "response.failed"]


def test_a_whole_answer_has_a_status_to_tell_problems() -> None:
    assert WholeEncoder(ENVELOPE, ALL, now_s=lambda: NOW).problem(INTERRUPTED) == ()


# -- OpenAI's client ------------------------------------------------------------------------------


def client(stream: bytes) -> openai.OpenAI:
    """One whose server answers everything with this stream."""
    headers = {"content-type": "text/event-stream"}
    answer = httpx2.Response(200, headers=headers, content=stream)
    transport = httpx2.MockTransport(lambda _: answer)
    return openai.OpenAI(api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport))


def test_openais_client_reads_a_stream() -> None:
    events = [
        ReasoningDelta(0, "hm"),
        ReasoningSealed(0, OWN_SEAL),
        TextDelta(0, "Jambo"),
        ToolCallDelta(0, 0, "{}", "1", "f"),
    ]
    with (
        client(streamed(events)) as sdk,
        sdk.responses.stream(model="m", input="x") as stream,
    ):
        response = stream.get_final_response()
    assert response.output_text == "Jambo"
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert response.usage is not None
    assert response.usage.total_tokens == 14


@pytest.mark.parametrize("begun", [True, False])
def test_openais_client_raises_what_went_wrong(begun: bool) -> None:
    encoder = stream_encoder()
    frames = [*encoder.events([TextDelta(0, "a")])] if begun else []
    data = b"".join([*frames, *encoder.problem(INTERRUPTED)])
    with client(data) as sdk, pytest.raises(openai.APIError) as caught:
        list(sdk.responses.create(model="m", input="x", stream=True))
    assert caught.value.code == "upstream_interrupted"
    assert caught.value.message == "The model's provider broke the answer off before its end."


# -- properties -----------------------------------------------------------------------------------

TEXTS = st.text(min_size=1, max_size=5)
BYTES = st.none() | st.lists(st.integers(0, 255), min_size=1, max_size=3)
NUMBERS = st.floats(max_value=0, allow_nan=False, allow_infinity=False)
TOPS = st.builds(TopLogprob, TEXTS, NUMBERS, BYTES)
ENTRIES = st.builds(TokenLogprob, TEXTS, NUMBERS, BYTES, st.lists(TOPS, max_size=2).map(tuple))
SEALS = st.builds(
    Seal,
    st.sampled_from([PROTOCOL, "messages"]),
    st.text("ab:/+=", min_size=1, max_size=9),
    st.booleans(),
)


def group(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.one_of(*kinds), min_size=1, max_size=3)


GROUPS = st.one_of(
    group(st.builds(TextDelta, st.just(0), TEXTS, st.lists(ENTRIES, max_size=2).map(tuple))),
    group(st.builds(RefusalDelta, st.just(0), TEXTS)),
    group(
        st.builds(ReasoningDelta, st.just(0), TEXTS),
        st.builds(ReasoningSealed, st.just(0), SEALS),
    ),
    st.lists(TEXTS, max_size=3),
)
USAGES = st.builds(
    lambda cached, written, fresh, made, thought: Usage(
        cached + written + fresh, made, cached, written, thought
    ),
    *[st.integers(0, 1_000_000)] * 5,
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any answer that an upstream may give; a list of texts stands for a call's arguments."""
    events: list[Event] = []
    calls = 0
    for drawn in draw(st.lists(GROUPS, max_size=6)):
        if drawn and not isinstance(drawn[0], str):
            events += drawn
            continue
        name = draw(TEXTS)
        events.append(ToolCallDelta(0, calls, "", f"call_{calls}", name))
        events += [ToolCallDelta(0, calls, piece) for piece in drawn or ("{}",)]
        calls += 1
    ends = [FinishReason.LENGTH, FinishReason.CONTENT_FILTER]
    end = draw(st.sampled_from([FinishReason.TOOL_CALLS if calls else FinishReason.STOP, *ends]))
    return [*events, ChoiceFinished(0, end)]


def folded(events: Sequence[Event]) -> tuple[Answer, list[Seal], Usage | None]:
    fold = AnswerFold(1)
    fold.add(events)
    seals = [event.seal for event in events if isinstance(event, ReasoningSealed)]
    usages = [event.usage for event in events if isinstance(event, UsageReported)]
    return fold.answer(), seals, usages[-1] if usages else None


@given(answers(), USAGES)
def test_what_is_written_is_read_back(events: list[Event], usage: Usage) -> None:
    expected = folded([*events, UsageReported(usage)])
    encoder = stream_encoder()
    stream = b"".join([*encoder.events(events), *encoder.close(usage)])
    decoder = AnswerDecoder(top_logprobs=2)
    back = [event for sse in SseDecoder().feed(stream) for event in decoder.stream_event(sse)]
    assert folded(back) == expected
    assert decoder.is_over

    whole_encoder = WholeEncoder(ENVELOPE, ALL, now_s=lambda: NOW)
    whole_encoder.events(events)
    (body,) = whole_encoder.close(usage)
    assert folded(AnswerDecoder(top_logprobs=2).body(body)) == expected
    assert json.loads(body) == json.loads(encoder.snapshot().body)


@given(answers(), st.booleans(), st.booleans())
def test_openais_own_reader_takes_any_stream(
    events: list[Event], background: bool, problem_ends_it: bool
) -> None:
    frame = ResponseFrame(include_encrypted=True, include_logprobs=True, background=background)
    encoder = stream_encoder(frame)
    frames = [*encoder.opening(), *encoder.events(events)]
    frames += encoder.problem(INTERRUPTED) if problem_ends_it else encoder.close(USAGE)
    told(b"".join(frames))
    state: ResponseStreamState[Any] = ResponseStreamState(
        input_tools=openai.omit, text_format=openai.omit
    )
    for sse in SseDecoder().feed(b"".join(frames)):
        state.handle_event(openai_event.validate_json(sse.data))
    response = Response.model_validate_json(encoder.snapshot().body)
    answer = folded(events)[0].choices[0]
    assert response.output_text == answer.text
    assert len(json.loads(encoder.snapshot().output)) == len(response.output)


# -- the whole at any moment ----------------------------------------------------------------------

WHOLE = [TextDelta(0, "Jambo"), STOP]


@pytest.mark.parametrize("kind", [StreamEncoder, WholeEncoder])
@pytest.mark.parametrize("background", [False, True])
def test_the_whole_is_told_at_any_moment(kind: type[StreamEncoder], background: bool) -> None:
    encoder = kind(ENVELOPE, ResponseFrame(background=background), now_s=lambda: NOW)
    before = encoder.snapshot()
    assert before.status == (b"queued" if background else b"in_progress")
    assert before.output == b"[]"
    assert Response.model_validate_json(before.body).output == []
    encoder.events(WHOLE)
    while_it_runs = encoder.snapshot()
    assert while_it_runs.status == b"in_progress"
    assert json.loads(while_it_runs.output)[0]["status"] == "in_progress"
    assert Response.model_validate_json(while_it_runs.body).output_text == "Jambo"
    encoder.close(USAGE)
    after = encoder.snapshot()
    response = Response.model_validate_json(after.body)
    assert (after.status, response.status) == (b"completed", "completed")
    assert json.loads(after.output) == json.loads(after.body)["output"]


@pytest.mark.parametrize("kind", [StreamEncoder, WholeEncoder])
@pytest.mark.parametrize(
    ("fault", "status"),
    [(UpstreamInterrupted, "failed"), (Cancelled, "cancelled"), (OwnFault, "failed")],
)
def test_a_problem_is_told_even_after_a_close(
    kind: type[StreamEncoder], fault: type[Fault], status: str
) -> None:
    encoder = kind(ENVELOPE, ResponseFrame(), now_s=lambda: NOW)
    encoder.events(WHOLE)
    encoder.close(USAGE)
    encoder.problem(problem.of_fault(fault()))
    told_last = encoder.snapshot()
    assert told_last.status.decode() == status == json.loads(told_last.body)["status"]
    assert json.loads(told_last.output)[0]["content"][0]["text"] == "Jambo"
