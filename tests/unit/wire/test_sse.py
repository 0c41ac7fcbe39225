"""Server-sent events after the WHATWG's rules, wherever the network cuts them."""

from __future__ import annotations

from itertools import pairwise, product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.feeding import TRANSCRIPTS, cuts, sse_events, sse_events_cut_anyhow

from bandari.domain.faults import UpstreamMalformed
from bandari.wire import sse
from bandari.wire.sse import SseDecoder, SseEvent, comment_frame, data_frame

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", [SseEvent(b"a"), SseEvent(b"b")], id="lf"),
        pytest.param(
            b"data: a\r\n\r\ndata: b\r\n\r\n", [SseEvent(b"a"), SseEvent(b"b")], id="crlf"
        ),
        pytest.param(b"data: a\r\rdata: b\r\r", [SseEvent(b"a"), SseEvent(b"b")], id="cr"),
        pytest.param(
            b"data: a\r\ndata: b\rdata: c\n\r\n\r\ndata: d\n\n",
            [SseEvent(b"a\nb\nc"), SseEvent(b"d")],
            id="all line ends in one stream",
        ),
        pytest.param(b"data: a\n\r\ndata: b\r\n\n", [SseEvent(b"a"), SseEvent(b"b")], id="mixed"),
        pytest.param(b": ping\n\ndata: a\n:x\ndata: b\n\n", [SseEvent(b"a\nb")], id="comments"),
        pytest.param(b":\n\n: \r\n\r\n", [], id="comments alone"),
        pytest.param(
            b"data: a\ndata:\ndata: b\n\n", [SseEvent(b"a\n\nb")], id="many lines of data"
        ),
        pytest.param(BOM + b"data: a\n\n", [SseEvent(b"a")], id="byte order mark"),
        pytest.param(
            b"data: a\n\n" + BOM + b"data: b\n\n", [SseEvent(b"a")], id="a mark later is no mark"
        ),
        pytest.param(BOM + BOM + b"data: a\n\n", [], id="the second mark belongs to the field"),
        pytest.param(b"\xef\xbbdata: a\n\ndata: b\n\n", [SseEvent(b"b")], id="half a mark is none"),
        pytest.param(b"data:a\n\ndata:  b\n\n", [SseEvent(b"a"), SseEvent(b" b")], id="one space"),
        pytest.param(b"data:\n\n", [SseEvent(b"")], id="empty data"),
        pytest.param(b"data\n\n", [SseEvent(b"")], id="data without a colon"),
        pytest.param(b"data\ndata\n\n", [SseEvent(b"\n")], id="twice"),
        pytest.param(b"datax: a\n\n data: a\n\nDATA: a\n\n", [], id="not quite data"),
        pytest.param(b"data: a: b\n\n", [SseEvent(b"a: b")], id="a colon inside"),
        pytest.param(b"event: error\ndata: a\n\n", [SseEvent(b"a", "error")], id="name"),
        pytest.param(
            b"data: a\nevent:x\nevent: y\n\ndata: b\n\n",
            [SseEvent(b"a", "y"), SseEvent(b"b")],
            id="the last name counts, for one event",
        ),
        pytest.param(b"event: x\n\ndata: a\n\n", [SseEvent(b"a")], id="a name without data"),
        pytest.param(
            b"id: 7\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            [SseEvent(b"a", id="7"), SseEvent(b"b", id="7"), SseEvent(b"c", id="")],
            id="an id stays until the next",
        ),
        pytest.param(b"id: a\0b\ndata: a\n\n", [SseEvent(b"a")], id="an id with NUL is ignored"),
        pytest.param(b"retry: 10\nfoo: bar\nfoo\ndata: a\n\n", [SseEvent(b"a")], id="other fields"),
        pytest.param(b"data: a\n\ndata: b\n", [SseEvent(b"a")], id="no blank line, no event"),
        pytest.param(b"data: a\n\ndata: b", [SseEvent(b"a")], id="cut inside a line"),
        pytest.param(b"event: \xff\ndata: \xff\n\n", [SseEvent(b"\xff", "\ufffd")], id="not UTF-8"),
        pytest.param("data: 🌍é\n\n".encode(), [SseEvent("🌍é".encode())], id="UTF-8"),
        pytest.param(b"\n\n\r\n\r\r", [], id="blank lines"),
        pytest.param(b"", [], id="nothing"),
    ],
)
def test_a_stream_is_read_the_same_however_it_is_cut(stream: bytes, events: list[SseEvent]) -> None:
    assert sse_events_cut_anyhow(stream) == events


@pytest.mark.parametrize("path", sorted(TRANSCRIPTS.rglob("*.sse")), ids=lambda path: path.name)
def test_every_transcript_is_read_the_same_however_it_is_cut(path: Path) -> None:
    assert sse_events_cut_anyhow(path.read_bytes())


