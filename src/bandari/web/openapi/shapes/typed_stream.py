"""The events of the typed stream."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from bandari.web.openapi.schema import Named
from bandari.web.openapi.shapes.chat_answer import ChatCompletionChunk
from bandari.web.openapi.shapes.errors import TypedStreamError


class TypedMessageEvent(TypedDict):
    """A piece of the answer."""

    event: Literal["message"]
    id: Annotated[str, Meta(pattern="^[0-9]+$"), "The chunk's index, from 0."]
    data: ChatCompletionChunk


class TypedErrorEvent(TypedDict):
    """The answer failed. Nothing follows."""

    event: Literal["error"]
    data: TypedStreamError


class TypedDoneEvent(TypedDict):
    """The answer is complete. Nothing follows."""

    event: Literal["done"]
    data: None


TypedStreamEvent = Annotated[
    TypedMessageEvent | TypedErrorEvent | TypedDoneEvent,
    Named(
        "TypedStreamEvent",
        "One event of a typed stream: its `event` and `id` lines, and its `data` read as JSON.",
    ),
]
