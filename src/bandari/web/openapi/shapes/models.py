"""Models, as OpenAI's clients are told of them, and Anthropic's."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from bandari.web.openapi.shapes.chat_answer import Count, Seconds

Endpoint = Literal["chat_completions", "completions", "messages", "responses", "embeddings"]


NotKnown = Annotated[None, "Is there for clients that want it."]


class Lifecycle(TypedDict):
    """How long it can be asked."""

    status: Literal["active"]
    deprecated_at: None
    retires_at: None
    successor: None


class Capabilities(TypedDict):
    """What a request may ask of it; null is not known."""

    supports_temperature: bool
    supports_top_p: bool
    supports_reasoning: bool
    supports_reasoning_effort: bool
    supports_structured_outputs: bool | None


class Model(TypedDict):
    """A model that may be asked."""

    id: Annotated[str, "Its public id: what a request's `model` says."]
    object: Literal["model"]
    created: Seconds
    owned_by: str
    context_window: Annotated[Count, "How many tokens prompt and answer may have together."]
    max_output_tokens: Annotated[Count, "How many tokens an answer may have."]
    latency_ms: Annotated[
        Count | None,
        "The median time to the first token of its latest answers; null before the first of them.",
    ]
    endpoints: Annotated[list[Endpoint], "Where it may be asked, by the name of the protocol."]
    model_type: Literal["llm", "embeddings"]
    input_modalities: list[Literal["text"]]
    output_modalities: list[Literal["text", "embeddings"]]
    lifecycle: Lifecycle
    capabilities: Capabilities
    max_image_resolution: NotKnown
    min_image_resolution: NotKnown
    embedding_dimension_range: NotKnown
    parameter_count: NotKnown
    active_parameter_count: NotKnown
    release_date: NotKnown
    serving_locations: NotKnown
    developer: NotKnown
    base_model: NotKnown
    weights: NotKnown
    license: NotKnown
    languages: NotKnown
    tts: NotKnown
    limitations: NotKnown


class ModelList(TypedDict):
    """All models that may be asked."""

    object: Literal["list"]
    data: list[Model]


class AnthropicModel(TypedDict):
    """The same, as Anthropic's clients are told of it."""

    type: Literal["model"]
    id: Annotated[str, "Its public id: what a request's `model` says."]
    display_name: str
    created_at: Annotated[str, "A time of RFC 3339."]
    lifecycle: Literal["active"]
    max_input_tokens: Annotated[Count, "How many tokens prompt and answer may have together."]
    max_tokens: Annotated[Count, "How many tokens an answer may have."]


class AnthropicModelList(TypedDict):
    """A page of the models that may be asked."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None
