"""The models that may be asked."""

from __future__ import annotations

from typing import Final

import msgspec

from bandari.domain import catalogue
from bandari.domain.bounds import Bounds
from bandari.web.openapi.errors import ASKING, EITHER
from bandari.web.openapi.headers import IDENTITY
from bandari.web.openapi.operation import Answer, Example, Operation, Section
from bandari.web.openapi.shapes.models import (
    AnthropicModel,
    AnthropicModelList,
    Model,
    ModelList,
)
from bandari.wire.chat_completions import models as openai
from bandari.wire.messages import models as anthropic

_MODEL: Final = catalogue.Model(
    id="bandari-tiny",
    targets=(),
    rate_cards=(),
    context_window=8192,
    max_output_tokens=8192,
    defaults=catalogue.Defaults(),
    bounds=Bounds(),
)
_CREATED_S: Final = 1_795_272_693
_read: Final = msgspec.json.decode


def _latency_ms(_model: catalogue.Model) -> int:
    return 210


MODELS: Final = Section(
    "Models",
    "What may be asked.",
    (
        Operation(
            id="listModels",
            method="get",
            path="/models",
            summary="List the models",
            description=(
                "All models that the key may use. With an `anthropic-version` header the list has "
                "Anthropic's form, and may be asked for page by page."
            ),
            parameters=(
                "AnthropicVersion",
                "Limit",
                "After",
                "Before",
                "Sort",
                "OnBehalfOf",
                "RequestId",
            ),
            answer=Answer(
                "The models.",
                shape=ModelList | AnthropicModelList,
                headers=(*IDENTITY, "request-id"),
                examples={
                    "openai": Example(
                        "The list", _read(openai.encode_models([_MODEL], _CREATED_S, _latency_ms))
                    ),
                    "anthropic": Example(
                        "With `anthropic-version`",
                        _read(anthropic.encode_models([_MODEL], _CREATED_S)),
                    ),
                },
            ),
            protocol=EITHER,
            failures=ASKING,
        ),
        Operation(
            id="getModel",
            method="get",
            path="/models/{id}",
            summary="Look at one model",
            description="By its public id or an alias.",
            parameters=("ModelId", "AnthropicVersion", "OnBehalfOf", "RequestId"),
            answer=Answer(
                "The model.",
                shape=Model | AnthropicModel,
                headers=(*IDENTITY, "request-id"),
                examples={
                    "openai": Example(
                        "The model", _read(openai.encode_model(_MODEL, _CREATED_S, _latency_ms))
                    ),
                    "anthropic": Example(
                        "With `anthropic-version`",
                        _read(anthropic.encode_model(_MODEL, _CREATED_S)),
                    ),
                },
            ),
            protocol=EITHER,
            failures=(*ASKING, 404),
        ),
    ),
)
