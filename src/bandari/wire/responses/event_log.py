"""The events of one Responses stream as frames: named, numbered from 0, one at a time."""

from __future__ import annotations


class EventLog:
    """Gathers frames until they are taken. Every event gets the next number."""

    __slots__ = ("_frames", "_next_number")

    def __init__(self) -> None:
        self._frames: list[bytes] = []
        self._next_number = 0

    def say(self, kind: bytes, fields: bytes) -> None:
        """Add the event of that type. ``fields`` is JSON without its braces and line breaks."""
        self._frames.append(
            b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n'
            % (kind, kind, self._next_number, fields)
        )
        self._next_number += 1

    def say_text(self, place: bytes, text: bytes, logprobs: bytes) -> None:
        """Add a piece of text: most events of most streams, so they have a template."""
        self._frames.append(
            b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
            b'"sequence_number":%d,%b,"delta":%b,"logprobs":%b}\n\n'
            % (self._next_number, place, text, logprobs)
        )
        self._next_number += 1

    def say_data(self, kind: bytes, data: bytes) -> None:
        """Add an event whose data is complete, its number included."""
        self._frames.append(b"event: %b\ndata: %b\n\n" % (kind, data))
        self._next_number += 1

    @property
    def next_number(self) -> int:
        return self._next_number

    def take(self) -> list[bytes]:
        """The frames since the last time."""
        frames, self._frames = self._frames, []
        return frames
