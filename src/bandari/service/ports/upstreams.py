"""Providers: asked for answers and for vectors, whatever protocol they speak."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from bandari.domain.chat import ChatRequest
from bandari.domain.embeddings import Embeddings, EmbeddingsRequest
from bandari.domain.events import Event

Take = Callable[[Sequence[Event]], bool]
"""Takes what an upstream has said, at once. False: it wants to have its next turn."""


class Upstream(Protocol):
    """A provider, ready to be asked. Holds its connections; speaks whatever protocol it speaks."""

    name: str
    max_choices: int
    """How many choices (``n``) one call may ask for; more are fanned out."""

    counts_text: bool
    """Whether ``count_text`` may be worth asking, and an answer's text worth keeping for it."""

    def ignored(self, request: ChatRequest) -> tuple[str, ...]:
        """Names of the client's fields that this provider is not given, sorted."""
        ...

    def generate(
        self, request: ChatRequest, model: str, take: Take | None = None
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
        """Ask for an answer. Entering sends the request and raises a fault if it is refused.

        Each item is what one chunk of the upstream's answer said. An iteration that ends normally
        has seen the upstream's own end; anything else raises an ``UpstreamFault``. Leaving the
        context closes the upstream's connection, and with it the generation.

        What is said while the iteration waits may be given to ``take`` instead, so that an event
        costs its task no turn. When that returns false, the iteration gives the next item at once,
        an empty one if nothing more was said.
        """
        ...

    async def count_input(self, request: ChatRequest, model: str) -> int | None:
        """The exact number of the prompt's tokens, or None where this provider cannot tell.

        Never raises for the provider's faults, and has a timeout of its own.
        """
        ...

    async def count_text(self, text: str, model: str) -> int | None:
        """The exact number of a text's tokens, under the same terms."""
        ...


class EmbeddingUpstream(Protocol):
    """A provider that makes embeddings, ready to be asked."""

    name: str

    def ignored(self, request: EmbeddingsRequest) -> tuple[str, ...]:
        """Names of the client's fields that this provider is not given, sorted."""
        ...

    async def embed(self, request: EmbeddingsRequest, model: str) -> Embeddings:
        """One vector for each input. Raises a fault if it is refused, or is anything else."""
        ...

    async def count_input(self, request: EmbeddingsRequest, model: str) -> int | None:
        """The exact number of the inputs' tokens, or None where this provider cannot tell.

        Never raises for the provider's faults, and has a timeout of its own.
        """
        ...
