"""Turns samples into batches: the chat template, the tokens, and which tokens are learned."""

from __future__ import annotations

import functools
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jinja2
import torch
from tokenizers import Tokenizer
from tools.train_model.samples import make_sample
from tools.train_model.source import Sample, Source

CHAT_TEMPLATE = (Path(__file__).parent / "chat_template.jinja").read_text(encoding="utf-8")
ANSWER = re.compile(r"<\|im_start\|>assistant\n(.*?<\|im_end\|>)", re.DOTALL)
LONGEST = 1024
CONTEXT = 8192
POOL = 1024

_environment = jinja2.Environment()
_environment.filters["tojson"] = functools.partial(json.dumps, ensure_ascii=False)
_template = _environment.from_string(CHAT_TEMPLATE)


class Encoded(NamedTuple):
    """One sample as token numbers, positions, and for each token whether it is learned."""

    tokens: list[int]
    positions: list[int]
    learned: list[bool]


class Batch(NamedTuple):
    """Samples of like length side by side, padded at the end."""

    tokens: torch.Tensor
    positions: torch.Tensor
    learned: torch.Tensor


def render(sample: Sample) -> str:
    """The whole conversation as the text the model sees."""
    return _template.render(messages=sample.messages, tools=sample.tools)


def encode(sample: Sample, tokenizer: Tokenizer, rng: random.Random) -> Encoded:
    """Tokenize a sample and mark its answers.

    In a third of the samples the positions jump forward once between two turns. The model so meets
    distances up to the full context without the cost of reading that much text.
    """
    text = render(sample)
    spans = [match.span(1) for match in ANSWER.finditer(text)]
    spans[-1] = (spans[-1][0] + len(sample.given), spans[-1][1])
    encoding = tokenizer.encode(text)
    starts = [start for start, _ in encoding.offsets]
    learned = [any(low <= start < high for low, high in spans) for start in starts]
    jump_at, jump = len(starts), 0
    if rng.random() < 0.33:
        turns = [match.start() for match in re.finditer(r"<\|im_start\|>", text)][1:]
        after = rng.choice(turns)
        jump_at = next(i for i, start in enumerate(starts) if start >= after)
        jump = int((CONTEXT - len(starts)) ** rng.random())
    positions = [i if i < jump_at else i + jump for i in range(len(starts))]
    return Encoded(encoding.ids, positions, learned)


def collate(samples: list[Encoded]) -> Batch:
    """Put samples side by side; padding is never learned and, coming last, never seen."""
    width = max(len(sample.tokens) for sample in samples)
    tokens = torch.zeros(len(samples), width, dtype=torch.long)
    positions = torch.zeros(len(samples), width, dtype=torch.long)
    learned = torch.zeros(len(samples), width, dtype=torch.bool)
    for row, sample in enumerate(samples):
        length = len(sample.tokens)
        tokens[row, :length] = torch.tensor(sample.tokens)
        positions[row, :length] = torch.tensor(sample.positions)
        learned[row, :length] = torch.tensor(sample.learned)
    return Batch(tokens, positions, learned)


def batches(tokenizer: Tokenizer, seed: int, tokens_per_batch: int) -> Iterator[Batch]:
    """Batches without end, each of about the same number of tokens."""
    rng = random.Random(seed)
    source = Source(rng)
    while True:
        pool: list[Encoded] = []
        while len(pool) < POOL:
            sample = encode(make_sample(source), tokenizer, rng)
            if len(sample.tokens) <= LONGEST:
                pool.append(sample)
        pool.sort(key=lambda sample: len(sample.tokens))
        groups: list[list[Encoded]] = [[]]
        for sample in pool:
            if (len(groups[-1]) + 1) * len(sample.tokens) > tokens_per_batch:
                groups.append([])
            groups[-1].append(sample)
        rng.shuffle(groups)
        yield from (collate(group) for group in groups)
