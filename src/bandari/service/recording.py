"""One recording, many readers: where a generation's frames go, and from where clients read them.

A generation appends frames and never meets a client. Readers follow from any frame on, at their own
pace; none can hold up the generation or another reader. Frames are kept as bytes in a few segments,
with the offset where each frame ends, not as a list of small objects.

Knows no protocol, no network and no money.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_right
from collections.abc import Iterable

from bandari.domain.faults import Interrupted
from bandari.domain.problem import Problem

SEGMENT_BYTES = 64 * 1024


class RecordingFull(Interrupted):
    """The answer is larger than this server keeps of one answer, and was broken off."""

    code = "answer_too_large"


class Recording:
    """Frames of one answer. Ends once, with ``finish`` or with ``fail``.

    ``max_bytes`` bounds what is kept; a generation that would exceed it gets ``RecordingFull``.
    """

    __slots__ = (
        "_ended",
        "_ends",
        "_segment_starts",
        "_segments",
        "_size",
        "_waiters",
        "failed_early",
        "id",
        "max_bytes",
        "problem",
    )

    def __init__(self, recording_id: str, max_bytes: int = 32 * 1024 * 1024) -> None:
        self.id = recording_id
        self.problem: Problem | None = None
        self.failed_early = False
        self.max_bytes = max_bytes
        self._segments: list[bytearray] = []
        self._segment_starts = array("Q")
        self._ends = array("Q")
        self._size = 0
        self._ended = False
        self._waiters: list[asyncio.Future[bool]] = []

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def frame_count(self) -> int:
        return len(self._ends)

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._size

    def append(self, frames: Iterable[bytes]) -> None:
        """Add frames; readers that wait are woken."""
        assert not self._ended, "a recording that has ended takes no frames"
        for frame in frames:
            if self._size + len(frame) > self.max_bytes:
                raise RecordingFull
            self._keep(frame)
        self._wake()

    def finish(self, frames: Iterable[bytes] = ()) -> None:
        """End well, with the last frames."""
        self._end(frames)

    def fail(self, problem: Problem, frames: Iterable[bytes] = ()) -> None:
        """End badly: ``frames`` tell the problem to those who read the stream.

        ``failed_early`` is set when there was no frame before: then a reader that has not begun to
        answer can still say it with a status.
        """
        assert not self._ended, "a recording ends once"
        self.problem = problem
        self.failed_early = not self._ends
        self._end(frames)

    def reader(self, after_frame: int = -1) -> Reader:
        """A reader that begins behind the frame of that 0-based index."""
        return Reader(self, after_frame)

    async def wait(self, timeout_s: float | None = None) -> bool:
        """Return when there is something new: a frame or the end. Cancelling is harmless.

        False if nothing came within ``timeout_s``.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiters.append(waiter)
        timer = None
        if timeout_s is not None:
            # A context with a deadline would cost several times as much, for every event.
            timer = loop.call_later(timeout_s, _resolve, waiter, False)
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def offset_behind(self, frame: int) -> int:
        """The byte offset at which the frame after ``frame`` begins."""
        if not -1 <= frame < len(self._ends):
            raise IndexError(frame)
        return 0 if frame == -1 else self._ends[frame]

    def bytes_from(self, offset: int) -> bytes:
        """All bytes from ``offset`` on that are there by now: whole frames."""
        if offset >= self._size:
            return b""
        first = bisect_right(self._segment_starts, offset) - 1
        start = offset - self._segment_starts[first]
        if first == len(self._segments) - 1:
            return bytes(memoryview(self._segments[first])[start:])
        head = bytes(memoryview(self._segments[first])[start:])
        return b"".join((head, *self._segments[first + 1 :]))

    def _keep(self, frame: bytes) -> None:
        if not self._segments or len(self._segments[-1]) + len(frame) > SEGMENT_BYTES:
            self._segment_starts.append(self._size)
            self._segments.append(bytearray())
        self._segments[-1] += frame
        self._size += len(frame)
        self._ends.append(self._size)

    def _end(self, frames: Iterable[bytes]) -> None:
        assert not self._ended, "a recording ends once"
        for frame in frames:
            self._keep(frame)
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                _resolve(waiter, True)


def _resolve(waiter: asyncio.Future[bool], is_new: bool) -> None:
    if not waiter.done():
        waiter.set_result(is_new)


class Reader:
    """One client's place in a recording."""

    __slots__ = ("_offset", "_recording")

    def __init__(self, recording: Recording, after_frame: int) -> None:
        self._recording = recording
        self._offset = recording.offset_behind(after_frame)

    @property
    def has_more(self) -> bool:
        return self._offset < self._recording.size

    async def read(self) -> bytes:
        """The next whole frames, all that are there; waits for some. Empty at the end only."""
        frames = await self.read_within(None)
        assert frames is not None, "a wait without a limit ends with frames, or with the recording"
        return frames

    async def read_within(self, timeout_s: float | None) -> bytes | None:
        """Like ``read``, but None if nothing comes within ``timeout_s``."""
        while True:
            data = self._recording.bytes_from(self._offset)
            if data:
                self._offset += len(data)
                return data
            if self._recording.ended:
                return b""
            if not await self._recording.wait(timeout_s):
                return None
