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
from collections.abc import Callable, Iterable, Sequence

from bandari.domain.faults import Interrupted
from bandari.domain.problem import Problem
from bandari.service.deadline import Deadline

SEGMENT_BYTES = 64 * 1024

Take = Callable[[bytes], bool]
"""Takes whole frames at once, or says that it would have to wait, and takes nothing."""


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
        "_waiting",
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
        self._waiting: list[Reader] = []

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

    def append(self, frames: Sequence[bytes]) -> None:
        """Add frames; readers that wait are given them, or woken."""
        assert not self._ended, "a recording that has ended takes no frames"
        before = self._size
        for frame in frames:
            if self._size + len(frame) > self.max_bytes:
                raise RecordingFull
            self._keep(frame)
        if self._waiting and self._size > before:
            self._pass_on(before, frames[0] if len(frames) == 1 else b"".join(frames))

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
        waiting, self._waiting = self._waiting, []
        for reader in waiting:
            reader.wake()

    def _pass_on(self, before: int, data: bytes) -> None:
        """``data`` is what there is behind the offset ``before``."""
        waiting, self._waiting = self._waiting, []
        for reader in waiting:
            if reader.offset == before and reader.offer(data):
                self._waiting.append(reader)
            else:
                reader.wake()

    def enlist(self, reader: Reader) -> None:
        """It has all that there is, and waits for more."""
        self._waiting.append(reader)

    def strike(self, reader: Reader) -> None:
        """It waits no longer."""
        if reader in self._waiting:
            self._waiting.remove(reader)


class Reader:
    """One client's place in a recording: ``offset`` is that of the next byte. Used by one task."""

    __slots__ = ("_deadline", "_recording", "_take", "_timeout_s", "_waiter", "offset")

    _take: Take | None
    _timeout_s: float

    def __init__(self, recording: Recording, after_frame: int) -> None:
        self._recording = recording
        self._waiter: asyncio.Future[bool] | None = None
        self._deadline: Deadline | None = None
        self.offset = recording.offset_behind(after_frame)

    @property
    def has_more(self) -> bool:
        return self.offset < self._recording.size

    async def read(self) -> bytes:
        """The next whole frames, all that are there; waits for some. Empty at the end only."""
        frames = await self.read_within(None)
        assert frames is not None, "a wait without a limit ends with frames, or with the recording"
        return frames

    async def read_within(self, timeout_s: float | None, take: Take | None = None) -> bytes | None:
        """Like ``read``, but None if nothing comes within ``timeout_s``.

        Frames that come while this waits are given to ``take`` as they are recorded; it returns
        with those that were not taken. So a client that reads costs its task no turn a frame.
        """
        recording = self._recording
        while True:
            data = recording.bytes_from(self.offset)
            if data:
                self.offset += len(data)
                return data
            if recording.ended:
                return b""
            if not await self._wait(timeout_s, take):
                return None

    async def _wait(self, timeout_s: float | None, take: Take | None) -> bool:
        """Whether there is something new: frames or the end. Cancelling is harmless."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        self._take = take
        if timeout_s is not None:
            self._timeout_s = timeout_s
            self._deadline = Deadline(loop, self._give_up)
            self._deadline.set(loop.time() + timeout_s)
        self._recording.enlist(self)
        try:
            return await waiter
        finally:
            self._waiter = None
            self._recording.strike(self)
            if self._deadline is not None:
                self._deadline.end()
                self._deadline = None

    def offer(self, data: bytes) -> bool:
        """Give it the next frames while it waits. False if it has to be woken to take them."""
        if self._take is None:
            return False
        try:
            if not self._take(data):
                return False
        except Exception:  # noqa: BLE001 - a client's trouble is not the recording's: its own task will meet it
            return False
        self.offset += len(data)
        if self._deadline is not None:
            self._deadline.at = asyncio.get_running_loop().time() + self._timeout_s
        return True

    def wake(self, is_new: bool = True) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(is_new)

    def _give_up(self) -> None:
        self.wake(is_new=False)
