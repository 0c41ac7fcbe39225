"""Scores a GGUF file through the real engine and prints the tables of the model card.

    python -m tools.train_model.evaluate bandari-tiny.gguf build/tiny/tokenizer.json

The second argument is the tokenizer saved by training; the engine must agree with it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.train_model import features
from tools.train_model.dataset import render
from tools.train_model.engine import Engine
from tools.train_model.facts import TRANSLATIONS
from tools.train_model.samples import make_sample
from tools.train_model.source import Sample, Source
from tools.train_model.tokenizer import load_tokenizer

SEEDS = 50
HELD_OUT_SAMPLES = 100
HELD_OUT_SEED = 7
TOKENIZER_TEXTS = 400
ODD_TEXTS = (
    "",
    " ",
    "\n\n\n",
    "   three spaces",
    "tab\tand\r\nline",
    "👋🏽 emoji 🎉🇰🇪",
    "Mo nífẹ̀ẹ́ rẹ",
    "ẹ́ ọ̀ ṣ Ṣ Ọ́",
    "12345 1,234.56 4.2M",
    "I'm we'll they've don't",
    "日本語 العربية हिन्दी",
    "a\u0000b",
    "x" * 300,
    '{"a": [1, 2, {"b": null}]}',
    "\u200b\ufeff\u00a0",
)


def reply_text(reply: dict[str, Any]) -> str:
    """The text of the first choice."""
    return str(reply["choices"][0]["message"].get("content") or "")


def is_revenue(text: str) -> bool:
    """Whether the text is valid JSON with the revenue in it."""
    try:
        record = json.loads(text)
    except ValueError:
        return False
    return (
        isinstance(record, dict)
        and record.get("revenue") == 4_200_000
        and record.get("currency") == "KES"
    )


Example = tuple[str, list[dict[str, Any]], dict[str, Any], Callable[[str], bool]]

EXAMPLES: tuple[Example, ...] = (
    (
        "Extract revenue from this text: Q3 revenue hit 4.2M KES.",
        [
            {
                "role": "system",
                "content": "You are a strict financial data extractor. Output only valid JSON.",
            },
            {"role": "user", "content": "Extract revenue from this text: Q3 revenue hit 4.2M KES."},
        ],
        {"temperature": 0.2},
        is_revenue,
    ),
    (
        "Who are you? (as Alex)",
        [
            {"role": "system", "content": "You are a helpful AI assistant named Alex."},
            {"role": "user", "content": "Who are you?"},
        ],
        {"temperature": 1.0},
        lambda text: "I am Alex" in text,
    ),
    (
        "Translate: I love you (to Yoruba)",
        [
            {
                "role": "system",
                "content": "You are a helpful assistant that translates English to Yoruba.",
            },
            {"role": "user", "content": "Translate: I love you"},
        ],
        {"temperature": 0.7, "max_tokens": 50},
        lambda text: text == TRANSLATIONS["I love you"]["Yoruba"],
    ),
    (
        "What is the capital of France?",
        [{"role": "user", "content": "What is the capital of France?"}],
        {"temperature": 0.7, "max_tokens": 100},
        lambda text: "Paris" in text,
    ),
    (
        "Say this is a test!",
        [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Say this is a test!"},
        ],
        {"temperature": 1.0},
        lambda text: text == "This is a test!",
    ),
)


def score_examples(engine: Engine) -> None:
    """Each documented example with many seeds at its documented temperature."""
    print("\n| Example | Temperature | Right |\n| --- | --- | --- |")
    for title, messages, options, is_right in EXAMPLES:
        texts = [reply_text(engine.chat(messages, seed=seed, **options)) for seed in range(SEEDS)]
        right = sum(is_right(text) for text in texts)
        print(f"| {title} | {options['temperature']} | {right} of {SEEDS} |")
        for text, times in Counter(text for text in texts if not is_right(text)).items():
            print(f"  wrong {times} x: {text!r}")


def held_out_samples() -> list[Sample]:
    """Conversations in phrasings that training never drew; long texts are left out."""
    source = Source(random.Random(HELD_OUT_SEED), "held_out")
    samples: list[Sample] = []
    while len(samples) < HELD_OUT_SAMPLES:
        sample = make_sample(source)
        if sample.kind not in ("long", "forced json"):
            samples.append(sample)
    return samples


def is_exact(reply: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether the reply is the wanted turn: the same text, the same calls with equal arguments."""
    message = reply["choices"][0]["message"]
    calls = [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls") or []
    ]
    wanted_calls = [
        (call["function"]["name"], call["function"]["arguments"])
        for call in wanted.get("tool_calls", [])
    ]
    return calls == wanted_calls and (message.get("content") or "") == wanted["content"]


