"""The example prompts of the five systems get the right answer from the model in the box.

Its card has the figures for fifty seeds; here a few seeds keep card, model and server together.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2 as httpx
import pytest
from tests.support.chat import MODEL, PATH


def is_the_revenue(text: str) -> bool:
    value = json.loads(text)
    return any(figure in (4_200_000, "4.2M") for figure in value.values()) and "KES" in text


EXAMPLES: dict[str, tuple[dict[str, Any], Callable[[str], bool]]] = {
    "extract": (
        {
            "messages": [
                {
                    "role": "system",
                    "content": "You are a strict financial data extractor. Output only valid JSON.",
                },
                {
                    "role": "user",
                    "content": "Extract revenue from this text: Q3 revenue hit 4.2M KES.",
                },
            ],
            "temperature": 0.2,
        },
        is_the_revenue,
    ),
    "name": (
        {
            "messages": [
                {"role": "system", "content": "You are a helpful AI assistant named Alex."},
                {"role": "user", "content": "Who are you?"},
            ]
        },
        lambda text: "Alex" in text,
    ),
    "translate": (
        {
            "messages": [
                {
                    "role": "system",
                    "content": "You are a helpful assistant that translates English to Yoruba.",
                },
                {"role": "user", "content": "Translate: I love you"},
            ],
            "temperature": 0.7,
            "max_tokens": 50,
        },
        lambda text: "Mo nífẹ̀ẹ́ rẹ" in text,
    ),
    "capital": (
        {
            "messages": [{"role": "user", "content": "What is the capital of France?"}],
            "temperature": 0.7,
            "max_tokens": 100,
        },
        lambda text: "Paris" in text,
    ),
    "echo": (
        {
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "Say this is a test!"},
            ]
        },
        lambda text: "This is a test!" in text,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_prompt(client: httpx.Client, name: str) -> None:
    fields, is_right = EXAMPLES[name]
    answers = []
    for seed in range(5):
        response = client.post(PATH, json={"model": MODEL, "seed": seed, **fields})
        assert response.status_code == 200, response.text
        answers.append(response.json()["choices"][0]["message"]["content"])
    assert [answer for answer in answers if not is_right(answer)] == []
