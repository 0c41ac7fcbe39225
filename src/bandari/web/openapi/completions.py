"""Legacy Completions: OpenAI's protocol before there were chats."""

from __future__ import annotations

from typing import Final

from bandari.web import surface
from bandari.web.openapi.errors import OPENAI, WRITING
from bandari.web.openapi.examples import answered, streamed
from bandari.web.openapi.headers import BILLED, STREAM_PARAMETERS
from bandari.web.openapi.operation import Answer, Example, Operation, Section, Stream
from bandari.web.openapi.shapes.completions import (
    Completion,
    CompletionChunk,
    CompletionRequest,
)
from bandari.web.openapi.shapes.errors import ErrorResponse

PROMPT: Final[CompletionRequest] = {
    "model": "bandari-tiny",
    "prompt": "What is the capital of Kenya?",
    "max_tokens": 20,
}
STREAMED: Final[CompletionRequest] = {**PROMPT, "stream": True}

COMPLETIONS: Final = Section(
    "Completions",
    "OpenAI's protocol before there were chats, for clients that still speak it.",
    (
        Operation(
            id="createCompletion",
            method="post",
            path="/completions",
            summary="Answer a text",
            description=(
                "The text goes through the model's chat template, as a user's only message. New "
                "clients take Chat Completions."
            ),
            parameters=("OnBehalfOf", "RequestId", *STREAM_PARAMETERS),
            body=CompletionRequest,
            examples={
                "prompt": Example("A text", PROMPT),
                "streamed": Example("Streamed", STREAMED),
            },
            answer=Answer(
                "The answer: whole, or with `stream` as server-sent events whose `data` are "
                "chunks. The last one's is `[DONE]`. A stream that fails ends with an error as "
                "data, and without `[DONE]`.",
                shape=Completion,
                stream=Stream(
                    CompletionChunk,
                    ends_with="`[DONE]` as data",
                    example=streamed(surface.COMPLETIONS, STREAMED),
                    error=ErrorResponse,
                ),
                headers=BILLED,
                examples={"answer": Example("An answer", answered(surface.COMPLETIONS, PROMPT))},
            ),
            protocol=OPENAI,
            failures=WRITING,
        ),
    ),
)
