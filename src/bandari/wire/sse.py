"""Server-sent events (WHATWG HTML, section 9.2): bytes to events, and events to bytes.

Rule 1: no I/O; the decoder is fed whatever chunks the network gave, cut anywhere.
Rule 2: this file knows framing only; what the data means is the protocol codec's business.
"""

from __future__ import annotations

from msgspec import Struct

from bandari.domain.faults import UpstreamMalformed

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""The largest event that is read, all its lines together; a larger one is malformed."""

_BOM = b"\xef\xbb\xbf"
_DATA = b"data: "


class SseEvent(Struct, frozen=True, gc=False):
    """One dispatched event. ``name`` is empty for the default type, ``message``."""

    data: bytes
    name: str = ""
    id: str | None = None


class SseDecoder:
    """Collects bytes into events. LF, CR LF and CR all end lines; comments are skipped."""

    __slots__ = (
        "_at_start",
        "_buffer",
        "_data",
        "_head",
        "_id",
        "_last_name",
        "_name",
        "_size",
        "_skip_newline",
    )

    def __init__(self) -> None:
        self._buffer = b""
        self._at_start = True
        self._skip_newline = False
        self._data: list[bytes] = []
        self._size = 0
        self._name = ""
        self._last_name = ""
        self._head = _DATA
        """How an event with the last one's name begins, where its data comes next."""
        self._id: str | None = None

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """The events that are complete now. Raises ``UpstreamMalformed`` beyond the size limit."""
        head = self._head
        if self._size == 0 and not self._buffer and _is_one_event(chunk, head):
            self._at_start = self._skip_newline = False
            return [SseEvent(chunk[len(head) : -2], self._last_name, self._id)]
        if self._skip_newline and chunk:
            self._skip_newline = False
            if chunk[:1] == b"\n":
                chunk = chunk[1:]
        buffer = self._buffer + chunk if self._buffer else chunk
        if self._at_start:
            if len(buffer) < len(_BOM) and _BOM.startswith(buffer):
                self._buffer = buffer
                return []
            self._at_start = False
            buffer = buffer.removeprefix(_BOM)
        if b"\r" in buffer:
            # A CR at the very end ends its line now; an LF that follows is the same end.
            self._skip_newline = buffer.endswith(b"\r")
            buffer = buffer.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = buffer.split(b"\n")
        self._buffer = lines.pop()
        events: list[SseEvent] = []
        for line in lines:
            if line:
                self._size += len(line) + 1  # whole lines: even empty data takes memory
                self._check_size(self._size)
                self._line(line)
                continue
            if self._data:
                if self._name != self._last_name:
                    self._expect(self._name)
                events.append(SseEvent(b"\n".join(self._data), self._name, self._id))
                self._data = []
            self._size = 0
            self._name = ""
        if self._buffer:
            self._check_size(self._size + len(self._buffer) + 1)
        return events

    def _expect(self, name: str) -> None:
        self._last_name = name
        self._head = b"event: %b\n%b" % (name.encode(), _DATA) if name else _DATA

    def _check_size(self, size: int) -> None:
        if size > MAX_EVENT_BYTES:
            raise UpstreamMalformed(f"An event of the stream exceeds {MAX_EVENT_BYTES} bytes.")

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif field == b"data":
            self._data.append(b"")


def _is_one_event(chunk: bytes, head: bytes) -> bool:
    """Whether it is just what most servers send at a time: a head, one line of data, and its end.

    Most events of a stream have the same head.
    """
    return (
        chunk.startswith(head)
        and chunk.endswith(b"\n\n")
        and chunk.find(b"\n", len(head)) == len(chunk) - 2
        and b"\r" not in chunk
        and len(chunk) < MAX_EVENT_BYTES
    )


def data_frame(data: bytes) -> bytes:
    """An event that has data only. ``data`` holds no line break, as JSON never needs one."""
    return b"data: " + data + b"\n\n"


def comment_frame(text: bytes = b"ping") -> bytes:
    """A comment: keeps a connection alive and is seen by no reader."""
    return b": " + text + b"\n\n"
