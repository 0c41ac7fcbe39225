"""Which URL is answered by which endpoint: the whole HTTP API in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct, field

from bandari.service.administration import Administration
from bandari.service.counting import Counting
from bandari.service.embedding import Embedding
from bandari.service.inference import Inference
from bandari.service.latencies import Latencies
from bandari.service.limiting import Limiter
from bandari.service.models import Models
from bandari.service.ports import Metrics
from bandari.service.reloading import Reload
from bandari.service.reporting import Reporting
from bandari.service.responses import StoredResponses
from bandari.service.streams import Streams
from bandari.web.admin.table import admin_routes
from bandari.web.admission import Admission
from bandari.web.app import Endpoint, Route
from bandari.web.chat import Chat
from bandari.web.chat_settings import ChatSettings
from bandari.web.customer import Customer
from bandari.web.delivery import Delivery
from bandari.web.description import Description
from bandari.web.embeddings import Embeddings
from bandari.web.exports import Exports
from bandari.web.keys import KeyCheck
from bandari.web.messages import CountTokens, Messages
from bandari.web.models import ModelList
from bandari.web.operations import Operations
from bandari.web.responses import Responses
from bandari.web.streams import StreamsById
from bandari.web.surface import (
    CHAT_COMPLETIONS,
    COMPLETIONS,
    HYBRID,
    MESSAGES,
    RESPONSES,
    SURFACES,
    TYPED_STREAM,
    ChatSurface,
)

BASES: Final = ("/v1", "/api/v1/llm")
"""Every surface is served under both."""


class House(Struct, frozen=True):
    """What the endpoints work with. ``now_s`` tells the time in seconds since 1970; ``obstacles``
    says what keeps the server from being ready, and ``reload`` reads the configuration anew.
    """

    keys: KeyCheck
    limiter: Limiter
    inference: Inference
    counting: Counting
    embedding: Embedding
    responses: StoredResponses
    streams: Streams
    models: Models
    metrics: Metrics
    settings: ChatSettings
    now_s: Callable[[], int]
    obstacles: Callable[[], Sequence[str]]
    administration: Administration
    reporting: Reporting
    reload: Reload
    latencies: Latencies = field(default_factory=Latencies)


def routes(house: House) -> list[Route]:
    admission = Admission(house.keys, house.limiter, house.metrics, house.settings)
    description = Description()
    operations = Operations(house.metrics, house.obstacles)
    models = ModelList(admission, house.models, house.latencies, house.now_s())

    deliveries = {
        name: Delivery(surface, house.metrics, house.settings) for name, surface in SURFACES.items()
    }
    streams = StreamsById(admission, house.streams, deliveries)

    def chat(surface: ChatSurface) -> Chat:
        return Chat(
            surface,
            admission,
            house.inference,
            house.streams,
            deliveries[surface.name],
            house.settings,
        )

    chats, completions = chat(CHAT_COMPLETIONS), chat(COMPLETIONS)
    embeddings = Embeddings(admission, house.embedding)
    messages = Messages(chat(MESSAGES), chat(HYBRID))
    count_tokens = CountTokens(admission, house.counting, house.settings)
    responses = Responses(
        admission,
        house.inference,
        house.responses,
        house.streams,
        deliveries[RESPONSES.name],
        house.settings,
        house.now_s,
    )

    exports = Exports()
    customer = Customer(
        admission=admission,
        administration=house.administration,
        reporting=house.reporting,
        limiter=house.limiter,
        exports=exports,
        now_s=house.now_s,
    )

    def of_responses(path: str, **endpoints: Endpoint) -> Route:
        return Route(path, spell=RESPONSES.spell, **endpoints)

    table = [
        route
        for base in BASES
        for route in (
            Route(f"{base}/chat/completions", POST=chats),
            Route(f"{base}/completions", spell=COMPLETIONS.spell, POST=completions),
            Route(f"{base}/embeddings", POST=embeddings),
            Route(f"{base}/messages", POST=messages),
            Route(
                f"{base}/messages/count_tokens",
                spell=MESSAGES.spell,
                POST=count_tokens,
            ),
            of_responses(f"{base}/responses", POST=responses.create),
            of_responses(f"{base}/responses/compact", POST=responses.compact),
            of_responses(f"{base}/responses/{{id}}", GET=responses.one, DELETE=responses.delete),
            of_responses(f"{base}/responses/{{id}}/cancel", POST=responses.cancel),
            of_responses(f"{base}/responses/{{id}}/input_items", GET=responses.input_items),
            Route(f"{base}/streams/{{id}}", GET=streams.read, DELETE=streams.delete),
            Route(f"{base}/models", GET=models.list),
            Route(f"{base}/models/{{id}}", GET=models.one),
            *customer.routes(base),
        )
    ]
    return [
        *table,
        Route(
            "/api/v1/llm/chat/completions/stream",
            spell=TYPED_STREAM.spell,
            POST=chat(TYPED_STREAM),
        ),
        *admin_routes(
            administration=house.administration,
            reporting=house.reporting,
            models=house.models,
            reload=house.reload,
            exports=exports,
            metrics=house.metrics,
        ),
        Route("/healthz", GET=operations.alive),
        Route("/readyz", GET=operations.ready),
        Route("/metrics", GET=operations.metrics),
        Route("/openapi.json", GET=description.openapi),
        Route("/docs", GET=description.docs),
    ]
