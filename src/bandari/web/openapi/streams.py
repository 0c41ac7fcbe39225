"""Streams: an answer's recording, read again by its id."""

from __future__ import annotations

from typing import Final

from bandari.web import surface
from bandari.web.openapi.chat import STREAMED
from bandari.web.openapi.errors import ASKING, OPENAI, WRITING
from bandari.web.openapi.examples import streamed
from bandari.web.openapi.headers import IDENTITY, RECORDED, RESUMING
from bandari.web.openapi.operation import Answer, Example, Operation, Section, Stream
from bandari.web.openapi.shapes.chat_answer import ChatCompletion, ChatCompletionChunk
from bandari.web.openapi.shapes.completions import Completion, CompletionChunk
from bandari.web.openapi.shapes.errors import ErrorResponse, TypedStreamError
from bandari.web.openapi.shapes.messages_answer import Message, MessageStreamEvent
from bandari.web.openapi.shapes.responses_answer import Response
from bandari.web.openapi.shapes.responses_events import ResponseStreamEvent
from bandari.web.openapi.shapes.streams import DeletedStream

_ID: Final = "str_01m7z9ezq8pz5cqwp2zt3ttm1q"

STREAMS: Final = Section(
    "Streams",
    "Every answer is recorded, and every client is a reader of the recording: who lost the "
    "connection reads on from where he was, with no second charge.",
    (
        Operation(
            id="readStream",
            method="get",
            path="/streams/{id}",
            summary="Read an answer from where the client was",
            description=(
                "As the surface that was asked has begun it, event for event, until its end; an "
                "answer that was not streamed, whole. A stream is there while somebody reads it "
                "and for its resume window after that. Only the account that asked finds it, and "
                "under the end user's name only what was asked on his behalf."
            ),
            parameters=("StreamId", "AfterChunk", *RESUMING, "OnBehalfOf", "RequestId"),
            answer=Answer(
                "The events after the one of that index, or all. `data` and names are those of "
                "the surface that was asked.",
                shape=ChatCompletion | Completion | Message | Response,
                stream=Stream(
                    ChatCompletionChunk
                    | CompletionChunk
                    | MessageStreamEvent
                    | ResponseStreamEvent
                    | None,
                    ends_with="what the surface's own streams end with: `[DONE]` as data, or its "
                    "last event",
                    example=streamed(surface.CHAT_COMPLETIONS, STREAMED),
                    error=ErrorResponse | TypedStreamError,
                ),
                headers=(*RECORDED, "request-id", "deprecation", "link"),
            ),
            protocol=OPENAI,
            failures=WRITING,
        ),
        Operation(
            id="deleteStream",
            method="delete",
            path="/streams/{id}",
            summary="Delete an answer",
            description=(
                "One that runs is stopped, and what was generated until then is charged. Nothing "
                "of it is kept."
            ),
            parameters=("StreamId", "OnBehalfOf", "RequestId"),
            answer=Answer(
                "It is no more.",
                shape=DeletedStream,
                headers=IDENTITY,
                examples={
                    "deleted": Example("A stream", {"id": _ID, "object": "stream", "deleted": True})
                },
            ),
            protocol=OPENAI,
            failures=(*ASKING, 404, 409),
        ),
    ),
)
