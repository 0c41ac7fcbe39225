"""A request of Chat Completions: every field that has an effect, and those that may be there."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.bounds import (
    MAX_CHOICES,
    MAX_INTEGER,
    MAX_STOP_SEQUENCES,
    MAX_TOP_LOGPROBS,
    Bounds,
)
from bandari.web.openapi.schema import Named

_BOUNDS: Final = Bounds()

ModelId = Annotated[
    str,
    Meta(min_length=1, max_length=512),
    "A model's public id or alias, or `provider:model` where the provider is open.",
]
Temperature = Annotated[
    float | None,
    Meta(ge=_BOUNDS.temperature[0], le=_BOUNDS.temperature[1]),
    "How freely the next token is drawn. A model's entry may narrow the bounds.",
]
TopP = Annotated[
    float | None,
    Meta(ge=_BOUNDS.top_p[0], le=_BOUNDS.top_p[1]),
    "Only the likeliest tokens that together have this probability are drawn from.",
]
Streams = Annotated[
    bool | None, "Whether to answer with server-sent events, as the model writes. Default false."
]
OutputLimit = Annotated[int | None, Meta(ge=1, le=MAX_INTEGER)]
EndUser = Annotated[
    str | None,
    Meta(max_length=512),
    "The end user, for the receipt. The header `X-On-Behalf-Of` comes before it.",
]
StopSequences = Annotated[
    list[Annotated[str, Meta(min_length=1)]], Meta(max_length=MAX_STOP_SEQUENCES)
]
Penalty = Annotated[
    float | None, Meta(ge=_BOUNDS.presence_penalty[0], le=_BOUNDS.presence_penalty[1])
]
JsonSchema = Annotated[dict[str, Any], "A JSON schema."]


class TextPart(TypedDict):
    """Text."""

    type: Literal["text"]
    text: str


class ImageUrl(TypedDict):
    """Where an image is."""

    url: Annotated[str, Meta(min_length=1), "An https or a data URL."]
    detail: NotRequired[Literal["auto", "low", "high", "original"] | None]


class ImagePart(TypedDict):
    """An image. A model that cannot see refuses it."""

    type: Literal["image_url"]
    image_url: ImageUrl


class RefusalPart(TypedDict):
    """The assistant's refusal in an earlier turn."""

    type: Literal["refusal"]
    refusal: str


class AudioPart(TypedDict):
    """Audio, for providers that take it in this form."""

    type: Literal["input_audio"]
    input_audio: dict[str, Any]


class FilePart(TypedDict):
    """A file, for providers that take it in this form."""

    type: Literal["file"]
    file: dict[str, Any]


ContentPart = Annotated[
    TextPart | ImagePart | RefusalPart | AudioPart | FilePart,
    Named("ContentPart", "A piece of a message."),
]
Content = str | list[ContentPart]


class SystemMessage(TypedDict):
    """What the model is to be and to do."""

    role: Literal["system", "developer"]
    content: Content
    name: NotRequired[str | None]


class UserMessage(TypedDict):
    """What the user says."""

    role: Literal["user"]
    content: Content
    name: NotRequired[str | None]


class CalledFunction(TypedDict):
    """A function's name, and the arguments of the call as the model wrote them."""

    name: str
    arguments: Annotated[str, "JSON, as far as the model has written JSON."]


class ToolCall(TypedDict):
    """A call that the model asks for."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(TypedDict):
    """What the model said in an earlier turn."""

    role: Literal["assistant"]
    content: NotRequired[Content | None]
    name: NotRequired[str | None]
    refusal: NotRequired[str | None]
    reasoning_content: NotRequired[
        Annotated[str | None, "What it thought before it answered, for models that want it back."]
    ]
    tool_calls: NotRequired[list[ToolCall] | None]


class ToolMessage(TypedDict):
    """The result of a call that the model asked for."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str
    name: NotRequired[str | None]


ChatMessage = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage,
    Named("ChatMessage", "One turn of a conversation."),
]


