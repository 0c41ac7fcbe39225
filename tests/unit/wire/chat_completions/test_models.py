"""OpenAI's model list."""

from __future__ import annotations

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import Defaults, Model, Target
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
WRITTEN = (
    b'{"id":"gpt-4o","object":"model","created":5,"owned_by":"bandari","context_window":128000,'
    b'"max_output_tokens":16384,'
    b'"endpoints":["chat_completions","completions","messages","responses"]}'
)


def test_a_model_tells_nothing_of_its_targets() -> None:
    assert encode_model(MODEL, created=5) == WRITTEN


def test_a_list_of_models() -> None:
    assert encode_models([MODEL, MODEL], created=5) == (
        b'{"object":"list","data":[' + WRITTEN + b"," + WRITTEN + b"]}"
    )
    assert encode_models([], created=5) == b'{"object":"list","data":[]}'
