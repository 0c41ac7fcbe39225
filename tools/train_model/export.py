"""Writes a trained checkpoint as one GGUF file with its tokenizer and chat template.

    python -m tools.train_model.export build/tiny bandari-tiny.gguf

Matrices are stored in eight bits (Q8_0), norms in full. The network already uses the order of
rotary pairs that llama.cpp expects, so no weight is rearranged.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType, TokenType
from gguf.quants import quantize
from tools.train_model.dataset import CHAT_TEMPLATE
from tools.train_model.network import Shape
from tools.train_model.tokenizer import END_OF_TEXT, SPECIAL_TOKENS, TURN_END, load_tokenizer

LARGEST_FILE = 8_000_000
OUTER_NAMES = {"embedding.weight": "token_embd.weight", "norm.weight": "output_norm.weight"}
LAYER_NAMES = {
    "attention_norm": "attn_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.output": "attn_output",
    "feed_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def tensor_name(name: str) -> str:
    """The name llama.cpp knows a weight by."""
    if name in OUTER_NAMES:
        return OUTER_NAMES[name]
    _, layer, rest = name.split(".", 2)
    return f"blk.{layer}.{LAYER_NAMES[rest.removesuffix('.weight')]}.weight"


def add_shape(writer: GGUFWriter, shape: Shape) -> None:
    """The sizes of the network."""
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(shape.norm_epsilon)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_vocab_size(shape.vocabulary)


def add_tokenizer(writer: GGUFWriter, path: Path) -> None:
    """The vocabulary, the merges, the special tokens and the chat template."""
    numbers = load_tokenizer(path).get_vocab()
    vocabulary = sorted(numbers.items(), key=lambda item: item[1])
    merges = json.loads(path.read_text(encoding="utf-8"))["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types(
        [
            TokenType.CONTROL if token in SPECIAL_TOKENS else TokenType.NORMAL
            for token, _ in vocabulary
        ]
    )
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(numbers[END_OF_TEXT])
    writer.add_eos_token_id(numbers[TURN_END])
    writer.add_eot_token_id(numbers[TURN_END])
    writer.add_pad_token_id(numbers[END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def export(folder: Path, target: Path) -> None:
    """Write the checkpoint in the folder to the target file."""
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    writer = GGUFWriter(target, "llama")
    writer.add_name("Bandari Tiny")
    writer.add_description("Demonstration model trained from scratch by tools/train_model")
    writer.add_license("apache-2.0")
    writer.add_file_type(LlamaFileType.MOSTLY_Q8_0)
    add_shape(writer, Shape(**checkpoint["shape"]))
    add_tokenizer(writer, folder / "tokenizer.json")
    for name, weight in checkpoint["weights"].items():
        values = weight.numpy().astype(np.float32)
        if values.ndim == 2:
            writer.add_tensor(
                tensor_name(name),
                quantize(values, GGMLQuantizationType.Q8_0),
                raw_dtype=GGMLQuantizationType.Q8_0,
            )
        else:
            writer.add_tensor(tensor_name(name), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    size = target.stat().st_size
    if size > LARGEST_FILE:
        raise SystemExit(f"{target} has {size:,} bytes, more than the {LARGEST_FILE:,} allowed")
    print(f"wrote {target}, {size:,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    export(arguments.folder, arguments.target)
