"""Answers of Messages: whole, and as a stream's events."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from bandari.web.openapi.schema import Named
from bandari.web.openapi.shapes.chat_answer import Count
from bandari.web.openapi.shapes.errors import MessagesErrorDetails
from bandari.web.openapi.shapes.messages_request import (
    RedactedThinkingBlock,
    ThinkingBlock,
    ToolUseBlock,
)

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]


class AnswerTextBlock(TypedDict):
    """Text."""

    type: Literal["text"]
    text: str


AnswerBlock = Annotated[
    AnswerTextBlock | ToolUseBlock | ThinkingBlock | RedactedThinkingBlock,
    Named("AnswerBlock", "A piece of an answer. It can be sent back as it is."),
]


class OutputTokensDetails(TypedDict):
    """Tokens of the answer by kind."""

    thinking_tokens: Annotated[Count, "Those that the model thought."]


class MessagesUsage(TypedDict):
    """What the answer took. The whole prompt is the sum of the three input counts."""

    input_tokens: Annotated[Count, "Of the prompt, without what the two below count."]
    cache_creation_input_tokens: Annotated[Count, "Of the prompt, those that are kept now."]
    cache_read_input_tokens: Annotated[Count, "Of the prompt, those that were kept before."]
    output_tokens: Count
    output_tokens_details: NotRequired[OutputTokensDetails]


class Message(TypedDict):
    """A whole answer; at the start of a stream, one without content."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: Annotated[str, "The model's public id."]
    content: list[AnswerBlock]
    stop_reason: Annotated[StopReason | None, "Null only at the start of a stream."]
    stop_sequence: Annotated[str | None, "Which of `stop_sequences` ended it, where one did."]
    usage: MessagesUsage


class MessageStartEvent(TypedDict):
    """The answer begins. Its `usage` tells the best count of the prompt until now."""

    type: Literal["message_start"]
    message: Message


class ContentBlockStartEvent(TypedDict):
    """A block begins."""

    type: Literal["content_block_start"]
    index: Count
    content_block: AnswerBlock


class TextDelta(TypedDict):
    """A piece of a text."""

    type: Literal["text_delta"]
    text: str


class InputJsonDelta(TypedDict):
    """A piece of a call's arguments: of their JSON, which the pieces are when they are joined."""

    type: Literal["input_json_delta"]
    partial_json: str


class ThinkingDelta(TypedDict):
    """A piece of a thought."""

    type: Literal["thinking_delta"]
    thinking: str


class SignatureDelta(TypedDict):
    """The signature of a thought, whole."""

    type: Literal["signature_delta"]
    signature: str


BlockDelta = Annotated[
    TextDelta | InputJsonDelta | ThinkingDelta | SignatureDelta,
    Named("BlockDelta", "What is new in a block."),
]


class ContentBlockDeltaEvent(TypedDict):
    """A block goes on."""

    type: Literal["content_block_delta"]
    index: Count
    delta: BlockDelta


class ContentBlockStopEvent(TypedDict):
    """A block is complete."""

    type: Literal["content_block_stop"]
    index: Count


class StopDelta(TypedDict):
    """Why the answer ended."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageDeltaEvent(TypedDict):
    """The answer is complete, and this is what it took."""

    type: Literal["message_delta"]
    delta: StopDelta
    usage: MessagesUsage


class MessageStopEvent(TypedDict):
    """Nothing follows."""

    type: Literal["message_stop"]


class PingEvent(TypedDict):
    """The answer takes its time."""

    type: Literal["ping"]


class MessagesErrorEvent(TypedDict):
    """The answer failed. Nothing follows."""

    type: Literal["error"]
    error: MessagesErrorDetails


MessageStreamEvent = Annotated[
    MessageStartEvent
    | ContentBlockStartEvent
    | ContentBlockDeltaEvent
    | ContentBlockStopEvent
    | MessageDeltaEvent
    | MessageStopEvent
    | PingEvent
    | MessagesErrorEvent,
    Named(
        "MessageStreamEvent", "The data of an event; the event's name is the same as its `type`."
    ),
]


class TokenCount(TypedDict):
    """The size of a prompt."""

    input_tokens: Count
