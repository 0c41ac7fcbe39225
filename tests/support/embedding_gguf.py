"""Writes the GGUF file of a small BERT with random weights: an embedding model for tests.

It means nothing, and is computed like a real one: WordPiece, one sentence's mean, a unit vector.
The same seed gives the same file.
"""

from __future__ import annotations

from pathlib import Path
from string import ascii_lowercase, digits, punctuation

import numpy as np
from gguf import GGUFWriter, PoolingType, TokenType

WIDTH = 32
"""Numbers in a vector."""

CONTEXT = 600
"""Tokens in an input, with those that the model adds; more than llama.cpp computes at once unless
it is told to.
"""

ADDED = 2
"""Tokens that the model puts around every input."""

_LAYERS, _HEADS, _FEED_FORWARD = 2, 4, 64
_SEED = 7
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_WORDS = ("hello", "world", "the", "port", "ship", "habari", "nairobi")


def write(target: Path, *, pooling: PoolingType | None = PoolingType.MEAN) -> Path:
    """Write the model. Without ``pooling`` the file does not say how one vector is made."""
    writer = GGUFWriter(target, "bert")
    writer.add_name("Random BERT")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    vocabulary = _add_tokenizer(writer)
    _add_weights(writer, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def _add_tokenizer(writer: GGUFWriter) -> int:
    """Every letter, digit and sign is a token, at the start of a word and inside it."""
    letters = ascii_lowercase + digits + punctuation
    tokens = [*_SPECIAL, *(f"▁{word}" for word in (*_WORDS, *letters)), *letters]
    normal, control = TokenType.NORMAL, TokenType.CONTROL
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in _SPECIAL else normal for token in tokens])
    writer.add_token_type_count(2)
    writer.add_pad_token_id(0)
    writer.add_unk_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_sep_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_mask_token_id(4)
    return len(tokens)


def _add_weights(writer: GGUFWriter, vocabulary: int) -> None:
    rng = np.random.default_rng(_SEED)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", rng.normal(0, 0.3, shape).astype(np.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, dtype=np.float32))
        writer.add_tensor(f"{name}.bias", np.zeros(WIDTH, dtype=np.float32))

    def add_linear(name: str, rows: int, columns: int) -> None:
        add(name, rows, columns)
        writer.add_tensor(f"{name}.bias", np.zeros(rows, dtype=np.float32))

    add("token_embd", vocabulary, WIDTH)
    add("token_types", 2, WIDTH)
    add("position_embd", CONTEXT, WIDTH)
    add_norm("token_embd_norm")
    for layer in range(_LAYERS):
        block = f"blk.{layer}"
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add_linear(f"{block}.{part}", WIDTH, WIDTH)
        add_norm(f"{block}.attn_output_norm")
        add_linear(f"{block}.ffn_up", _FEED_FORWARD, WIDTH)
        add_linear(f"{block}.ffn_down", WIDTH, _FEED_FORWARD)
        add_norm(f"{block}.layer_output_norm")
