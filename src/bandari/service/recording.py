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

from msgspec import Struct

from bandari.domain.faults import Interrupted
from bandari.domain.outcome import Allow
from bandari.domain.problem import Problem
from bandari.service.deadline import Deadline

SEGMENT_BYTES = 64 * 1024

Take = Callable[[bytes], bool]
"""Takes whole frames at once, or says that it would have to wait, and takes nothing."""


class RecordingFull(Interrupted):
    """The answer is larger than this server keeps of one answer, and was broken off."""

    code = "answer_too_large"


class About(Struct, kw_only=True):
    """What is told of an answer beside its frames, as far as it is known by now.

    ``receipt_id`` is None where nothing is charged. ``ignored`` are the request's fields that the
    provider was not given, ``max_tokens`` what the answer was shortened to. ``window_s`` is the
    resume window: None where it goes on to its end, whoever reads. ``age_s`` is how long the answer
    had been in the cache, if it came from there; ``was_cached`` is None where none was wanted.
    ``standing`` tells what is left of the limits, while it is generated.
    """

    surface: str = ""
    is_streaming: bool = True
    receipt_id: str | None = None
    max_tokens: int | None = None
    ignored: tuple[str, ...] = ()
    window_s: int | None = 0
    was_cached: bool | None = None
    age_s: int | None = None
    standing: Callable[[], Allow | None] | None = None


class Space:
    """How many bytes all recordings of a server take, and may take: ``most``.

    ``make_room`` is called where they are more, to let go of what can be spared. What is beyond
    twice the bound is not recorded.
    """

    __slots__ = ("_asked_at", "make_room", "most", "used")

    def __init__(self, most: int) -> None:
        self.most = most
        self.used = 0
        self.make_room: Callable[[], None] | None = None
        self._asked_at = most

    @property
    def is_full(self) -> bool:
        return self.used > self.most

    def take(self, size: int) -> None:
        """Raises ``RecordingFull`` far beyond the bound; then nothing is taken."""
        if self.used + size > 2 * self.most:
            raise RecordingFull
        self.add(size)

    def add(self, size: int) -> None:
        """The same for what is there already, and has to be told however full it is."""
        self.used += size
        if self.used > self._asked_at:
            self._ask()

    def give(self, size: int) -> None:
        self.used -= size
        if self.used <= self.most:
            self._asked_at = self.most

    def _ask(self) -> None:
        """Not for every frame: where nothing can be spared, only when there is a good deal more."""
        if self.make_room is not None:
            self.make_room()
        self._asked_at = max(self.most, self.used + self.most // 64)


class Recording:
    """Frames of one answer. Ends once, with ``finish`` or with ``fail``.

    ``max_bytes`` bounds what is kept; a generation that would exceed it gets ``RecordingFull``.
    ``readers`` counts who reads; ``when_read`` is called before the first of them begins and
    ``when_unread`` when the last of them leaves, and ``when_ended`` when it has ended.
    """

    __slots__ = (
        "_ended",
        "_ends",
        "_segment_starts",
        "_segments",
        "_size",
        "_space",
        "_waiting",
        "about",
        "failed_early",
        "id",
        "max_bytes",
        "problem",
        "readers",
        "when_ended",
        "when_read",
        "when_unread",
    )

    def __init__(
        self,
        recording_id: str,
        max_bytes: int = 32 * 1024 * 1024,
        *,
        about: About | None = None,
        space: Space | None = None,
    ) -> None:
        self.id = recording_id
        self.about = about or About()
        self.problem: Problem | None = None
        self.failed_early = False
        self.max_bytes = max_bytes
        self.readers = 0
        self.when_read: Callable[[], None] | None = None
        self.when_unread: Callable[[], None] | None = None
        self.when_ended: Callable[[], None] | None = None
        self._space = space
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
            if self._space is not None:
                self._space.take(len(frame))
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

    def let_go(self) -> None:
        """Nobody can come back for it: what it takes is counted no longer."""
        if self._space is not None:
            self._space.give(self._size)
            self._space = None

    def reader(self, after_frame: int = -1) -> Reader:
        """A reader that begins behind the frame of that 0-based index. ``close`` it at the end."""
        reader = Reader(self, after_frame)
        if not self.readers and self.when_read is not None:
            self.when_read()
        self.readers += 1
        return reader

    def left_by(self, reader: Reader) -> None:
        """For the reader: it reads no longer."""
        self.strike(reader)
        self.readers -= 1
        if not self.readers and self.when_unread is not None:
            self.when_unread()

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
        before = self._size
        for frame in frames:
            self._keep(frame)
        if self._space is not None:
            self._space.add(self._size - before)
        self._ended = True
        waiting, self._waiting = self._waiting, []
        for reader in waiting:
            reader.wake()
        if self.when_ended is not None:
            self.when_ended()

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
    """One client's place in a recording: ``offset`` is that of the next byte. Used by one task.

    ``close`` may be called by anybody, any number of times; to its task the recording is over then.
    """

    __slots__ = (
        "_deadline",
        "_is_closed",
        "_recording",
        "_take",
        "_timeout_s",
        "_waiter",
        "offset",
    )

    _take: Take | None
    _timeout_s: float

    def __init__(self, recording: Recording, after_frame: int) -> None:
        self._recording = recording
        self._waiter: asyncio.Future[bool] | None = None
        self._deadline: Deadline | None = None
        self._is_closed = False
        self.offset = recording.offset_behind(after_frame)

    @property
    def has_more(self) -> bool:
        return self.offset < self._recording.size

    def close(self) -> None:
        """Read no longer."""
        if not self._is_closed:
            self._is_closed = True
            self._recording.left_by(self)
            self.wake()

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
        while not self._is_closed:
            data = recording.bytes_from(self.offset)
            if data:
                self.offset += len(data)
                return data
            if recording.ended:
                return b""
            if not await self._wait(timeout_s, take):
                return None
        return b""

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
