"""Cuts a transcript in every way that a network may."""

from __future__ import annotations

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
