"""Responses: OpenAI's protocol of stored, typed answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bandari.domain.events import Event
from bandari.web.openapi.errors import ANSWERING, ASKING, OPENAI, WRITING
from bandari.web.openapi.examples import CALL, OPENING, TEXT, spelled
from bandari.web.openapi.headers import BILLED, IDENTITY, RECORDED, STREAM_PARAMETERS
from bandari.web.openapi.operation import Answer, Example, Operation, Section, Stream
from bandari.web.openapi.shapes.responses_answer import (
    Compaction,
    DeletedResponse,
    InputItemList,
    Response,
)
from bandari.web.openapi.shapes.responses_events import ResponseStreamEvent
from bandari.web.openapi.shapes.responses_request import ResponsesRequest
from bandari.web.surface import envelope_of
from bandari.wire.responses.compaction import CompactionEncoder
from bandari.wire.responses.decode_request import decode_request
from bandari.wire.responses.encode_answer import StreamEncoder, WholeEncoder
from bandari.wire.responses.response_object import ResponseFrame

QUESTION: Final[ResponsesRequest] = {
    "model": "bandari-tiny",
    "input": "What is the capital of Kenya?",
}
STREAMED: Final[ResponsesRequest] = {
    "model": "bandari-tiny",
    "instructions": "You are a helpful assistant.",
    "input": [{"role": "user", "content": "What is the capital of Kenya?"}],
    "max_output_tokens": 50,
    "store": False,
    "stream": True,
}
CALLING: Final[ResponsesRequest] = {
    "model": "bandari-tiny",
    "input": "What is the weather in Nairobi?",
    "tools": [
        {
            "type": "function",
            "name": "get_weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        }
    ],
    "tool_choice": "required",
}
BACKGROUND: Final[ResponsesRequest] = {
    "model": "bandari-tiny",
    "input": "What is the capital of Kenya?",
    "background": True,
}


def _spelled(request: ResponsesRequest, events: Sequence[Event] = TEXT) -> bytes:
    """What the codec makes of the request and of an answer."""
    wanted = decode_request(msgspec.json.encode(request))
    kind = StreamEncoder if wanted.chat.stream else WholeEncoder
    frame = ResponseFrame(echo=wanted.echo, background=wanted.background, store=wanted.store)
    encoder = kind(envelope_of("resp_", OPENING), frame, now_s=lambda: OPENING.created_s + 1)
    return spelled(encoder, events)


def _answered(request: ResponsesRequest, events: Sequence[Event] = TEXT) -> Any:
    return msgspec.json.decode(_spelled(request, events))


def _compacted() -> Any:
    return msgspec.json.decode(spelled(CompactionEncoder(envelope_of("resp_", OPENING)), TEXT))


_STREAM: Final = Stream(
    ResponseStreamEvent,
    ends_with="an event `response.completed`, `response.incomplete` or `response.failed`",
    example=_spelled(STREAMED).decode(),
)

RESPONSES_SECTION: Final = Section(
    "Responses",
    "OpenAI's protocol of typed items, and of answers that are kept: a later request goes on from "
    "one, a client comes back for one that was written in the background.",
    (
        Operation(
            id="createResponse",
            method="post",
            path="/responses",
            summary="Continue a conversation, as Responses",
            description=(
                "The response is kept, unless `store` is false. `previous_response_id` goes on "
                "from one that was kept. With `background` the answer comes at once, `queued`, and "
                "is written then; with `stream` beside, its events can be read from where they "
                "are."
            ),
            parameters=("OnBehalfOf", "RequestId", *STREAM_PARAMETERS),
            body=ResponsesRequest,
            examples={
                "question": Example("A question", QUESTION),
                "streamed": Example("Streamed, and not kept", STREAMED),
                "tools": Example("A tool that must be called", CALLING),
                "background": Example("In the background", BACKGROUND),
            },
            answer=Answer(
                "The response: whole, or with `stream` as server-sent events. A stream that fails "
                "ends with `error` and `response.failed`.",
                shape=Response,
                stream=_STREAM,
                headers=BILLED,
                examples={
                    "answer": Example("An answer", _answered(QUESTION)),
                    "call": Example("A call", _answered(CALLING, CALL)),
                },
            ),
            protocol=OPENAI,
            failures=WRITING,
        ),
        Operation(
            id="getResponse",
            method="get",
            path="/responses/{id}",
            summary="Come back for a response",
            description=(
                "As it is now; with `stream`, the events of one that was made with `background` "
                "and `stream`, from the first or from where the client was, until its end."
            ),
            parameters=("ResponseId", "Stream", "StartingAfter", "OnBehalfOf", "RequestId"),
            answer=Answer("The response.", shape=Response, stream=_STREAM, headers=RECORDED),
            protocol=OPENAI,
            failures=WRITING,
        ),
        Operation(
            id="deleteResponse",
            method="delete",
            path="/responses/{id}",
            summary="Delete a response",
            description="One that is being written in the background is stopped.",
            parameters=("ResponseId", "OnBehalfOf", "RequestId"),
            answer=Answer("It is no more.", shape=DeletedResponse, headers=IDENTITY),
            protocol=OPENAI,
            failures=(*ASKING, 404),
        ),
        Operation(
            id="cancelResponse",
            method="post",
            path="/responses/{id}/cancel",
            summary="Stop a response",
            description=(
                "For one that was made with `background`. What was written until then is charged. "
                "One that has ended stays as it is."
            ),
            parameters=("ResponseId", "OnBehalfOf", "RequestId"),
            answer=Answer("The response.", shape=Response, headers=IDENTITY),
            protocol=OPENAI,
            failures=(*ASKING, 404, 409),
        ),
        Operation(
            id="listInputItems",
            method="get",
            path="/responses/{id}/input_items",
            summary="List what a response answers",
            description="The items of its own request, without those it goes on from.",
            parameters=(
                "ResponseId",
                "ItemOrder",
                "ItemLimit",
                "ItemAfter",
                "OnBehalfOf",
                "RequestId",
            ),
            answer=Answer("A page of them.", shape=InputItemList, headers=IDENTITY),
            protocol=OPENAI,
            failures=(*ASKING, 404),
        ),
        Operation(
            id="compactResponse",
            method="post",
            path="/responses/compact",
            summary="Make a conversation shorter",
            description="The model sums up what was said, and the items to go on with come back.",
            parameters=("OnBehalfOf", "RequestId"),
            body=ResponsesRequest,
            examples={"question": Example("A short conversation", QUESTION)},
            answer=Answer(
                "The items.",
                shape=Compaction,
                headers=BILLED,
                examples={"summary": Example("A summary", _compacted())},
            ),
            protocol=OPENAI,
            failures=ANSWERING,
        ),
    ),
)
