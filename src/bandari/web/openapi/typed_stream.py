"""The typed stream: the chunks of Chat Completions as oRPC's named events."""

from __future__ import annotations

from typing import Final

from bandari.web import surface
from bandari.web.openapi.chat import QUESTION
from bandari.web.openapi.errors import TYPED, WRITING
from bandari.web.openapi.examples import streamed
from bandari.web.openapi.headers import BILLED, STREAM_PARAMETERS
from bandari.web.openapi.operation import BASES, Answer, Example, Operation, Section, Stream
from bandari.web.openapi.shapes.chat_request import ChatCompletionRequest
from bandari.web.openapi.shapes.typed_stream import TypedStreamEvent

TYPED_STREAM: Final = Section(
    "Typed stream",
    "Chat Completions as named events, for clients that are generated from types: oRPC's event "
    "iterator, and the MKA1 SDK.",
    (
        Operation(
            id="streamChatCompletion",
            method="post",
            path="/chat/completions/stream",
            summary="Continue a conversation as typed events",
            description=(
                "The body is that of Chat Completions; its `stream` is not looked at, and "
                "`stream_options` is always allowed. Deprecated in favour of Responses, which "
                "every answer says in its `Deprecation` header."
            ),
            parameters=("OnBehalfOf", "RequestId", *STREAM_PARAMETERS),
            body=ChatCompletionRequest,
            examples={"question": Example("A question", QUESTION)},
            answer=Answer(
                "Server-sent events, each with its name. The stream begins with an empty comment, "
                "and says another one after 5 s without an event.",
                stream=Stream(
                    TypedStreamEvent,
                    ends_with="an event `done` or `error`",
                    example=streamed(surface.TYPED_STREAM, QUESTION),
                    whole=True,
                ),
                headers=(*BILLED, "deprecation", "link"),
            ),
            protocol=TYPED,
            failures=WRITING,
            is_deprecated=True,
        ),
    ),
    bases=BASES[1:],
)
