"""Legacy Completions, asked for and answered."""

from __future__ import annotations

from typing import Annotated, Final, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.bounds import MAX_CHOICES, MAX_INTEGER
from bandari.web.openapi.shapes.chat_answer import ChatUsage, Count, Seconds
from bandari.web.openapi.shapes.chat_request import (
    EndUser,
    ModelId,
    OutputLimit,
    Penalty,
    StopSequences,
    StreamOptions,
    Temperature,
    TopP,
)
from bandari.wire.completions.decode_request import DEFAULT_MAX_TOKENS, MAX_LOGPROBS

_REFUSED: Final = "Is there for clients that always send it; any other value is refused."


class CompletionOptions(TypedDict, total=False):
    """All that a request may leave out."""

    stream: Annotated[
        bool | None,
        "Whether to answer with server-sent events, as the model writes. Default false.",
    ]
    stream_options: Annotated[StreamOptions | None, "Only with `stream`; else the answer is a 400."]
    temperature: Temperature
    top_p: TopP
    max_tokens: Annotated[
        OutputLimit, f"How many tokens the answer may have. Default {DEFAULT_MAX_TOKENS}."
    ]
    stop: Annotated[
        Annotated[str, Meta(min_length=1)] | StopSequences | None,
        "Texts at which the answer ends; they are not part of it.",
    ]
    n: Annotated[
        int | None,
        Meta(ge=1, le=MAX_CHOICES),
        "How many answers to give. The prompt is paid once. Default 1.",
    ]
    seed: Annotated[int | None, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None
    logprobs: Annotated[
        int | None,
        Meta(ge=0, le=MAX_LOGPROBS),
        "Tell the probability of each token, and so many of the likeliest in its place.",
    ]
    presence_penalty: Penalty
    frequency_penalty: Penalty
    user: EndUser
    echo: Annotated[Literal[False] | None, _REFUSED]
    suffix: Annotated[None, _REFUSED]
    best_of: Annotated[Literal[1] | None, _REFUSED]


class CompletionRequest(CompletionOptions):
    """A text to be answered. It goes through the model's chat template, as a user's message.

    `null` is the same as leaving a field out.
    """

    model: ModelId
    prompt: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=1)], "The text; one only."
    ]


class CompletionLogprobs(TypedDict):
    """The probabilities of the tokens, in lists side by side."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]] | None
    text_offset: Annotated[list[int], "Where each token begins in the text."]


FinishReason = Literal["stop", "length", "content_filter"]


class CompletionChoice(TypedDict):
    """One of the `n` answers."""

    text: str
    index: Count
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason


class Completion(TypedDict):
    """A whole answer."""

    id: str
    object: Literal["text_completion"]
    created: Seconds
    model: Annotated[str, "The model's public id."]
    choices: list[CompletionChoice]
    usage: ChatUsage


class CompletionChunkChoice(TypedDict):
    """What is new of one of the `n` answers."""

    text: str
    index: Count
    logprobs: CompletionLogprobs | None
    finish_reason: Annotated[FinishReason | None, "Null until the choice's last chunk."]


class CompletionChunk(TypedDict):
    """A piece of an answer. All pieces have one `id` and one `created`."""

    id: str
    object: Literal["text_completion"]
    created: Seconds
    model: Annotated[str, "The model's public id."]
    choices: Annotated[list[CompletionChunkChoice], "None in the chunk that has `usage`."]
    usage: NotRequired[
        Annotated[
            ChatUsage | None,
            "With `stream_options.include_usage`: null, but in the last chunk. Else it is absent.",
        ]
    ]
