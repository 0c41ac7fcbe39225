"""Requests of Responses."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.bounds import MAX_TOP_LOGPROBS
from bandari.web.openapi.schema import Named
from bandari.web.openapi.shapes.chat_request import (
    EndUser,
    JsonObjectFormat,
    JsonSchema,
    ModelId,
    OutputLimit,
    Temperature,
    TextFormat,
    TopP,
)

ItemId = Annotated[str | None, "The item's id, where it has one."]
ItemStatus = Literal["in_progress", "completed", "incomplete"]


class InputText(TypedDict):
    """Text."""

    type: Literal["input_text"]
    text: str


class InputImage(TypedDict):
    """An image. A model that cannot see refuses it."""

    type: Literal["input_image"]
    image_url: NotRequired[Annotated[str | None, "An https or a data URL."]]
    file_id: NotRequired[str | None]
    detail: NotRequired[Literal["auto", "low", "high", "original"] | None]


class InputFile(TypedDict):
    """A file, for providers of this protocol."""

    type: Literal["input_file"]
    filename: NotRequired[str | None]
    file_id: NotRequired[str | None]
    file_url: NotRequired[str | None]
    file_data: NotRequired[str | None]


class SaidText(TypedDict):
    """Text of an earlier answer."""

    type: Literal["output_text"]
    text: str


class SaidRefusal(TypedDict):
    """The refusal of an earlier answer."""

    type: Literal["refusal"]
    refusal: str


ResultPart = Annotated[
    InputText | InputImage | InputFile, Named("ResultPart", "A piece of a call's result.")
]
InputPart = Annotated[
    InputText | InputImage | InputFile | SaidText | SaidRefusal,
    Named("InputPart", "A piece of a message."),
]


class InputMessage(TypedDict):
    """A message, also one of an earlier answer."""

    type: NotRequired[Literal["message"]]
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[InputPart]
    id: NotRequired[ItemId]
    status: NotRequired[ItemStatus | None]


class SummaryText(TypedDict):
    """What the model thought, in a few words."""

    type: Literal["summary_text"]
    text: str


class InputReasoning(TypedDict):
    """A thought of an earlier answer, as it came."""

    type: Literal["reasoning"]
    summary: NotRequired[list[SummaryText] | None]
    encrypted_content: NotRequired[str | None]
    id: NotRequired[ItemId]
    status: NotRequired[ItemStatus | None]


class InputFunctionCall(TypedDict):
    """A call that an earlier answer asked for."""

    type: Literal["function_call"]
    call_id: Annotated[str, Meta(min_length=1)]
    name: str
    arguments: Annotated[str, "JSON, as the model wrote it."]
    id: NotRequired[ItemId]
    status: NotRequired[ItemStatus | None]


class FunctionCallOutput(TypedDict):
    """The result of a call."""

    type: Literal["function_call_output"]
    call_id: Annotated[str, Meta(min_length=1)]
    output: str | list[ResultPart]
    id: NotRequired[ItemId]
    status: NotRequired[ItemStatus | None]


InputItem = Annotated[
    InputMessage | InputReasoning | InputFunctionCall | FunctionCallOutput,
    Named("InputItem", "What was said, thought, called or found. The items of an answer fit."),
]


class FunctionTool(TypedDict):
    """A function that the model may ask to be called."""

    type: Literal["function"]
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_.:-]{1,128}$")]
    description: NotRequired[str | None]
    parameters: NotRequired[JsonSchema | None]
    strict: NotRequired[bool | None]


class OtherTool(TypedDict):
    """Any other tool. It is left out, and named in `x-bandari-ignored`."""

    type: Literal[
        "apply_patch",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "custom",
        "file_search",
        "image_generation",
        "local_shell",
        "mcp",
        "namespace",
        "shell",
        "tool_search",
        "web_search",
        "web_search_preview",
    ]


ResponsesTool = Annotated[FunctionTool | OtherTool, Named("ResponsesTool", "A tool.")]


class FunctionChoice(TypedDict):
    """The one function that is to be called."""

    type: Literal["function"]
    name: str


class AllowedTool(TypedDict):
    """One of `tools`."""

    type: str
    name: NotRequired[str]


class AllowedToolsChoice(TypedDict):
    """Which of `tools` may be called, and whether one must be."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[AllowedTool]


