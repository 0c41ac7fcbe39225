from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest

from bandari.adapters.engine.errors import ModelFileMissing, NotAModelFile
from bandari.adapters.engine.model_file import ModelFacts, check_magic, read_facts

LLAMA: dict[str, object] = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.context_length": 4096,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
}


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + _text(value)
        case [str(), *_] as texts:
            return struct.pack("<IIQ", 9, 8, len(texts)) + b"".join(
                _text(str(each)) for each in texts
            )
        case [*numbers]:
            head = struct.pack("<IIQ", 9, 5, len(numbers))
            return head + struct.pack(f"<{len(numbers)}i", *numbers)
    raise TypeError(value)


def gguf(pairs: Mapping[str, object], version: int = 3) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs))
    return head + b"".join(_text(key) + _value(value) for key, value in pairs.items())


def facts_of(tmp_path: Path, pairs: Mapping[str, object]) -> ModelFacts | None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(pairs))
    return read_facts(path)


def test_facts_of_a_plain_model(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, LLAMA)
    assert facts is not None
    assert facts.file_bytes == (tmp_path / "m.gguf").stat().st_size
    assert (facts.architecture, facts.context_length, facts.window) == ("llama", 4096, 0)
    # 2 key-value heads of 64 / 4 numbers, keys and values
    assert facts.cache_widths == (64, 64)
    assert facts.kv_bytes(100) == 2 * 100 * 128


def test_head_widths_that_are_given_are_believed(tmp_path: Path) -> None:
    given = {"llama.attention.key_length": 100, "llama.attention.value_length": 28}
    facts = facts_of(tmp_path, LLAMA | given)
    assert facts is not None
    assert facts.cache_widths == (256, 256)


def test_heads_may_differ_by_layer_and_be_none(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, LLAMA | {"llama.attention.head_count_kv": [2, 0]})
    assert facts is not None
    assert facts.cache_widths == (64, 0)


def test_a_sliding_window_bounds_the_cache(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, LLAMA | {"llama.attention.sliding_window": 10})
    assert facts is not None
    assert facts.kv_bytes(100) == 2 * 10 * 128
    assert facts.kv_bytes(5) == 2 * 5 * 128


def test_latent_attention_keeps_one_row(tmp_path: Path) -> None:
    latent = {"llama.attention.kv_lora_rank": 32, "llama.rope.dimension_count": 8}
    facts = facts_of(tmp_path, LLAMA | latent)
    assert facts is not None
    assert facts.cache_widths == (40, 40)


def test_other_kinds_of_values_are_stepped_over(tmp_path: Path) -> None:
    before: dict[str, object] = {"a": 1.5, "b": True, "c": ["x", "yy"], "d": [1, 2, 3], "e": "text"}
    facts = facts_of(tmp_path, before | LLAMA)
    size = (tmp_path / "m.gguf").stat().st_size
    assert facts == ModelFacts(size, "llama", 4096, (64, 64), 0)


def test_the_tokenizer_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    data = gguf(LLAMA | {"tokenizer.ggml.model": "gpt2"})
    path.write_bytes(data[:-4])  # it is cut
    assert read_facts(path) is not None


@pytest.mark.parametrize("key", [each for each in LLAMA if not each.endswith("head_count_kv")])
def test_a_missing_number_means_no_facts(tmp_path: Path, key: str) -> None:
    assert facts_of(tmp_path, {k: v for k, v in LLAMA.items() if k != key}) is None


def test_every_cut_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    data = gguf(LLAMA)
    for end in range(len(data)):
        path.write_bytes(data[:end])
        assert read_facts(path) is None


def test_every_flipped_byte_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    data = gguf(LLAMA)
    for at in range(8, len(data)):
        path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
        read_facts(path)  # whatever it says, it does not raise and does not hang


def test_check_magic_accepts_a_model(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf(LLAMA))
    check_magic(path)


def test_a_missing_file_names_the_command_that_gets_one(tmp_path: Path) -> None:
    with pytest.raises(ModelFileMissing, match=r"does not exist.*bandari model pull"):
        check_magic(tmp_path / "none.gguf")


def test_a_directory_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(NotAModelFile, match="is a directory"):
        check_magic(tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a GGUF model"),
        (b"PK\x03\x04 a zip file", "not a GGUF model"),
        (b"GGUF", "version 0"),
        (gguf(LLAMA, version=1), "version 1"),
        (gguf(LLAMA, version=99), "version 99"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(16), "version 50331648"),  # big-endian
    ],
)
def test_what_is_not_gguf_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(data)
    with pytest.raises(NotAModelFile, match=message):
        check_magic(path)


@pytest.mark.parametrize(("pooling", "says"), [(None, False), (0, False), (1, True), (3, True)])
def test_whether_a_file_says_how_vectors_are_pooled(
    tmp_path: Path, pooling: int | None, says: bool
) -> None:
    said = {} if pooling is None else {"llama.pooling_type": pooling}
    facts = facts_of(tmp_path, {**LLAMA, **said})
    assert facts is not None
    assert facts.says_pooling is says


def test_a_model_that_reads_all_tokens_at_once_keeps_no_cache(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, {**LLAMA, "llama.attention.causal": False})
    assert facts is not None
    assert facts.kv_bytes(4096) == 0
    causal = facts_of(tmp_path, {**LLAMA, "llama.attention.causal": True})
    assert causal is not None
    assert causal.kv_bytes(4096) > 0
