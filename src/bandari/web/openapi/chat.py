"""Chat Completions: OpenAI's protocol."""

from __future__ import annotations

from typing import Final

from bandari.web.openapi.errors import OPENAI, WRITING
from bandari.web.openapi.examples import CALL, answered, streamed
from bandari.web.openapi.headers import BILLED, STREAM_PARAMETERS
from bandari.web.openapi.operation import Answer, Example, Operation, Section, Stream
from bandari.web.openapi.shapes.chat_answer import ChatCompletion, ChatCompletionChunk
from bandari.web.openapi.shapes.chat_request import ChatCompletionRequest
from bandari.web.openapi.shapes.errors import ErrorResponse
from bandari.web.surface import CHAT_COMPLETIONS

QUESTION: Final[ChatCompletionRequest] = {
    "model": "bandari-tiny",
    "messages": [{"role": "user", "content": "What is the capital of Kenya?"}],
}
STREAMED: Final[ChatCompletionRequest] = {
    "model": "bandari-tiny",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is the capital of Kenya?"},
    ],
    "temperature": 0,
    "max_tokens": 50,
    "stream": True,
    "stream_options": {"include_usage": True},
}
CALLING: Final[ChatCompletionRequest] = {
    "model": "bandari-tiny",
    "messages": [{"role": "user", "content": "What is the weather in Nairobi?"}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_weather",
                "description": "The weather in a city.",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}},
                    "required": ["city"],
                },
            },
        }
    ],
    "tool_choice": "required",
}
STRUCTURED: Final[ChatCompletionRequest] = {
    "model": "bandari-tiny",
    "messages": [{"role": "user", "content": "What is the capital of Kenya?"}],
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "city",
            "schema": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    },
}
CHAT: Final = Section(
    "Chat Completions",
    "OpenAI's protocol, for every client that takes a base URL. A conversation goes in, and its "
    "next turn comes out.",
    (
        Operation(
            id="createChatCompletion",
            method="post",
            path="/chat/completions",
            summary="Continue a conversation",
            description=(
                "A parameter has its effect, or is refused with a 400 that names it, or is listed "
                "in the answer's `x-bandari-ignored`. `stream` alone decides the form of the "
                "answer: `Accept` and `Content-Type` are not looked at."
            ),
            parameters=("OnBehalfOf", "RequestId", *STREAM_PARAMETERS),
            body=ChatCompletionRequest,
            examples={
                "question": Example("A question", QUESTION),
                "streamed": Example("Streamed, with usage at the end", STREAMED),
                "tools": Example("A tool that must be called", CALLING),
                "schema": Example("An answer that fits a JSON schema", STRUCTURED),
            },
            answer=Answer(
                "The answer: whole, or with `stream` as server-sent events whose `data` are "
                "chunks. The last one's is `[DONE]`. A stream that fails ends with an error as "
                "data, and without `[DONE]`.",
                shape=ChatCompletion,
                stream=Stream(
                    ChatCompletionChunk,
                    ends_with="`[DONE]` as data",
                    example=streamed(CHAT_COMPLETIONS, STREAMED),
                    error=ErrorResponse,
                ),
                headers=BILLED,
                examples={
                    "answer": Example("An answer", answered(CHAT_COMPLETIONS, QUESTION)),
                    "call": Example("A call", answered(CHAT_COMPLETIONS, CALLING, CALL)),
                },
            ),
            protocol=OPENAI,
            failures=WRITING,
        ),
    ),
)
