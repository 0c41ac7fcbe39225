"""OpenAI's model list."""

from __future__ import annotations

import json

from meetkai_mka1 import models as mka1
from msgspec.structs import replace

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import EMBEDDING, Defaults, Model, Target
from bandari.wire.chat_completions.models import encode_model, encode_models

MODEL = Model(
    id="gpt-4o",
    targets=(Target("acme", "gpt-4o-2024"),),
    rate_cards=(),
    context_window=128_000,
    max_output_tokens=16_384,
    defaults=Defaults(),
    bounds=Bounds(),
)
KNOWN = {
    "id": "gpt-4o",
    "object": "model",
    "created": 5,
    "owned_by": "bandari",
    "context_window": 128_000,
    "max_output_tokens": 16_384,
    "endpoints": ["chat_completions", "completions", "messages", "responses"],
    "model_type": "llm",
    "input_modalities": ["text"],
    "output_modalities": ["text"],
}


def test_a_model_tells_nothing_of_its_targets() -> None:
    told = json.loads(encode_model(MODEL, created=5))
    assert {name: told[name] for name in KNOWN} == KNOWN
    assert b"acme" not in encode_model(MODEL, created=5)


def test_a_model_that_embeds_says_so() -> None:
    told = json.loads(encode_model(replace(MODEL, endpoints=EMBEDDING), created=5))
    assert told["model_type"] == "embeddings"
    assert told["endpoints"] == told["output_modalities"] == ["embeddings"]
    assert not told["capabilities"]["supports_temperature"]


def test_the_catalogues_client_finds_all_its_fields() -> None:
    told = json.loads(encode_models([MODEL, replace(MODEL, endpoints=EMBEDDING)], created=5))
    for model in told["data"]:
        assert mka1.GetModelResponse.model_validate(model).id == "gpt-4o"


def test_a_list_of_models() -> None:
    one = encode_model(MODEL, created=5)
    assert encode_models([MODEL, MODEL], created=5) == (
        b'{"object":"list","data":[' + one + b"," + one + b"]}"
    )
    assert encode_models([], created=5) == b'{"object":"list","data":[]}'