class FunctionDefinition(TypedDict):
    """A function that the model may ask to be called."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.:-]{1,128}$")]
    description: NotRequired[str | None]
    parameters: NotRequired[JsonSchema | None]
    strict: NotRequired[bool | None]


class Tool(TypedDict):
    """A tool."""

    type: Literal["function"]
    function: FunctionDefinition


class FunctionName(TypedDict):
    """One of the functions in `tools`."""

    name: str


class NamedToolChoice(TypedDict):
    """The one function that is to be called."""

    type: Literal["function"]
    function: FunctionName


class TextFormat(TypedDict):
    """Text, as without this field."""

    type: Literal["text"]


class JsonObjectFormat(TypedDict):
    """Some JSON object."""

    type: Literal["json_object"]


class JsonSchemaDefinition(TypedDict):
    """A schema and its name."""

    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
    description: NotRequired[str | None]
    schema: NotRequired[JsonSchema | None]
    strict: NotRequired[bool | None]


class JsonSchemaFormat(TypedDict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: JsonSchemaDefinition


ResponseFormat = Annotated[
    TextFormat | JsonObjectFormat | JsonSchemaFormat,
    Named("ResponseFormat", "The form that the model's text must have."),
]


class StreamOptions(TypedDict, total=False):
    """How to stream."""

    include_usage: Annotated[
        bool | None, "Send one more chunk at the end, with `usage` and without choices."
    ]
    include_obfuscation: Annotated[bool | None, "Has no effect."]


_NO_EFFECT: Final = "Has no effect, unless the provider's entry names it; see `x-bandari-ignored`."


class WithoutEffect(TypedDict, total=False):
    """OpenAI's fields that most providers are not given."""

    metadata: Annotated[dict[str, Any] | None, _NO_EFFECT]
    modalities: Annotated[list[str] | None, _NO_EFFECT]
    moderation: Annotated[Any, _NO_EFFECT]
    prediction: Annotated[dict[str, Any] | None, _NO_EFFECT]
    prompt_cache_key: Annotated[str | None, _NO_EFFECT]
    prompt_cache_options: Annotated[Any, _NO_EFFECT]
    prompt_cache_retention: Annotated[str | None, _NO_EFFECT]
    safety_identifier: Annotated[str | None, _NO_EFFECT]
    service_tier: Annotated[str | None, _NO_EFFECT]
    store: Annotated[bool | None, _NO_EFFECT]
    verbosity: Annotated[str | None, _NO_EFFECT]
    web_search_options: Annotated[dict[str, Any] | None, _NO_EFFECT]
    audio: Annotated[dict[str, Any] | None, _NO_EFFECT]
    function_call: Annotated[Any, _NO_EFFECT]
    functions: Annotated[list[Any] | None, _NO_EFFECT]


class ChatOptions(WithoutEffect, total=False):
    """All that a request may leave out."""

    stream: Annotated[
        bool | None,
        "Whether to answer with server-sent events, as the model writes. Default false.",
    ]
    stream_options: Annotated[StreamOptions | None, "Only with `stream`; else the answer is a 400."]
    temperature: Temperature
    top_p: TopP
    top_k: Annotated[
        int | None,
        Meta(ge=-1, le=MAX_INTEGER),
        "Only so many of the likeliest tokens are drawn from. For providers that name it, such as "
        "the engine in the box.",
    ]
    max_tokens: Annotated[
        OutputLimit,
        "How many tokens the answer may have. What the context window or the balance does not "
        "cover is cut off: see `x-bandari-max-tokens`.",
    ]
    max_completion_tokens: Annotated[
        OutputLimit, "The same as `max_tokens`; of both, the smaller counts."
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
    seed: Annotated[
        int | None,
        Meta(ge=-MAX_INTEGER, le=MAX_INTEGER),
        "With the same seed the same request is answered in the same way, as far as the provider "
        "can. Each of `n` answers has its own, counted from this one.",
    ]
    logit_bias: Annotated[
        dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None,
        "How much likelier or less likely tokens become, by their ids.",
    ]
    logprobs: Annotated[bool | None, "Whether to tell the probability of each token."]
    top_logprobs: Annotated[
        int | None,
        Meta(ge=0, le=MAX_TOP_LOGPROBS),
        "How many of the likeliest tokens to tell in each place. Needs `logprobs`.",
    ]
    presence_penalty: Annotated[Penalty, "Against tokens that have been there."]
    frequency_penalty: Annotated[Penalty, "Against tokens, the more often they have been there."]
    response_format: ResponseFormat | None
    tools: Annotated[list[Tool] | None, "What the model may ask to be called."]
    tool_choice: Annotated[
        Literal["none", "auto", "required"] | NamedToolChoice | None,
        "Whether it may call, must call, or must call this one. Default `auto`.",
    ]
    parallel_tool_calls: Annotated[bool | None, "Whether it may ask for several calls at once."]
    user: EndUser
    reasoning_effort: Annotated[
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None,
        "How long to think before the answer, for models that do.",
    ]


class ChatCompletionRequest(ChatOptions):
    """A conversation to be continued. `null` is the same as leaving a field out.

    A field that is not named here is not refused: it is given to providers whose entry in the
    configuration names it, else it is listed in `x-bandari-ignored`.
    """

    model: ModelId
    messages: Annotated[list[ChatMessage], Meta(min_length=1), "The conversation so far."]