lines = st.sampled_from(
    [b"data: a", b"data:", b"data", b": c", b"event: e", b"id: 1", b"", b"x", BOM + b"data: z"]
)
ends = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(lines, ends), max_size=12))
def test_no_cut_changes_any_stream(written: list[tuple[bytes, bytes]]) -> None:
    sse_events_cut_anyhow(b"".join(line + end for line, end in written))


BLOCKS = [
    b"event: e\ndata: a\n\n",
    b"event: e\ndata: b\n\n",
    b"event: f\ndata: a\n\n",
    b"event: \xff\ndata: a\n\n",
    "event: \ufffd\ndata: a\n\n".encode(),
    b"event:  e\ndata: a\n\n",
    b"event:e\ndata: a\n\n",
    b"event: \ndata: a\n\n",
    b"event: e\ndata: \n\n",
    b"event: e\ndata: a\ndata: b\n\n",
    b"event: e\ndata: a\n",
    b"event: e\ndata: a\r\n\n",
    b"event: e\ndata: a\rdata: b\n\n",
    b"event: e\r\ndata: a\r\n\r\n",
    b"event: e\n\n",
    b"event: e\nid: 7\ndata: a\n\n",
    b"data: a\nevent: e\n\n",
    b"data: a\n\n",
    b"data: a\n",
    b": ping\n\n",
    b"\n",
    BOM + b"event: e\ndata: a\n\n",
]


def byte_by_byte(stream: bytes) -> list[SseEvent]:
    return sse_events([bytes([byte]) for byte in stream])


def test_events_that_come_one_at_a_time_are_read_as_in_any_other_piece() -> None:
    for first, second in product(BLOCKS, BLOCKS):
        pieces = [first, second, second, first]
        assert sse_events(pieces) == byte_by_byte(b"".join(pieces))


@given(st.lists(st.sampled_from(BLOCKS), max_size=8), st.sets(st.integers(0, 120), max_size=3))
def test_so_they_are_where_some_are_cut(written: list[bytes], cut_at: set[int]) -> None:
    stream = b"".join(written)
    borders = {len(b"".join(written[:number])) for number in range(len(written))}
    places = sorted({place for place in cut_at | borders if place < len(stream)} | {0})
    pieces = [stream[at:to] for at, to in pairwise([*places, len(stream)])]
    assert sse_events(pieces) == byte_by_byte(stream)


@given(st.lists(st.binary().filter(lambda data: not {10, 13} & set(data))), st.data())
def test_what_is_written_is_read_back(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(comment_frame() + data_frame(payload) for payload in payloads)
    cut = data.draw(st.integers(0, len(stream)))
    assert sse_events([stream[:cut], stream[cut:]]) == [SseEvent(each) for each in payloads]


def test_frames_byte_for_byte() -> None:
    assert data_frame(b"{}") == b"data: {}\n\n"
    assert comment_frame() == b": ping\n\n"
    assert comment_frame(b"") == b": \n\n"


LIMIT = 40


@pytest.fixture
def _small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", LIMIT)


@pytest.mark.usefixtures("_small_limit")
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(b"data: " + b"x" * (LIMIT - 7), id="one line"),
        pytest.param(b"data: aaaaaa\n" * 3, id="many lines"),
        pytest.param(b"data\n" * (LIMIT // 5), id="many empty lines"),
        pytest.param(b":" + b"c" * (LIMIT - 2), id="a comment"),
        pytest.param(b"event: e\n" + b"data: " + b"x" * (LIMIT - 16), id="the name counts too"),
    ],
)
def test_an_event_of_the_largest_size_is_read_and_a_larger_one_is_malformed(event: bytes) -> None:
    fits = event.removesuffix(b"\n") + b"\n\n"
    for pieces in cuts(fits + fits):
        sse_events(pieces)
    larger = event + (b"data: aa\n\n" if event.endswith(b"\n") else b"x\n\n")
    for pieces in cuts(larger):
        with pytest.raises(UpstreamMalformed, match=f"exceeds {LIMIT} bytes"):
            sse_events(pieces)
    with pytest.raises(UpstreamMalformed, match=f"exceeds {LIMIT} bytes"):
        sse_events([fits, larger])


@pytest.mark.usefixtures("_small_limit")
def test_a_line_without_end_is_malformed_before_it_ends() -> None:
    decoder = SseDecoder()
    for _ in range(LIMIT - 1):
        assert decoder.feed(b"x") == []
    with pytest.raises(UpstreamMalformed):
        decoder.feed(b"x")


@pytest.mark.usefixtures("_small_limit")
def test_many_small_events_are_no_large_one() -> None:
    assert len(sse_events([b"data: aaaa\n\n" * 100])) == 100
    assert sse_events([b": ping\n\n" * 100]) == []


def test_the_limit_admits_images_in_base64() -> None:
    assert sse.MAX_EVENT_BYTES == 16 * 1024 * 1024
