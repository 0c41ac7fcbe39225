"""The events of a streamed response."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from bandari.web.openapi.schema import Named
from bandari.web.openapi.shapes.chat_answer import Count
from bandari.web.openapi.shapes.errors import ErrorDetails
from bandari.web.openapi.shapes.responses_answer import (
    OutputItem,
    OutputPart,
    Response,
    ResponseLogprob,
)
from bandari.web.openapi.shapes.responses_request import SummaryText


class Numbered(TypedDict):
    """What every event has."""

    sequence_number: Annotated[Count, "Counts the events from 0."]


class ResponseCreatedEvent(Numbered):
    """The response exists. It is the first event."""

    type: Literal["response.created"]
    response: Response


class ResponseQueuedEvent(Numbered):
    """It waits."""

    type: Literal["response.queued"]
    response: Response


class ResponseInProgressEvent(Numbered):
    """It is being written."""

    type: Literal["response.in_progress"]
    response: Response


class ResponseCompletedEvent(Numbered):
    """It is complete. Nothing follows."""

    type: Literal["response.completed"]
    response: Response


class ResponseIncompleteEvent(Numbered):
    """It ended too early. Nothing follows."""

    type: Literal["response.incomplete"]
    response: Response


class ResponseFailedEvent(Numbered):
    """It failed. Nothing follows."""

    type: Literal["response.failed"]
    response: Response


class OutputItemAddedEvent(Numbered):
    """An item begins."""

    type: Literal["response.output_item.added"]
    output_index: Count
    item: OutputItem


class OutputItemDoneEvent(Numbered):
    """An item is complete."""

    type: Literal["response.output_item.done"]
    output_index: Count
    item: OutputItem


class InItem(Numbered):
    """What an event within an item has."""

    item_id: str
    output_index: Count


class InPart(InItem):
    """What an event within a message's part has."""

    content_index: Count


class ContentPartAddedEvent(InPart):
    """A part of a message begins."""

    type: Literal["response.content_part.added"]
    part: OutputPart


class ContentPartDoneEvent(InPart):
    """A part of a message is complete."""

    type: Literal["response.content_part.done"]
    part: OutputPart


class OutputTextDeltaEvent(InPart):
    """A piece of the text."""

    type: Literal["response.output_text.delta"]
    delta: str
    logprobs: list[ResponseLogprob]


class OutputTextDoneEvent(InPart):
    """The text is complete."""

    type: Literal["response.output_text.done"]
    text: str
    logprobs: list[ResponseLogprob]


class RefusalDeltaEvent(InPart):
    """A piece of a refusal."""

    type: Literal["response.refusal.delta"]
    delta: str


class RefusalDoneEvent(InPart):
    """The refusal is complete."""

    type: Literal["response.refusal.done"]
    refusal: str


class FunctionCallArgumentsDeltaEvent(InItem):
    """A piece of a call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    delta: str


class FunctionCallArgumentsDoneEvent(InItem):
    """A call's arguments are complete."""

    type: Literal["response.function_call_arguments.done"]
    name: str
    arguments: str


class InSummary(InItem):
    """What an event within a thought has."""

    summary_index: Count


class ReasoningSummaryPartAddedEvent(InSummary):
    """A thought begins."""

    type: Literal["response.reasoning_summary_part.added"]
    part: SummaryText


class ReasoningSummaryTextDeltaEvent(InSummary):
    """A piece of a thought."""

    type: Literal["response.reasoning_summary_text.delta"]
    delta: str


class ReasoningSummaryTextDoneEvent(InSummary):
    """The thought's text is complete."""

    type: Literal["response.reasoning_summary_text.done"]
    text: str


class ReasoningSummaryPartDoneEvent(InSummary):
    """The thought is complete."""

    type: Literal["response.reasoning_summary_part.done"]
    part: SummaryText


class ResponsesErrorEvent(Numbered):
    """The answer failed. The same is said twice: some clients read `error`, some the rest."""

    type: Literal["error"]
    code: str
    message: str
    param: str | None
    error: ErrorDetails


ResponseStreamEvent = Annotated[
    ResponseCreatedEvent
    | ResponseQueuedEvent
    | ResponseInProgressEvent
    | OutputItemAddedEvent
    | ContentPartAddedEvent
    | OutputTextDeltaEvent
    | OutputTextDoneEvent
    | RefusalDeltaEvent
    | RefusalDoneEvent
    | ContentPartDoneEvent
    | FunctionCallArgumentsDeltaEvent
    | FunctionCallArgumentsDoneEvent
    | ReasoningSummaryPartAddedEvent
    | ReasoningSummaryTextDeltaEvent
    | ReasoningSummaryTextDoneEvent
    | ReasoningSummaryPartDoneEvent
    | OutputItemDoneEvent
    | ResponseCompletedEvent
    | ResponseIncompleteEvent
    | ResponseFailedEvent
    | ResponsesErrorEvent,
    Named(
        "ResponseStreamEvent", "The data of an event; the event's name is the same as its `type`."
    ),
]
