"""Answers whose tokens nobody reports: counted by a tokenizer, or estimated by what was learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.chat import PATH, user
from tests.support.reticent_upstream import (
    ANSWER,
    BYTES_PER_TOKEN,
    LONG,
    prompt_tokens,
    reticent_upstream,
)
from tests.support.server import Bandari, running

CREDIT = 10_000_000
CONFIG = """
[providers.reticent]
base_url = "{url}/v1"
[providers.tokenizing]
base_url = "{url}/v1"
tokenizer = "llama_cpp"
[models.estimated]
targets = ["reticent:estimated"]
[models.counted]
targets = ["tokenizing:counted"]
"""
TOLD = [{"role": "user", "content": "x" * 2_000}]
UNTOLD = [{"role": "user", "content": "silently " * 100}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    with reticent_upstream() as url:
        data = tmp_path_factory.mktemp("estimate") / "data"
        with running(data, CONFIG.format(url=url)) as server:
            yield server
            server.verify()


def receipt_of(server: Bandari, key: str, model: str, **body: Any) -> dict[str, Any]:
    """Ask, and show the receipt as a customer would."""
    with server.client(key) as client:
        answer = client.post(PATH, json={"model": model, **body})
        assert answer.status_code == 200
        shown = client.get(f"/v1/receipts/{answer.headers['x-bandari-receipt']}").json()
    assert shown["amount"] == answer.json()["usage"]["total_tokens"]
    return dict(shown)


def by_hand(receipt: dict[str, Any]) -> tuple[int, int]:
    """Prompt and answer in tokens, as `docs/billing.md` tells to estimate them."""
    basis = receipt["basis"]
    return (
        -(-basis["input_bytes"] * basis["input_ratio"] // 1_000_000),
        -(-basis["output_bytes"] * basis["output_ratio"] // 1_000_000),
    )


def ratios(receipt: dict[str, Any]) -> dict[str, int]:
    return {kind: receipt["basis"][f"{kind}_ratio"] for kind in ("input", "output")}


def test_the_ratio_is_learned_from_what_the_model_reported_and_outlives_the_server(
    server: Bandari,
) -> None:
    key = server.new_key("amina", CREDIT)
    first = receipt_of(server, key, "estimated", messages=UNTOLD)
    assert (first["rule"], ratios(first)) == (
        "estimated",
        {"input": 250_000, "output": 250_000},
    )
    told = 20
    for _ in range(told):
        receipt = receipt_of(server, key, "estimated", messages=TOLD)
        assert (receipt["rule"], receipt["usage"]["input_tokens"]) == (
            "reported",
            prompt_tokens(TOLD),
        )
    seen = receipt["basis"]
    # A thousand tokens of four bytes weigh as the default, beside all that was reported.
    expected = {
        kind: (told * tokens + 1_000) * 1_000_000 // (told * size + 4_000)
        for kind, tokens, size in (
            ("input", prompt_tokens(TOLD), seen["input_bytes"]),
            ("output", len(ANSWER) // BYTES_PER_TOKEN, len(ANSWER)),
        )
    }
    assert 460_000 < expected["input"] < 500_000
    second = receipt_of(server, key, "estimated", messages=UNTOLD)
    assert ratios(second) == expected
    assert second["basis"]["output_bytes"] == len(ANSWER)
    assert (second["usage"]["input_tokens"], second["usage"]["output_tokens"]) == by_hand(second)
    assert second["amount"] == sum(by_hand(second)) > first["amount"]

    server.stop()
    server.start()
    third = receipt_of(server, key, "estimated", messages=UNTOLD)
    assert third["basis"] == second["basis"]
    text = server.cli("receipt", "show", third["id"]).stdout
    assert f"{expected['output'] / 1e6:.6f} a byte of answer" in text


def test_where_the_server_has_a_tokenizer_the_answer_is_counted(server: Bandari) -> None:
    key = server.new_key("baraka", CREDIT)
    receipt = receipt_of(server, key, "counted", messages=UNTOLD)
    assert (receipt["rule"], receipt["usage"]["input_tokens"]) == ("counted", prompt_tokens(UNTOLD))
    assert receipt["usage"]["output_tokens"] == len(ANSWER) // BYTES_PER_TOKEN


@pytest.mark.parametrize("model", ["counted", "estimated"])
def test_an_upstream_that_ignores_the_limit_is_ended(server: Bandari, model: str) -> None:
    """Its tokens are not counted while it runs, so it gets four times its limit and 1,040 more."""
    key = server.new_key(f"chege {model}", CREDIT)
    body = {"model": model, "messages": user("on and silently on"), "max_tokens": 100}
    with server.client(key) as client:
        answer = client.post(PATH, json=body).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert 1_400 < len(answer["choices"][0]["message"]["content"]) / 2 < 1_600 < LONG
