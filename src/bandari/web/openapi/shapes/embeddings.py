"""Embeddings, asked for and answered."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.embeddings import MAX_INPUTS
from bandari.web.openapi.shapes.chat_answer import Count
from bandari.web.openapi.shapes.chat_request import EndUser, ModelId

Text = Annotated[str, Meta(min_length=1)]
Tokens = Annotated[list[Annotated[int, Meta(ge=0)]], Meta(min_length=1)]
Inputs = Meta(min_length=1, max_length=MAX_INPUTS)


class EmbeddingsRequest(TypedDict):
    """Texts to be embedded. `null` is the same as leaving a field out."""

    model: ModelId
    input: Annotated[
        Text | Annotated[list[Text], Inputs] | Tokens | Annotated[list[Tokens], Inputs],
        "A text, or several; a text's tokens, or those of several.",
    ]
    dimensions: NotRequired[
        Annotated[
            int | None,
            Meta(ge=1, le=MAX_INTEGER),
            "How long the vectors are to be, for models that can choose.",
        ]
    ]
    encoding_format: NotRequired[
        Annotated[
            Literal["float", "base64"] | None,
            "Numbers, or the base64 of little-endian 32-bit floats. Default `float`.",
        ]
    ]
    user: NotRequired[EndUser]


class Embedding(TypedDict):
    """A text's vector."""

    object: Literal["embedding"]
    index: Annotated[Count, "Which of the texts it is."]
    embedding: Annotated[list[float] | str, "As `encoding_format` asks for it."]


class EmbeddingsUsage(TypedDict):
    """What it took."""

    prompt_tokens: Count
    total_tokens: Count


class EmbeddingList(TypedDict):
    """The vectors, in the order of the texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: Annotated[str, "The model's public id."]
    usage: EmbeddingsUsage
