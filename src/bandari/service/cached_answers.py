"""Answers that are kept to be given again: written once, as they are generated, and read often.

What is kept is what the upstream said, in as many pieces as it came, and not what it was asked. It
is bytes in a few segments, so that a long answer is read a piece at a time.

Knows no protocol, no network and no money.
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Iterator, Sequence
from types import GenericAlias
from typing import Any, Final, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from bandari.domain.events import Counted, Event, InputCounted, TextDelta, UsageReported
from bandari.domain.usage import Usage

SEGMENT_BYTES: Final = 16 * 1024

ENTRY_BYTES: Final = 750
"""What an answer takes in memory beside its bytes and its names, the places that lead to it too."""

UNWRITABLE: Final = (KeyError, OverflowError, TypeError, ValueError)
"""No event, an integer beyond 64 bits, a text that is none, a lone surrogate."""

_NOT_KEPT: Final = (Counted, InputCounted, UsageReported)
"""What is said of the usage: the answer's own is kept, as it was charged."""

_KEPT: Final[tuple[type[Struct], ...]] = tuple(
    kind for kind in get_args(Event) if kind not in _NOT_KEPT
)


def _shape(code: int, kind: type[Struct]) -> type[Struct]:
    """How an event of that kind is written: its code and all its fields, by position."""
    fields = [(field.name, field.type) for field in msgspec.structs.fields(kind)]
    return msgspec.defstruct(kind.__name__, fields, array_like=True, tag=code, gc=False)


_SHAPES: Final = tuple(_shape(code, kind) for code, kind in enumerate(_KEPT))
_CODES: Final[dict[type, int | None]] = {
    **{kind: code for code, kind in enumerate(_KEPT)},
    **dict.fromkeys(_NOT_KEPT),
}
_KINDS: Final[dict[type, Any]] = dict(zip(_SHAPES, _KEPT, strict=True))
_Item: Any = functools.reduce(operator.or_, _SHAPES, str)
"""An event; a text alone is a ``TextDelta`` of the first choice without log probabilities."""

_encode = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(GenericAlias(list, (GenericAlias(list, (_Item,)),))).decode


class CachedAnswer(Struct, frozen=True, kw_only=True):
    """A complete answer, and whose it is: the recording that it was generated for.

    ``usage`` is what it was charged for, ``target`` who generated it, ``ignored`` the fields that
    was not given. ``size`` is what it takes in memory, in bytes.
    """

    account_id: int
    end_user: str | None
    recording_id: str
    usage: Usage
    target: str
    ignored: tuple[str, ...]
    stored_ms: int
    expires_ms: int
    segments: tuple[bytes, ...]
    size: int

    def events(self) -> Sequence[Sequence[Event]]:
        """What the upstream said, chunk by chunk, without what it said of the usage."""
        return [batch for segment in self.segments for batch in read_segment(segment)]


class AnswerWriter:
    """Takes down what an upstream says. ``size`` is how many bytes that is, a segment at a time."""

    __slots__ = ("_batches", "_buffer", "_segments", "size")

    def __init__(self) -> None:
        self.size = 0
        self._segments: list[bytes] = []
        self._buffer = bytearray()
        self._batches = 0

    def add(self, events: Sequence[Event]) -> None:
        """Take down one chunk. Raises one of ``UNWRITABLE`` for what cannot be written."""
        batch: list[object] = []
        for event in events:
            kind = type(event)
            if kind is TextDelta and not (event.choice or event.logprobs):  # type: ignore[union-attr]
                batch.append(event.text)  # type: ignore[union-attr]
            elif (code := _CODES[kind]) is not None:
                batch.append((code, *astuple(event)))
        if batch:
            buffer = self._buffer
            buffer += _encode(batch)
            self._batches += 1
            if len(buffer) >= SEGMENT_BYTES:
                self._seal()

    def segments(self) -> tuple[bytes, ...]:
        """All that was taken down."""
        if self._batches:
            self._seal()
        return tuple(self._segments)

    def _seal(self) -> None:
        header = b"\xdd" + self._batches.to_bytes(4, "big")  # an array of so many batches
        self._segments.append(header + self._buffer)
        self.size += len(self._segments[-1])
        self._buffer = bytearray()
        self._batches = 0


def read_segment(segment: bytes) -> Iterator[Sequence[Event]]:
    for batch in _decode(segment):
        yield [
            TextDelta(0, item) if type(item) is str else _KINDS[type(item)](*astuple(item))
            for item in batch
        ]


def size_in_memory(segments: Sequence[bytes], *names: str) -> int:
    """What an answer of these segments takes, with the names that are kept beside it, in bytes."""
    pieces = sum(map(sys.getsizeof, segments)) + sum(map(sys.getsizeof, names))
    return ENTRY_BYTES + pieces + 8 * (len(segments) + len(names))
