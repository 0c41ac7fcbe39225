"""Which URL is answered by which endpoint: the whole HTTP API in one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from bandari.service.inference import Inference
from bandari.service.limiting import Limiter
from bandari.service.models import Models
from bandari.service.ports import Metrics
from bandari.web.admission import Admission
from bandari.web.app import Route
from bandari.web.chat import Chat, ChatSettings
from bandari.web.keys import KeyCheck
from bandari.web.models import ModelList
from bandari.web.operations import Operations
from bandari.web.surface import CHAT_COMPLETIONS, TYPED_STREAM, Surface

BASES: Final = ("/v1", "/api/v1/llm")
"""Every surface is served under both."""


class House(Struct, frozen=True):
    """What the endpoints work with. ``created_s`` is told as every model's time of creation, and
    ``obstacles`` says what keeps the server from being ready.
    """

    keys: KeyCheck
    limiter: Limiter
    inference: Inference
    models: Models
    metrics: Metrics
    settings: ChatSettings
    created_s: int
    obstacles: Callable[[], Sequence[str]]


def routes(house: House) -> list[Route]:
    admission = Admission(house.keys, house.limiter, house.metrics)
    operations = Operations(house.metrics, house.obstacles)
    models = ModelList(admission, house.models, house.created_s)

    def chat(surface: Surface) -> Chat:
        return Chat(surface, admission, house.inference, house.metrics, house.settings)

    completions = chat(CHAT_COMPLETIONS)
    table = [
        route
        for base in BASES
        for route in (
            Route(f"{base}/chat/completions", POST=completions),
            Route(f"{base}/models", GET=models.list),
            Route(f"{base}/models/{{id}}", GET=models.one),
        )
    ]
    return [
        *table,
        Route(
            "/api/v1/llm/chat/completions/stream",
            spell=TYPED_STREAM.spell_problem,
            POST=chat(TYPED_STREAM),
        ),
        Route("/healthz", GET=operations.alive),
        Route("/readyz", GET=operations.ready),
        Route("/metrics", GET=operations.metrics),
    ]
