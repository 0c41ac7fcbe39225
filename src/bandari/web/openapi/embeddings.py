"""Embeddings: OpenAI's protocol."""

from __future__ import annotations

from typing import Final

from bandari.web.openapi.errors import ANSWERING, OPENAI
from bandari.web.openapi.headers import IDENTITY, LIMITS
from bandari.web.openapi.operation import Answer, Example, Operation, Section
from bandari.web.openapi.shapes.embeddings import EmbeddingList, EmbeddingsRequest

TEXTS: Final[EmbeddingsRequest] = {
    "model": "nomic-embed-text",
    "input": ["The port is open.", "Bandari iko wazi."],
}
ANSWER: Final[EmbeddingList] = {
    "object": "list",
    "data": [
        {"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]},
        {"object": "embedding", "index": 1, "embedding": [0.5, -0.25, 0.25]},
    ],
    "model": "nomic-embed-text",
    "usage": {"prompt_tokens": 11, "total_tokens": 11},
}

EMBEDDINGS: Final = Section(
    "Embeddings",
    "Texts as vectors, to be compared.",
    (
        Operation(
            id="createEmbeddings",
            method="post",
            path="/embeddings",
            summary="Embed texts",
            description=(
                "For models whose `endpoints` say so; one that writes is refused with a 400. A "
                "field that has no effect is listed in the answer's `x-bandari-ignored`."
            ),
            parameters=("OnBehalfOf", "RequestId"),
            body=EmbeddingsRequest,
            examples={"texts": Example("Two texts", TEXTS)},
            answer=Answer(
                "The vectors.",
                shape=EmbeddingList,
                headers=(*IDENTITY, "x-bandari-receipt", "x-bandari-ignored", *LIMITS),
                examples={"vectors": Example("Short vectors", ANSWER)},
            ),
            protocol=OPENAI,
            failures=ANSWERING,
        ),
    ),
)
