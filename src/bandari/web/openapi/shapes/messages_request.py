"""Requests of Messages: Anthropic's, and the hybrid with Chat Completions."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.bounds import MAX_INTEGER
from bandari.web.openapi.schema import Named
from bandari.web.openapi.shapes.chat_request import (
    ChatCompletionRequest,
    JsonSchema,
    ModelId,
    StopSequences,
    Temperature,
    TopP,
)


class CacheControl(TypedDict):
    """That the prompt up to here is to be kept for the next request."""

    type: Literal["ephemeral"]
    ttl: NotRequired[Annotated[Literal["5m"] | None, "To keep it longer costs more: a 400."]]


CacheMark = Annotated[
    CacheControl | None, "Has its effect with providers of this protocol; others are not told."
]


class TextBlock(TypedDict):
    """Text."""

    type: Literal["text"]
    text: str
    cache_control: NotRequired[CacheMark]


class Base64Source(TypedDict):
    """The thing itself."""

    type: Literal["base64"]
    media_type: str
    data: str


class UrlSource(TypedDict):
    """Where it is."""

    type: Literal["url"]
    url: str


class TextSource(TypedDict):
    """Plain text."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


ImageSource = Annotated[Base64Source | UrlSource, Named("ImageSource", "An image.")]
DocumentSource = Annotated[
    Base64Source | UrlSource | TextSource, Named("DocumentSource", "A document.")
]


class ImageBlock(TypedDict):
    """An image. A model that cannot see refuses it."""

    type: Literal["image"]
    source: ImageSource
    cache_control: NotRequired[CacheMark]


class DocumentBlock(TypedDict):
    """A document, for providers of this protocol."""

    type: Literal["document"]
    source: DocumentSource
    title: NotRequired[str | None]
    context: NotRequired[str | None]
    cache_control: NotRequired[CacheMark]


class ToolUseBlock(TypedDict):
    """A call that the model asks for."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: Annotated[dict[str, Any], "The arguments. Empty where a stream begins the block."]


ResultBlock = Annotated[
    TextBlock | ImageBlock | DocumentBlock, Named("ResultBlock", "A piece of a tool's result.")
]


class ToolResultBlock(TypedDict):
    """The result of a call that the model asked for, in the turn after it."""

    type: Literal["tool_result"]
    tool_use_id: str
    content: NotRequired[str | list[ResultBlock] | None]
    is_error: NotRequired[Annotated[bool | None, "Whether the call failed."]]
    cache_control: NotRequired[CacheMark]


class ThinkingBlock(TypedDict):
    """What the model thought before it answered. To be sent back as it came."""

    type: Literal["thinking"]
    thinking: str
    signature: Annotated[str, "What only the model's provider can read."]


class RedactedThinkingBlock(TypedDict):
    """A thought that only the model's provider can read. To be sent back as it came."""

    type: Literal["redacted_thinking"]
    data: str


ContentBlock = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock,
    Named(
        "ContentBlock",
        "A piece of a turn. Blocks of other types are given to providers of this protocol as they "
        "are, and refused where the model has another.",
    ),
]


class MessageTurn(TypedDict):
    """One turn of a conversation."""

    role: Literal["user", "assistant", "system"]
    content: str | list[ContentBlock]


class CustomTool(TypedDict):
    """A function that the model may ask to be called."""

    type: NotRequired[Literal["custom"] | None]
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.:-]{1,128}$")]
    input_schema: JsonSchema
    description: NotRequired[str | None]
    strict: NotRequired[bool | None]
    cache_control: NotRequired[CacheMark]


class ClientTool(TypedDict):
    """A tool that the client runs and providers of this protocol know: `bash_20250124`."""

    type: Annotated[
        str,
        Meta(
            pattern="^(bash|browser_toolset|computer|computer_toolset|memory|text_editor)_[0-9]{8}$"
        ),
    ]
    name: NotRequired[str]
    cache_control: NotRequired[CacheMark]


MessagesTool = Annotated[
    CustomTool | ClientTool,
    Named("MessagesTool", "A tool. One that the provider would run is refused."),
]


class AutoChoice(TypedDict):
    """The model decides."""

    type: Literal["auto"]
    disable_parallel_tool_use: NotRequired[bool | None]


