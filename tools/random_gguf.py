"""Writes a GGUF file of about half a billion random weights: a benchmark model of realistic size.

    python tools/random_gguf.py OUT.gguf

It speaks noise at the speed and memory of a real model. Tokenizer and chat template are copied from
the model that ships inside the package. Needs only numpy and gguf.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType

TINY = Path(__file__).parent.parent / "src/bandari/adapters/engine/models/bandari-tiny.gguf"
SEED = 1
LAYERS, WIDTH, FEED_FORWARD, CONTEXT = 24, 1280, 4352, 32_768
HEADS, KEY_HEADS, HEAD_WIDTH = 20, 4, 64
BLOCK = 32
SPREAD = 0.02


def random_q8(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A random matrix in Q8_0: for each 32 weights, a half-precision scale and 32 signed bytes."""
    blocks = np.empty((rows, columns // BLOCK), dtype=[("scale", "<f2"), ("weights", "i1", BLOCK)])
    blocks["scale"] = SPREAD / (127 / 3**0.5)
    blocks["weights"] = rng.integers(-127, 128, blocks["weights"].shape, dtype=np.int8)
    return blocks.view(np.uint8).reshape(rows, -1)


def copy_tokenizer(writer: GGUFWriter, path: Path) -> int:
    """Copy the tokenizer and the chat template, and return the size of the vocabulary."""
    fields = GGUFReader(path).fields
    for key, field in fields.items():
        if not key.startswith("tokenizer."):
            continue
        value = field.contents()
        if field.types[0] is GGUFValueType.ARRAY:
            writer.add_array(key, value)
        else:
            writer.add_key_value(key, value, field.types[0])
    return len(fields["tokenizer.ggml.tokens"].data)


def write(target: Path) -> None:
    """Write the model."""
    rng = np.random.default_rng(SEED)
    writer = GGUFWriter(target, "llama")
    writer.add_name("Random half billion")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_rope_freq_base(1_000_000.0)
    vocabulary = copy_tokenizer(writer, TINY)
    writer.add_vocab_size(vocabulary)
    keys = KEY_HEADS * HEAD_WIDTH
    matrices = {
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (keys, WIDTH),
        "attn_v": (keys, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_gate": (FEED_FORWARD, WIDTH),
        "ffn_up": (FEED_FORWARD, WIDTH),
        "ffn_down": (WIDTH, FEED_FORWARD),
    }
    ones = np.ones(WIDTH, dtype=np.float32)
    q8 = GGMLQuantizationType.Q8_0
    weights = vocabulary * WIDTH
    writer.add_tensor("token_embd.weight", random_q8(rng, vocabulary, WIDTH), raw_dtype=q8)
    writer.add_tensor("output_norm.weight", ones)
    for layer in range(LAYERS):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", ones)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", ones)
        for name, (rows, columns) in matrices.items():
            writer.add_tensor(
                f"blk.{layer}.{name}.weight", random_q8(rng, rows, columns), raw_dtype=q8
            )
            weights += rows * columns
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"wrote {target}: {weights:,} weights, {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    write(parser.parse_args().target)
