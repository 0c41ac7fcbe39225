"""OpenAI's model list."""

from __future__ import annotations

import json

import pytest
from meetkai_mka1 import models as mka1
from msgspec.structs import replace

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import EMBEDDING, Defaults, Model, Target
from bandari.domain.faults import InvalidValue
from bandari.wire.chat_completions.models import Sort, encode_model, encode_models, read_sort

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
    "latency_ms": None,
    "endpoints": ["chat_completions", "completions", "messages", "responses"],
    "model_type": "llm",
    "input_modalities": ["text"],
    "output_modalities": ["text"],
}


def nobody(model: Model) -> None:
    """No model has answered yet."""


def test_a_model_tells_nothing_of_its_targets() -> None:
    told = json.loads(encode_model(MODEL, 5, nobody))
    assert {name: told[name] for name in KNOWN} == KNOWN
    assert b"acme" not in encode_model(MODEL, 5, nobody)


def test_a_model_that_embeds_says_so() -> None:
    told = json.loads(encode_model(replace(MODEL, endpoints=EMBEDDING), 5, nobody))
    assert told["model_type"] == "embeddings"
    assert told["endpoints"] == told["output_modalities"] == ["embeddings"]
    assert not told["capabilities"]["supports_temperature"]


def test_the_catalogues_client_finds_all_its_fields() -> None:
    told = json.loads(encode_models([MODEL, replace(MODEL, endpoints=EMBEDDING)], 5, nobody))
    for model in told["data"]:
        assert mka1.GetModelResponse.model_validate(model).id == "gpt-4o"


def test_a_list_of_models() -> None:
    one = encode_model(MODEL, 5, nobody)
    assert encode_models([MODEL, MODEL], 5, nobody) == (
        b'{"object":"list","data":[' + one + b"," + one + b"]}"
    )
    assert encode_models([], 5, nobody) == b'{"object":"list","data":[]}'


def test_what_is_known_of_a_models_latency() -> None:
    assert json.loads(encode_model(MODEL, 5, lambda _: 250))["latency_ms"] == 250


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        (None, ["slow", "new", "fast", "same"]),
        (Sort.CONTEXT_WINDOW, ["new", "slow", "fast", "same"]),
        (Sort.LATENCY, ["fast", "same", "slow", "new"]),
    ],
)
def test_a_list_in_order(sort: Sort | None, order: list[str]) -> None:
    latencies = {"slow": 900, "new": None, "fast": 0, "same": 0}
    windows = {"slow": 200, "new": 300, "fast": 100, "same": 100}
    models = [replace(MODEL, id=name, context_window=windows[name]) for name in windows]
    told = json.loads(encode_models(models, 5, lambda model: latencies[model.id], sort))
    assert [entry["id"] for entry in told["data"]] == order


def test_the_order_that_is_asked_for() -> None:
    assert read_sort(None) is read_sort("") is None
    assert read_sort("latency") is Sort.LATENCY
    with pytest.raises(InvalidValue, match="context_window, latency") as caught:
        read_sort("price")
    assert caught.value.param == "sort"