class AnyChoice(TypedDict):
    """It must call a tool."""

    type: Literal["any"]
    disable_parallel_tool_use: NotRequired[bool | None]


class ToolChoice(TypedDict):
    """It must call this one."""

    type: Literal["tool"]
    name: str
    disable_parallel_tool_use: NotRequired[bool | None]


class NoneChoice(TypedDict):
    """It may call none."""

    type: Literal["none"]


MessagesToolChoice = Annotated[
    AutoChoice | AnyChoice | ToolChoice | NoneChoice,
    Named("MessagesToolChoice", "Whether a tool is to be called."),
]


class ThinkingEnabled(TypedDict):
    """Think first, with so many tokens."""

    type: Literal["enabled"]
    budget_tokens: Annotated[int, Meta(ge=1, le=MAX_INTEGER)]
    display: NotRequired[str | None]


class ThinkingDisabled(TypedDict):
    """Answer at once."""

    type: Literal["disabled"]


class ThinkingAdaptive(TypedDict):
    """The model decides how long to think."""

    type: Literal["adaptive", "between_tools"]
    display: NotRequired[str | None]


Thinking = Annotated[
    ThinkingEnabled | ThinkingDisabled | ThinkingAdaptive,
    Named("Thinking", "Whether to think before the answer, for models that can."),
]


class SchemaFormat(TypedDict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    schema: JsonSchema


class OutputConfig(TypedDict, total=False):
    """How the answer is to be."""

    effort: Annotated[
        Literal["low", "medium", "high", "xhigh", "max"] | None, "How long to think before it."
    ]
    format: SchemaFormat | None


class MessagesMetadata(TypedDict, total=False):
    """Who asks."""

    user_id: Annotated[
        str | None,
        Meta(max_length=512),
        "The end user, for the receipt. The header `X-On-Behalf-Of` comes before it.",
    ]


class PromptOptions(TypedDict, total=False):
    """What belongs to the prompt."""

    system: Annotated[str | list[TextBlock] | None, "What the model is to be and to do."]
    tools: Annotated[list[MessagesTool] | None, "What the model may ask to be called."]
    tool_choice: MessagesToolChoice | None
    thinking: Thinking | None
    output_config: OutputConfig | None
    cache_control: CacheMark


_NO_EFFECT: Final = "Has no effect, unless the provider's entry names it; see `x-bandari-ignored`."


class MessagesOptions(PromptOptions, total=False):
    """All that a request may leave out."""

    stream: Annotated[
        bool | None,
        "Whether to answer with server-sent events, as the model writes. Default false.",
    ]
    temperature: Temperature
    top_p: TopP
    top_k: Annotated[
        int | None,
        Meta(ge=0, le=MAX_INTEGER),
        "Only so many of the likeliest tokens are drawn from, where the provider can.",
    ]
    stop_sequences: Annotated[
        StopSequences | None, "Texts at which the answer ends; they are not part of it."
    ]
    metadata: MessagesMetadata | None
    container: Annotated[Any, _NO_EFFECT]
    context_management: Annotated[Any, _NO_EFFECT]
    service_tier: Annotated[str | None, _NO_EFFECT]


class MessagesRequest(MessagesOptions):
    """A conversation to be continued. `null` is the same as leaving a field out.

    A field that is not named here is given to providers whose entry in the configuration names it,
    else it is listed in `x-bandari-ignored`.
    """

    model: ModelId
    max_tokens: Annotated[
        int,
        Meta(ge=1, le=MAX_INTEGER),
        "How many tokens the answer may have. What the context window or the balance does not "
        "cover is cut off: see `x-bandari-max-tokens`.",
    ]
    messages: Annotated[list[MessageTurn], Meta(min_length=1), "The conversation so far."]


class CountTokensRequest(PromptOptions):
    """A prompt to be counted. All that a request for an answer may have is allowed."""

    model: ModelId
    messages: Annotated[list[MessageTurn], Meta(min_length=1)]


class HybridRequest(ChatCompletionRequest):
    """A request of Chat Completions that may have `system` beside `messages`.

    It is read so where there is no `anthropic-version` header.
    """

    system: NotRequired[
        Annotated[str | None, "What the model is to be and to do; comes before `messages`."]
    ]
