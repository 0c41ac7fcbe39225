"""The tokenizer: byte-level BPE in the GPT-2 manner, trained on the samples.

All 256 bytes are in the vocabulary, so any text can be tokenized. No merge joins two digits, so a
number is read and written digit by digit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 2048
END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = [END_OF_TEXT, TURN_START, TURN_END]


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Learn the merges from the texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The digit rule shapes the merges only: with no merge across digits, the plain GPT-2 rule that
    # llama.cpp applies gives the same tokens.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a tokenizer saved by an earlier run."""
    return Tokenizer.from_file(str(path))