ToolChoiceOption = Literal["none", "auto", "required"] | FunctionChoice | AllowedToolsChoice


class NamedSchemaFormat(TypedDict):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    name: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}$")]
    schema: NotRequired[JsonSchema | None]
    strict: NotRequired[bool | None]
    description: NotRequired[str | None]


OutputFormat = Annotated[
    TextFormat | JsonObjectFormat | NamedSchemaFormat,
    Named("OutputFormat", "The form that the model's text must have."),
]


class TextOptions(TypedDict, total=False):
    """How the text is to be."""

    format: OutputFormat | None
    verbosity: Annotated[str | None, "For providers of this protocol."]


class ReasoningOptions(TypedDict, total=False):
    """How to think, for models that do."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    summary: Annotated[str | None, "For providers of this protocol."]
    generate_summary: Annotated[str | None, "For providers of this protocol."]


class ResponsesStreamOptions(TypedDict, total=False):
    """How to stream."""

    include_obfuscation: Annotated[bool | None, "Has no effect."]


Metadata = Annotated[
    dict[str, Annotated[str, Meta(max_length=512)]],
    "Up to 16 pairs of your own, kept with the response.",
]
_NO_EFFECT: Final = "Has no effect, unless the provider's entry names it; see `x-bandari-ignored`."


class ResponsesOptions(TypedDict, total=False):
    """All that a request may leave out."""

    stream: Annotated[
        bool | None,
        "Whether to answer with server-sent events, as the model writes. Default false.",
    ]
    stream_options: Annotated[
        ResponsesStreamOptions | None, "Only with `stream`; else the answer is a 400."
    ]
    instructions: Annotated[
        str | None,
        "What the model is to be and to do, in this answer: those of an earlier one are not taken "
        "over.",
    ]
    previous_response_id: Annotated[str | None, "The stored response that this one goes on from."]
    store: Annotated[bool | None, "Whether to keep the response. Default true."]
    background: Annotated[
        bool | None, "Whether to answer at once and to write then. Needs `store`. Default false."
    ]
    metadata: Metadata | None
    include: Annotated[
        list[str] | None,
        "`reasoning.encrypted_content`: thoughts in a form that can be sent back; "
        "`message.output_text.logprobs`: the probability of each token.",
    ]
    temperature: Temperature
    top_p: TopP
    top_logprobs: Annotated[
        int | None,
        Meta(ge=0, le=MAX_TOP_LOGPROBS),
        "How many of the likeliest tokens to tell in each place.",
    ]
    max_output_tokens: Annotated[
        OutputLimit,
        "How many tokens the answer may have. What the context window or the balance does not "
        "cover is cut off: see `x-bandari-max-tokens`.",
    ]
    text: TextOptions | None
    tools: Annotated[list[ResponsesTool] | None, "What the model may ask to be called."]
    tool_choice: Annotated[
        ToolChoiceOption | None,
        "Whether it may call, must call, or what. Default `auto`.",
    ]
    parallel_tool_calls: Annotated[bool | None, "Whether it may ask for several calls at once."]
    reasoning: ReasoningOptions | None
    truncation: Annotated[
        Literal["auto", "disabled"] | None,
        "What to do with a conversation that is longer than the context window: refuse it, or "
        "leave out what is oldest. Default `disabled`.",
    ]
    user: EndUser
    safety_identifier: Annotated[
        str | None, Meta(max_length=512), "The end user, where `user` is left out."
    ]
    max_tool_calls: Annotated[int | None, _NO_EFFECT]
    prompt_cache_key: Annotated[str | None, _NO_EFFECT]
    service_tier: Annotated[str | None, _NO_EFFECT]
    context_management: Annotated[Any, _NO_EFFECT]


class ResponsesRequest(ResponsesOptions):
    """A conversation to be continued. `null` is the same as leaving a field out.

    A field that is not named here is given to providers whose entry in the configuration names it,
    else it is listed in `x-bandari-ignored`.
    """

    model: ModelId
    input: Annotated[
        str | list[InputItem], "What the user says, or the items of the conversation so far."
    ]
