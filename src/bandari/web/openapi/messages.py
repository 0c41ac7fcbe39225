"""Messages: Anthropic's protocol, and the hybrid with Chat Completions at the same URL."""

from __future__ import annotations

from typing import Final

from bandari.web import surface
from bandari.web.openapi.errors import CHANGING, EITHER, MESSAGES, WRITING
from bandari.web.openapi.examples import CALL, answered, streamed
from bandari.web.openapi.headers import BILLED, IDENTITY, LIMITS, MESSAGES_LIMITS, STREAM_PARAMETERS
from bandari.web.openapi.operation import Answer, Example, Operation, Section, Stream
from bandari.web.openapi.shapes.chat_answer import ChatCompletion, ChatCompletionChunk
from bandari.web.openapi.shapes.errors import ErrorResponse
from bandari.web.openapi.shapes.messages_answer import Message, MessageStreamEvent, TokenCount
from bandari.web.openapi.shapes.messages_request import (
    CountTokensRequest,
    HybridRequest,
    MessagesRequest,
)

_VERSION: Final = (("anthropic-version", "2023-06-01"),)

QUESTION: Final[MessagesRequest] = {
    "model": "bandari-tiny",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "What is the capital of Kenya?"}],
}
STREAMED: Final[MessagesRequest] = {
    "model": "bandari-tiny",
    "max_tokens": 100,
    "system": "You are a helpful assistant.",
    "messages": [{"role": "user", "content": "What is the capital of Kenya?"}],
    "stream": True,
}
CALLING: Final[MessagesRequest] = {
    "model": "bandari-tiny",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "What is the weather in Nairobi?"}],
    "tools": [
        {
            "name": "get_weather",
            "description": "The weather in a city.",
            "input_schema": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        }
    ],
    "tool_choice": {"type": "any"},
}
HYBRID: Final[HybridRequest] = {
    "model": "bandari-tiny",
    "system": "You are a helpful AI assistant named Alex.",
    "messages": [{"role": "user", "content": "Who are you?"}],
}
COUNTED: Final[CountTokensRequest] = {
    "model": "bandari-tiny",
    "messages": [{"role": "user", "content": "What is the capital of Kenya?"}],
}

MESSAGES_SECTION: Final = Section(
    "Messages",
    "Anthropic's protocol, for every client that takes a base URL: this server, without `/v1`.",
    (
        Operation(
            id="createMessage",
            method="post",
            path="/messages",
            summary="Continue a conversation, as Messages",
            description=(
                "With an `anthropic-version` header the request is read as Anthropic's Messages, "
                "and the answer, its events and its errors have that form.\n\nWithout that header "
                "the request is one of Chat Completions that may have `system` beside `messages`, "
                "and the answer, its chunks and its errors have OpenAI's form."
            ),
            parameters=("AnthropicVersion", "OnBehalfOf", "RequestId", *STREAM_PARAMETERS),
            body=MessagesRequest | HybridRequest,
            examples={
                "question": Example("A question", QUESTION, _VERSION),
                "streamed": Example("Streamed", STREAMED, _VERSION),
                "tools": Example("A tool that must be called", CALLING, _VERSION),
                "hybrid": Example("Without `anthropic-version`", HYBRID),
            },
            answer=Answer(
                "The answer: whole, or with `stream` as server-sent events. A stream that fails "
                "ends with an `error` event. Without `anthropic-version` both are those of Chat "
                "Completions.",
                shape=Message | ChatCompletion,
                stream=Stream(
                    MessageStreamEvent | ChatCompletionChunk,
                    ends_with="an event `message_stop` or `error`; of chunks, `[DONE]` as data",
                    example=streamed(surface.MESSAGES, STREAMED),
                    error=ErrorResponse,
                ),
                headers=(*BILLED, *MESSAGES_LIMITS, "request-id"),
                examples={
                    "answer": Example("An answer", answered(surface.MESSAGES, QUESTION)),
                    "call": Example("A call", answered(surface.MESSAGES, CALLING, CALL)),
                    "hybrid": Example(
                        "Without `anthropic-version`", answered(surface.HYBRID, HYBRID)
                    ),
                },
            ),
            protocol=EITHER,
            failures=WRITING,
        ),
        Operation(
            id="countTokens",
            method="post",
            path="/messages/count_tokens",
            summary="Count the tokens of a prompt",
            description="Costs nothing. Where no tokenizer can be asked, the count is estimated.",
            parameters=("AnthropicVersion", "OnBehalfOf", "RequestId"),
            body=CountTokensRequest,
            examples={"question": Example("A question", COUNTED, _VERSION)},
            answer=Answer(
                "The count.",
                shape=TokenCount,
                headers=(*IDENTITY, "request-id", *LIMITS, *MESSAGES_LIMITS),
                examples={"count": Example("A count", {"input_tokens": 17})},
            ),
            protocol=MESSAGES,
            failures=(*CHANGING, 404),
        ),
    ),
)