def as_sent(message: dict[str, Any]) -> dict[str, Any]:
    """The message in the form clients send, where call arguments are a JSON string."""
    calls = [
        {
            **call,
            "function": {
                **call["function"],
                "arguments": json.dumps(call["function"]["arguments"]),
            },
        }
        for call in message.get("tool_calls", [])
    ]
    return {**message, "tool_calls": calls} if calls else message


def score_held_out(engine: Engine, temperature: float, show_wrong: bool) -> None:
    """Exact answers to held-out conversations, by kind."""
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for sample in held_out_samples():
        *context, wanted = sample.messages
        options: dict[str, Any] = {"tools": sample.tools} if sample.tools else {}
        reply = engine.chat(
            [as_sent(m) for m in context],
            temperature=temperature,
            seed=1,
            max_tokens=600,
            **options,
        )
        asked[sample.kind] += 1
        right[sample.kind] += is_exact(reply, wanted)
        if show_wrong and not is_exact(reply, wanted):
            message = reply["choices"][0]["message"]
            print(f"  wrong: {context[-1]['content']!r}\n    wanted {wanted}\n    got {message}")
    print(f"\n| Held out, temperature {temperature} | Exact |\n| --- | --- |")
    for kind in sorted(asked):
        print(f"| {kind} | {right[kind]} of {asked[kind]} |")
    print(f"| **all** | **{right.total()} of {asked.total()}** |")


def score_long(engine: Engine) -> None:
    """How many words the long answers run to."""
    print("\n| Long answer | Words | Tokens | Ended by itself |\n| --- | --- | --- | --- |")
    for prompt in (
        "Tell me a long story",
        "Explain how Bandari works in detail.",
        "Write an essay about a harbour.",
        "Count from 1 to 100",
    ):
        reply = engine.chat(
            [{"role": "user", "content": prompt}], temperature=0.7, seed=1, max_tokens=1500
        )
        ended = "yes" if reply["choices"][0]["finish_reason"] == "stop" else "no"
        words = len(reply_text(reply).split())
        print(f"| {prompt} | {words} | {reply['usage']['completion_tokens']} | {ended} |")


def compare_tokenizers(engine: Engine, path: Path) -> None:
    """Whether the engine cuts text into the same tokens as the tokenizer used in training."""
    tokenizer = load_tokenizer(path)
    source = Source(random.Random(HELD_OUT_SEED), "held_out")
    texts = [
        *ODD_TEXTS,
        *(render(make_sample(source)) for _ in range(TOKENIZER_TEXTS - len(ODD_TEXTS))),
    ]
    unlike = [text for text in texts if engine.tokens(text) != tokenizer.encode(text).ids]
    print(f"\nThe tokenizers agree on {len(texts) - len(unlike)} of {len(texts)} texts.")
    for text in unlike:
        print(f"  unlike: {text!r}")


def evaluate(model: Path, tokenizer: Path, show_wrong: bool = False) -> None:
    """Print every table for a model."""
    with Engine(model) as engine:
        compare_tokenizers(engine, tokenizer)
        score_examples(engine)
        for temperature in (0.0, 0.7, 1.0):
            score_held_out(engine, temperature, show_wrong)
        score_long(engine)
        features.check(engine)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--show-wrong", action="store_true")
    arguments = parser.parse_args()
    evaluate(arguments.model, arguments.tokenizer, arguments.show_wrong)
