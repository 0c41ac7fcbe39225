"""The object around the items, in every state, for the clients that check it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from meetkai_mka1 import models as mka1
from msgspec import Raw
from openai.types.responses import CompactedResponse, Response

from bandari.domain import problem
from bandari.domain.faults import OwnFault, UpstreamInterrupted
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.responses.response_object import (
    CANCELLED,
    IN_PROGRESS,
    QUEUED,
    ResponseFrame,
    ResponseObject,
    encode_compaction,
    encode_deleted,
    with_status,
)

ENVELOPE = Envelope(id="resp_68a1", created=1795175853, model="fikra-pro-20b")
PLAIN = ResponseFrame()
ITEM = Raw(
    b'{"id":"msg_1","type":"message","status":"completed","role":"assistant",'
    b'"content":[{"type":"output_text","text":"a","annotations":[],"logprobs":[]}]}'
)
ONE, TWO = b"[%b]" % ITEM, b"[%b,%b]" % (ITEM, ITEM)
NO_USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def read(body: bytes) -> dict[str, Any]:
    """The object, which OpenAI's and MKA1's clients accept."""
    Response.model_validate_json(body)
    mka1.ResponseObject.model_validate_json(body)
    fields: dict[str, Any] = json.loads(body)
    return fields


def queued(frame: ResponseFrame) -> bytes:
    return ResponseObject(ENVELOPE, frame).encode(QUEUED)


def echoed(**fields: Any) -> dict[str, Any]:
    echo = {name: Raw(json.dumps(value).encode()) for name, value in fields.items()}
    return read(queued(ResponseFrame(echo)))


def test_what_an_answer_says_of_a_request_that_said_nothing() -> None:
    assert read(queued(PLAIN)) == {
        "id": "resp_68a1",
        "object": "response",
        "created_at": 1795175853,
        "status": "queued",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "usage": NO_USAGE,
        "model": "fikra-pro-20b",
        "background": False,
        "store": True,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "prompt_cache_key": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "user": None,
    }


SAID: dict[str, Any] = {
    "instructions": "Be brief.",
    "max_output_tokens": 100,
    "max_tool_calls": 3,
    "metadata": {"a": "b"},
    "parallel_tool_calls": False,
    "previous_response_id": "resp_0",
    "prompt_cache_key": "k",
    "reasoning": {"effort": "low"},
    "safety_identifier": "s",
    "service_tier": "auto",
    "temperature": 0.2,
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "tool_choice": {"type": "function", "name": "f"},
    "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": False}],
    "top_logprobs": 2,
    "top_p": 0.5,
    "truncation": "auto",
    "user": "u",
}


def test_what_the_client_said_is_repeated() -> None:
    answer = echoed(**SAID)
    assert {name: answer[name] for name in SAID} == SAID
    assert answer["background"] is False, "the frame says it"


def test_a_null_is_nothing_said() -> None:
    assert echoed(**dict.fromkeys(SAID)) == read(queued(PLAIN))


@pytest.mark.parametrize("text", [{"verbosity": "low"}, {"verbosity": "low", "format": None}])
def test_a_text_without_a_format_gets_one(text: dict[str, Any]) -> None:
    assert echoed(text=text)["text"] == {"verbosity": "low", "format": {"type": "text"}}


DEEP = b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}"


@pytest.mark.parametrize("text", [b"5", b"[]", b"{", DEEP])
def test_a_text_that_makes_no_sense_is_not_repeated(text: bytes) -> None:
    frame = ResponseFrame({"text": Raw(text)})
    assert read(queued(frame))["text"] == {"format": {"type": "text"}}


def test_fields_that_an_answer_does_not_have_are_not_repeated() -> None:
    assert echoed(model="other", input="x", id="y", status="z") == read(queued(PLAIN))


def test_how_it_is_run_and_kept() -> None:
    answer = read(queued(ResponseFrame(background=True, store=False)))
    assert (answer["background"], answer["store"]) == (True, False)


def test_the_states_of_a_response() -> None:
    usage = Usage(3, 2)
    failure = problem.of_fault(UpstreamInterrupted())
    bodies = {
        "queued": queued(PLAIN),
        "in_progress": ResponseObject(ENVELOPE, PLAIN).encode(IN_PROGRESS, output=ONE),
        "cancelled": ResponseObject(ENVELOPE, PLAIN).encode(CANCELLED, output=TWO, usage=usage),
        "failed": ResponseObject(ENVELOPE, PLAIN).failed(failure, output=ONE, usage=usage),
    }
    answers = {status: read(body) for status, body in bodies.items()}
    assert {status: answer["status"] for status, answer in answers.items()} == {
        status: status for status in bodies
    }
    assert [len(answer["output"]) for answer in answers.values()] == [0, 1, 2, 1]
    assert [answer["usage"]["total_tokens"] for answer in answers.values()] == [0, 0, 5, 5]
    assert [answer["completed_at"] for answer in answers.values()] == [None] * 4
    assert answers["failed"]["error"] == {
        "code": "server_error",
        "message": "The model's provider broke the answer off before its end.",
    }
    assert answers["cancelled"]["error"] is None


def test_a_deletion() -> None:
    body = encode_deleted("resp_1")
    assert json.loads(body) == {"id": "resp_1", "object": "response", "deleted": True}
    mka1.DeleteResponseObject.model_validate_json(body)


def test_a_compaction() -> None:
    compacted = Raw(b'{"id":"cmp_1","type":"compaction","encrypted_content":"gAAA","content":""}')
    body = encode_compaction(ENVELOPE, [ITEM, compacted], Usage(3, 2))
    CompactedResponse.model_validate_json(body)
    mka1.CompactedResponse.model_validate_json(body)
    assert json.loads(body) == {
        "id": "resp_68a1",
        "object": "response.compaction",
        "created_at": 1795175853,
        "output": [json.loads(bytes(item)) for item in (ITEM, compacted)],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 2,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 5,
        },
    }


def test_a_response_that_was_kept_says_how_it_ended() -> None:
    body = ResponseObject(ENVELOPE, PLAIN).encode(QUEUED, output=TWO)
    failed = read(with_status(body, "failed"))
    assert (failed["status"], failed["error"]["code"]) == ("failed", "server_error")
    assert failed["output"] == json.loads(TWO)
    cancelled = read(with_status(body, "cancelled"))
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", None)
    assert with_status(body, "queued") == body


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[]", DEEP])
def test_a_response_that_cannot_be_read_is_our_fault(body: bytes) -> None:
    with pytest.raises(OwnFault, match="cannot be read"):
        with_status(body, "failed")
