"""Cuts a transcript in every way that a network may, and writes it in every way that SSE allows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from bandari.wire.sse import SseDecoder, SseEvent

TRANSCRIPTS = Path(__file__).parents[2] / "transcripts"


def transcript(protocol: str, name: str) -> bytes:
    return (TRANSCRIPTS / protocol / name).read_bytes()


def cuts(data: bytes) -> Iterator[Sequence[bytes]]:
    """The data whole, one byte at a time, and cut in two at every place."""
    yield [data]
    yield [data[index : index + 1] for index in range(len(data))]
    for index in range(len(data) + 1):
        yield [data[:index], data[index:]]


def sse_events(pieces: Sequence[bytes]) -> list[SseEvent]:
    decoder = SseDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


def sse_events_cut_anyhow(data: bytes) -> list[SseEvent]:
    """The events of ``data``, having made sure that no cut changes them."""
    whole, *others = (sse_events(pieces) for pieces in cuts(data))
    assert all(other == whole for other in others)
    return whole


def dressed(data: bytes) -> Iterator[bytes]:
    """A stream of JSON events in other forms that mean the same to a reader of SSE."""
    data = data.replace(b"\r\n", b"\n")
    lines = data.split(b"\n")
    yield data.replace(b"\n", b"\r\n")
    yield data.replace(b"\n", b"\r")
    yield b"\xef\xbb\xbf" + data
    yield b": hello\n\n" + data.replace(b"\n\n", b"\n\n: ping\n\n")
    yield b"".join(b":\n" + line + b"\n: between: lines\n" if line else b"\n" for line in lines)
    yield b"\n".join(line.replace(b": ", b":", 1) for line in lines)
    yield b"\n".join(_in_several_lines(line) for line in lines)
    yield b"\xef\xbb\xbf:\r\n" + b"\r\n".join(_in_several_lines(line) for line in lines)


def _in_several_lines(line: bytes) -> bytes:
    """A line of data as several: between JSON's tokens a line break means nothing."""
    name, _, value = line.partition(b": ")
    if name != b"data" or value[:1] != b"{":
        return line
    return b"\n".join(
        b"data: " + part.encode() for part in json.dumps(json.loads(value), indent=1).splitlines()
    )
