"""The use case of embeddings put together over doubles: money, a model that embeds, scripts.

A script is what one call to an upstream does: gives an answer, raises, or waits for a ``Gate`` and
goes on with the next.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from msgspec.structs import replace
from tests.support.books_in_memory import BooksInMemory
from tests.support.clock import SetClock
from tests.support.gates import Gate
from tests.support.recorded_metrics import RecordedMetrics
from tests.support.samples import FREE_OUTPUT, PER_REQUEST, SHILLINGS, TOKENS, a_model, a_principal

from bandari.domain.catalogue import EMBEDDING, Model
from bandari.domain.embeddings import Embeddings, EmbeddingsRequest
from bandari.domain.ledger import Receipt
from bandari.domain.outcome import Deny
from bandari.domain.usage import Usage
from bandari.service.books import Books
from bandari.service.embedding import Embedded, Embedding, EmbeddingRun
from bandari.service.estimates import Estimates
from bandari.service.limiting import Limiter
from bandari.service.models import Models
from bandari.service.open_requests import OpenRequests

Step = Embeddings | BaseException | Gate


def vectors(count: int = 1, tokens: int | None = 5) -> Embeddings:
    """As many vectors, each (its index, 0.5); ``tokens`` is what the upstream reports."""
    usage = None if tokens is None else Usage(input_tokens=tokens)
    return Embeddings(tuple(struct.pack("<2f", index, 0.5) for index in range(count)), usage)


class ScriptedEmbeddings:
    """The port ``EmbeddingUpstream``. The last step is done again when there are no more."""

    def __init__(
        self,
        *steps: Step,
        name: str = "acme",
        input_tokens: int | BaseException | None = None,
        ignored: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.asked: list[tuple[EmbeddingsRequest, str]] = []
        self.counted = 0
        self._steps = list(steps) or [vectors()]
        self._input_tokens = input_tokens
        self._ignored = ignored

    def ignored(self, request: EmbeddingsRequest) -> tuple[str, ...]:
        return self._ignored

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embeddings:
        self.asked.append((request, model))
        while True:
            step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Embeddings):
                return step
            await step.passing()

    async def count_input(self, request: EmbeddingsRequest, model: str) -> int | None:
        self.counted += 1
        if isinstance(self._input_tokens, BaseException):
            raise self._input_tokens
        return self._input_tokens


def an_embedding_model(**changes: object) -> Model:
    return a_model(**({"endpoints": EMBEDDING} | changes))


def a_text(*texts: str, **changes: object) -> EmbeddingsRequest:
    """With one text of 12 bytes the prompt's bound is 20 tokens."""
    inputs = texts or ("twelve bytes",)
    size = sum(len(text.encode()) for text in inputs)
    return replace(EmbeddingsRequest("bandari-1", inputs, input_bytes=size), **changes)


class EmbeddingHouse:
    """``upstreams`` is one upstream, which becomes ``acme``, or several by name."""

    def __init__(
        self,
        upstreams: ScriptedEmbeddings | Mapping[str, ScriptedEmbeddings] | None = None,
        *,
        balance: int = 1_000_000,
        model: Model | None = None,
        max_open: int = 100,
    ) -> None:
        if upstreams is None or isinstance(upstreams, ScriptedEmbeddings):
            upstreams = {"acme": upstreams or ScriptedEmbeddings()}
        self.clock = SetClock()
        self.metrics = RecordedMetrics()
        self.books = BooksInMemory(TOKENS, FREE_OUTPUT, PER_REQUEST, SHILLINGS)
        if balance:
            self.books.credit(1, "TOKEN", balance)
        self.upstreams = upstreams
        self.estimates = Estimates()
        self.models = Models([model or an_embedding_model()])
        self.service_books = Books(self.books)
        self.open_requests = OpenRequests(max_open)
        self._drawn = 0
        self.limiter = Limiter(clock=self.clock)
        self.embedding = Embedding(
            models=self.models,
            books=self.service_books,
            ledger=self.books,
            upstreams=upstreams,
            clock=self.clock,
            metrics=self.metrics,
            estimates=self.estimates,
            epoch=1,
            random_bytes=self._random_bytes,
            open_requests=self.open_requests,
            limiter=self.limiter,
        )

    def _random_bytes(self, count: int) -> bytes:
        self._drawn += 1
        return bytes([self._drawn // 32 % 32, self._drawn % 32]).rjust(count, b"\0")

    async def begin(self, request: EmbeddingsRequest | None = None) -> EmbeddingRun:
        begun = await self.embedding.begin(a_principal(), request or a_text())
        assert not isinstance(begun, Deny), begun
        return begun

    async def embedded(self, request: EmbeddingsRequest | None = None) -> tuple[Embedded, Receipt]:
        """The result, with its receipt."""
        run = await self.begin(request)
        result = await run.result()
        return result, self.books.receipts[run.receipt_id]
