"""Answers of Chat Completions: whole, and in chunks."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.web.openapi.shapes.chat_request import ToolCall

Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[int, "Seconds since 1970."]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class TopLogprob(TypedDict):
    """One of the likeliest tokens in a place."""

    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TypedDict):
    """A token of the answer with the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: Annotated[list[int] | None, "The token's UTF-8, which need not be whole characters."]
    top_logprobs: list[TopLogprob]


class Logprobs(TypedDict):
    """The probabilities of the tokens."""

    content: list[TokenLogprob] | None
    refusal: None


class PromptTokensDetails(TypedDict):
    """Tokens of the prompt by kind."""

    cached_tokens: Annotated[Count, "Those that the provider had kept from an earlier request."]


class CompletionTokensDetails(TypedDict):
    """Tokens of the answer by kind."""

    reasoning_tokens: Annotated[Count, "Those that the model thought."]


class ChatUsage(TypedDict):
    """What the answer took, over all choices."""

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Annotated[
        Count, "The integer that is taken from a wallet of tokens, unless the model has a price."
    ]
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class AnswerMessage(TypedDict):
    """What the model said. It can be sent back as it is, as the next request's message."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: NotRequired[Annotated[str, "What it thought before it answered."]]
    tool_calls: NotRequired[list[ToolCall]]


class ChatChoice(TypedDict):
    """One of the `n` answers."""

    index: Count
    message: AnswerMessage
    logprobs: Logprobs | None
    finish_reason: FinishReason


class ChatCompletion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"]
    created: Seconds
    model: Annotated[str, "The model's public id."]
    choices: list[ChatChoice]
    usage: ChatUsage


class ToolCallFunctionDelta(TypedDict, total=False):
    """The name comes whole, with the first piece; the arguments come in pieces, to be joined."""

    name: str
    arguments: str


class ToolCallDelta(TypedDict):
    """A piece of a call. `id`, `type` and the name come with its first piece only."""

    index: Annotated[Count, "Which of the message's calls this is a piece of."]
    id: NotRequired[str]
    type: NotRequired[Literal["function"]]
    function: ToolCallFunctionDelta


class Delta(TypedDict, total=False):
    """What is new. The first of each choice is `{"role": "assistant", "content": ""}`."""

    role: Literal["assistant"]
    content: str
    refusal: str
    reasoning_content: Annotated[str, "What it thinks before it answers."]
    reasoning: Annotated[str, "The same, in a typed stream."]
    tool_calls: list[ToolCallDelta]


class ChunkChoice(TypedDict):
    """What is new of one of the `n` answers."""

    index: Count
    delta: Delta
    logprobs: Logprobs | None
    finish_reason: Annotated[FinishReason | None, "Null until the choice's last chunk."]


class ChatCompletionChunk(TypedDict):
    """A piece of an answer. All pieces have one `id` and one `created`."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: Seconds
    model: Annotated[str, "The model's public id."]
    choices: Annotated[list[ChunkChoice], "None in the chunk that has `usage`."]
    usage: NotRequired[
        Annotated[
            ChatUsage | None,
            "With `stream_options.include_usage`: null, but in the last chunk. Else it is absent.",
        ]
    ]
