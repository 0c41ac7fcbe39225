"""The response object, its items, and what else is answered about responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from bandari.web.openapi.schema import Named
from bandari.web.openapi.shapes.chat_answer import Count, Seconds
from bandari.web.openapi.shapes.responses_request import (
    InputPart,
    InputText,
    ItemStatus,
    Metadata,
    OutputFormat,
    ReasoningOptions,
    ResponsesTool,
    ResultPart,
    SummaryText,
    ToolChoiceOption,
)


class ResponseTopLogprob(TypedDict):
    """One of the likeliest tokens in a place."""

    token: str
    logprob: float
    bytes: list[int]


class ResponseLogprob(TypedDict):
    """A token of the answer with the natural logarithm of its probability."""

    token: str
    logprob: float
    bytes: Annotated[list[int], "The token's UTF-8; none where it is not known."]
    top_logprobs: list[ResponseTopLogprob]


class OutputText(TypedDict):
    """Text."""

    type: Literal["output_text"]
    text: str
    annotations: Annotated[list[Any], "Always empty."]
    logprobs: Annotated[list[ResponseLogprob], "Empty, unless `include` asks for them."]


class OutputRefusal(TypedDict):
    """The model's refusal."""

    type: Literal["refusal"]
    refusal: str


OutputPart = Annotated[
    OutputText | OutputRefusal, Named("OutputPart", "A piece of the model's message.")
]


class OutputMessage(TypedDict):
    """What the model said."""

    id: str
    type: Literal["message"]
    status: ItemStatus
    role: Literal["assistant"]
    content: list[OutputPart]


class OutputReasoning(TypedDict):
    """What it thought before it answered."""

    id: str
    type: Literal["reasoning"]
    status: ItemStatus
    summary: list[SummaryText]
    encrypted_content: Annotated[
        str | None, "The thought in a form that can be sent back, where `include` asks for it."
    ]


class OutputFunctionCall(TypedDict):
    """A call that it asks for."""

    id: str
    type: Literal["function_call"]
    status: ItemStatus
    call_id: Annotated[str, "What the result is to be sent back under."]
    name: str
    arguments: Annotated[str, "JSON, as far as the model has written JSON."]


OutputItem = Annotated[
    OutputMessage | OutputReasoning | OutputFunctionCall,
    Named("OutputItem", "What the model said, thought or asks for. It can be sent back as it is."),
]


class CachedTokens(TypedDict):
    """Tokens of the prompt by kind."""

    cached_tokens: Annotated[Count, "Those that were kept before."]
    cache_write_tokens: Annotated[Count, "Those that are kept now."]


class ReasoningTokens(TypedDict):
    """Tokens of the answer by kind."""

    reasoning_tokens: Annotated[Count, "Those that the model thought."]


class ResponseUsage(TypedDict):
    """What the answer took; zeros until that is known."""

    input_tokens: Count
    input_tokens_details: CachedTokens
    output_tokens: Count
    output_tokens_details: ReasoningTokens
    total_tokens: Annotated[
        Count, "The integer that is taken from a wallet of tokens, unless the model has a price."
    ]


class ResponseError(TypedDict):
    """Why the response failed, by one of the protocol's few codes."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(TypedDict):
    """Why the answer is not whole."""

    reason: Literal["max_output_tokens", "content_filter"]


class AnsweredTextOptions(TypedDict):
    """How the text was to be."""

    format: OutputFormat
    verbosity: NotRequired[str | None]


class Response(TypedDict):
    """An answer, in any of its states. What the request said is repeated."""

    id: str
    object: Literal["response"]
    created_at: Seconds
    completed_at: Annotated[int | None, "Seconds since 1970; null until it is complete."]
    status: Literal["queued", "in_progress", "completed", "failed", "incomplete", "cancelled"]
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    output: list[OutputItem]
    usage: ResponseUsage
    model: Annotated[str, "The model's public id."]
    background: bool
    store: bool
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    metadata: Metadata
    parallel_tool_calls: bool
    previous_response_id: str | None
    presence_penalty: float
    frequency_penalty: float
    prompt_cache_key: str | None
    reasoning: ReasoningOptions
    safety_identifier: str | None
    service_tier: str
    temperature: float
    text: AnsweredTextOptions
    tool_choice: ToolChoiceOption
    tools: list[ResponsesTool]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    user: str | None


class DeletedResponse(TypedDict):
    """The response is no more."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class StoredMessage(TypedDict):
    """A message."""

    id: str
    type: Literal["message"]
    status: ItemStatus
    role: Literal["user", "assistant", "system", "developer"]
    content: list[InputPart]


class StoredReasoning(TypedDict):
    """A thought of an earlier answer."""

    id: str
    type: Literal["reasoning"]
    status: NotRequired[ItemStatus | None]
    summary: NotRequired[list[SummaryText] | None]
    encrypted_content: NotRequired[str | None]


class StoredCallOutput(TypedDict):
    """The result of a call."""

    id: str
    type: Literal["function_call_output"]
    status: ItemStatus
    call_id: str
    output: str | list[ResultPart]


StoredItem = Annotated[
    StoredMessage | StoredReasoning | OutputFunctionCall | StoredCallOutput,
    Named("StoredItem", "An item of a request, as it is kept."),
]


class InputItemList(TypedDict):
    """A page of a response's input items."""

    object: Literal["list"]
    data: list[StoredItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Summary(TypedDict):
    """What was said until now, in short."""

    id: str
    type: Literal["message"]
    role: Literal["user"]
    status: Literal["completed"]
    content: list[InputText]


class Compaction(TypedDict):
    """The items to go on with instead of those that were sent."""

    id: str
    object: Literal["response.compaction"]
    created_at: Seconds
    output: list[Summary]
    usage: ResponseUsage
