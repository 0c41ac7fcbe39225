from __future__ import annotations

import pytest

from bandari.adapters.engine.log_tail import MAX_LINE_CHARS, LogTail

# As xllamacpp 2026.10.11549 wrote them.
TRUNCATED = b"""\
0.00.004.310 I srv          init: loading model
0.00.004.869 E llama_model_load: error loading model: tensor 'blk.0.ffn_down.weight' data is not \
within the file bounds, model is corrupted or incomplete
0.00.004.898 E llama_model_load_from_file_impl: failed to load model
0.00.005.218 E cmn  common_init_: failed to load model '/tmp/trunc.gguf'
0.00.005.642 E srv          init: exiting due to model loading error
"""
HEAD_CUT = b"""\
0.00.004.149 E gguf_init_from_reader: failed to read key-value pairs
0.00.004.286 E llama_model_load: error loading model: llama_model_loader: failed to load model \
from /tmp/trunchead.gguf
0.00.004.299 E llama_model_load_from_file_impl: failed to load model
"""
DAMAGED = b"""\
0.00.003.801 E llama_model_load: error loading model: llama_model_loader: failed to load model \
from /tmp/dmg.gguf
0.00.003.884 E read: string length 18446744069414584325 exceeds maximum 1073741824
0.00.003.891 E gguf_init_from_reader: failed to read key-value pairs
"""


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            TRUNCATED,
            (
                "tensor 'blk.0.ffn_down.weight' data is not within the file bounds,"
                " model is corrupted or incomplete"
            ),
        ),
        (HEAD_CUT, "failed to read key-value pairs"),
        (DAMAGED, "string length 18446744069414584325 exceeds maximum 1073741824"),
        (b"0.00.004.310 I srv init: loading model\n", None),
        (b"", None),
    ],
)
def test_the_reason_is_the_cause_and_not_its_consequences(log: bytes, reason: str | None) -> None:
    tail = LogTail(200)
    tail.feed(log)
    assert tail.reason() == reason


def test_one_byte_at_a_time_is_the_same() -> None:
    whole, single = LogTail(200), LogTail(200)
    whole.feed(TRUNCATED)
    for at in range(len(TRUNCATED)):
        single.feed(TRUNCATED[at : at + 1])
    assert single.lines == whole.lines
    assert len(whole.lines) == 5


def test_only_the_last_lines_are_kept() -> None:
    tail = LogTail(3)
    tail.feed(b"".join(b"%d\n" % each for each in range(10)))
    assert tail.lines == ("7", "8", "9")


def test_a_line_without_end_takes_bounded_memory() -> None:
    tail = LogTail(3)
    for _ in range(1000):
        tail.feed(b"x" * 65_536)
    assert len(tail._rest) <= 4 * MAX_LINE_CHARS
    tail.feed(b"\nafter\n")
    assert [len(each) for each in tail.lines] == [MAX_LINE_CHARS, 5]


def test_what_comes_after_the_last_newline_counts_at_the_end() -> None:
    tail = LogTail(3)
    tail.feed(b"one\ntwo \xff")
    assert list(tail.lines) == ["one"]
    tail.close()
    assert list(tail.lines) == ["one", "two \N{REPLACEMENT CHARACTER}"]
