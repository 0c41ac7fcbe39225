"""What a GGUF file says about itself: that it is one, and the numbers that its memory depends on.

Reads the header only. What is wrong beyond magic and version is left to llama.cpp, whose reason is
better than ours: then the numbers are None. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from bandari.adapters.engine.errors import ModelFileMissing, NotAModelFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)

_MAX_KEYS = 65_536
_MAX_ARRAY_KEPT = 4_096  # per-layer numbers are kept, vocabularies are skipped
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}

Value: TypeAlias = int | float | bool | str | list[int | float | bool]


class ModelFacts(Struct, frozen=True):
    """Numbers of one model. ``kv_bytes`` is a lower bound of the cache for so many tokens.

    ``says_pooling``: whether the file says how the vectors of tokens become one.
    """

    file_bytes: int
    architecture: str
    context_length: int  # the context it was trained for
    cache_widths: tuple[int, ...]  # per layer: numbers stored per token (keys and values)
    window: int  # sliding attention window, 0 for none
    says_pooling: bool = False

    def kv_bytes(self, context_window: int) -> int:
        # Which layers slide differs by architecture: count all as sliding, so that no model which
        # fits is refused.
        tokens = min(context_window, self.window) if self.window else context_window
        return 2 * tokens * sum(self.cache_widths)  # f16


def check_magic(path: Path) -> None:
    """Raise ``ModelFileMissing`` or ``NotAModelFile`` unless the file starts as a GGUF does."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError:
        raise ModelFileMissing(
            f"model file {path} does not exist: check the path, or get one with"
            " `bandari model pull`"
        ) from None
    except IsADirectoryError:
        raise NotAModelFile(f"{path} is a directory, not a GGUF model file") from None
    except OSError as error:
        raise ModelFileMissing(f"model file {path} cannot be read: {error.strerror}") from None
    if head[:4] != MAGIC:
        raise NotAModelFile(
            f"{path} is not a GGUF model (it starts with {head[:4]!r}): download it again,"
            " or convert it to GGUF"
        )
    version = int.from_bytes(head[4:8], "little")
    if len(head) < 8 or version not in VERSIONS:
        raise NotAModelFile(
            f"{path} is GGUF version {version}, this engine reads {VERSIONS[0]} to {VERSIONS[-1]}:"
            " get a newer Bandari or another file"
        )


def read_facts(path: Path) -> ModelFacts | None:
    """The numbers of a model file, or None where its metadata cannot be understood."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _facts(_metadata(data), len(data))
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _metadata(data: mmap.mmap) -> dict[str, Value]:
    """Key-values up to the tokenizer's, which writers put last and which are long."""
    (keys,) = struct.unpack_from("<Q", data, 16)
    if keys > _MAX_KEYS:
        raise ValueError("too many keys")
    found: dict[str, Value] = {}
    at = 24
    for _ in range(keys):
        key, at = _string(data, at)
        if key.startswith("tokenizer."):
            break
        (kind,) = struct.unpack_from("<I", data, at)
        value, at = _value(data, at + 4, kind)
        if value is not None:
            found[key] = value
    return found


def _string(data: mmap.mmap, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<Q", data, at)
    end = at + 8 + length
    if end > len(data):
        raise ValueError("string beyond the end")
    return data[at + 8 : end].decode("utf-8", "replace"), end


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[Value | None, int]:
    if kind == _STRING:
        return _string(data, at)
    if kind != _ARRAY:
        code = "<" + _SCALARS[kind]
        return struct.unpack_from(code, data, at)[0], at + struct.calcsize(code)
    inner, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if inner in _SCALARS:
        size = struct.calcsize("<" + _SCALARS[inner])
        kept = None
        if count <= _MAX_ARRAY_KEPT:
            kept = list(struct.unpack_from(f"<{count}{_SCALARS[inner]}", data, at))
        return kept, at + count * size
    if inner != _STRING:
        raise ValueError("nested array")
    for _ in range(count):
        (length,) = struct.unpack_from("<Q", data, at)
        at += 8 + length
    return None, at


def _facts(found: dict[str, Value], file_bytes: int) -> ModelFacts:
    architecture = str(found["general.architecture"])

    def number(name: str, default: int | None = None) -> int:
        value = found.get(f"{architecture}.{name}", default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(name)
        return value

    def per_layer(name: str, layers: int, default: list[int] | None = None) -> list[int]:
        value = found.get(f"{architecture}.{name}", default)
        row = [value] * layers if isinstance(value, int) else value
        if not isinstance(row, list) or len(row) < layers:
            raise ValueError(name)
        return [int(each) for each in row[:layers]]

    layers = number("block_count")
    if layers > _MAX_ARRAY_KEPT:
        raise ValueError("block_count")
    latent = number("attention.kv_lora_rank", 0)
    if latent:  # multi-head latent attention keeps one compressed row per token
        widths = [latent + number("rope.dimension_count", 0)] * layers
    else:
        heads = per_layer("attention.head_count", layers)
        kv_heads = per_layer("attention.head_count_kv", layers, heads)
        head_width = number("embedding_length") // max(1, *heads)
        width = number("attention.key_length", head_width) + number(
            "attention.value_length", head_width
        )
        widths = [each * width for each in kv_heads]
    if found.get(f"{architecture}.attention.causal") is False:
        widths = []  # all tokens at once: nothing is kept for a next one
    return ModelFacts(
        file_bytes=file_bytes,
        architecture=architecture,
        context_length=number("context_length"),
        cache_widths=tuple(widths),
        window=number("attention.sliding_window", 0),
        says_pooling=number("pooling_type", 0) > 0,
    )
