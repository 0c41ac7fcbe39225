"""What each answer says, by what its upstream said and by an encoder of its own: frame by frame.

Rule 1: nothing in here asks the service what it has recorded. Of an answer's end it is told what
the books say, and what went wrong; the frames that this gives are spelled here.
Rule 2: an answer has one end, and all who read it read the same one. Where its server has died, or
could not write that end, those who read it from the store later may read another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.simulation.streams.draws import SURFACES, Wish
from tests.simulation.streams.upstreams import Call
from tests.simulation.trace import Violation

from bandari.domain.events import Counted, Event, FinishReason, InputCounted, UsageReported
from bandari.domain.faults import Interrupted
from bandari.domain.keys import Principal
from bandari.domain.ledger import Receipt
from bandari.domain.problem import Problem
from bandari.domain.recordings import PREFIX
from bandari.domain.usage import Usage
from bandari.service.inference import Opening
from bandari.service.ports import FrameEncoder
from bandari.service.recording import RecordingFull

_NOT_REPEATED = (Counted, InputCounted, UsageReported)


@dataclass(slots=True)
class Answer:
    """One answer that was begun, by whatever wish, at whatever server.

    ``frames`` is what has been said by now, ``behind`` how many frames there are behind each batch.
    """

    opening: Opening
    wish: Wish
    principal: Principal
    server: str
    began_at: float
    calls: list[Call] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)
    behind: list[int] = field(default_factory=lambda: [0])
    end: tuple[bytes, ...] | None = None
    """All of it, with its end, as those read it who read it at its server."""
    late_end: tuple[bytes, ...] | None = None
    """The same, as those read it who read it from the store."""
    is_settled: bool = False
    """Whether its hold had ended, as far as its server knew, when its end was read there."""
    is_hit: bool = False
    repeats: Answer | None = None
    deleted_at: float | None = None
    was_read: bool = False
    unread_s: float | None = None
    """For how long nobody had read it when its call was left; less than nothing if somebody did."""
    _encoder: FrameEncoder | None = None

    @property
    def recording_id(self) -> str:
        return PREFIX + self.opening.id

    @property
    def hold_id(self) -> str:
        return f"rcpt_{self.opening.id}"

    @property
    def call(self) -> Call | None:
        """The one that answered, if one did."""
        return self.calls[-1] if self.calls else None

    @property
    def streams(self) -> bool:
        return self.wish.request.stream

    def asks(self, call: Call) -> None:
        """The next call for it."""
        former = self.call
        if former is not None and former.batches:
            raise Violation(f"{self.recording_id} is asked for again after it had begun: {call}")
        self.calls.append(call)

    def said(self, call: Call) -> None:
        """The call's last batch leaves now."""
        if call is not self.call:
            raise Violation(f"{self.recording_id} goes on with {call}, and not with {self.call}")
        if self._encoder is None:
            self._encoder = self._new_encoder()
        self.frames += self._encoder.events(call.batches[-1])
        self.behind.append(len(self.frames))

    def tokens_behind(self, batches: int) -> int:
        return 0 if self.call is None else sum(self.call.tokens[:batches])

    # What readers have.

    def check(self, frames: Sequence[bytes], first: int = 0) -> None:
        """``frames`` are all that a reader has, from the one of index ``first`` on."""
        told, last = tuple(frames), first + len(frames)
        for end in (self.end, self.late_end):
            if end is not None and told == end[first:last]:
                return
        if list(told) != self.frames[first:last]:
            raise Violation(f"{self.recording_id} reads {_brief(told)}, not {_brief(self.frames)}")

    def knows(self, frames: Sequence[bytes]) -> bool:
        """Whether this is an end that was told before."""
        return tuple(frames) in (self.end, self.late_end)

    def over(
        self,
        frames: Sequence[bytes],
        problem: Problem | None,
        usage: Usage | None,
        *,
        is_late: bool,
    ) -> int:
        """``frames`` are all of it, with its end. Returns how many of the batches that is.

        ``usage`` is what was charged. ``is_late``: it is read from the store.
        """
        told = tuple(frames)
        is_interrupted = is_late and problem is not None and problem.code == Interrupted.code
        batches = self._batches_of(told, problem, usage, is_any=is_interrupted)
        self.take_end(frames, is_late=is_late)
        return batches

    def take_end(self, frames: Sequence[bytes], *, is_late: bool) -> None:
        """This is all of it, and right by itself."""
        told = tuple(frames)
        if (self.late_end if is_late else self.end) is not None or (is_late and self.is_settled):
            raise Violation(f"{self.recording_id} has two ends: {self._ends_told()} {_brief(told)}")
        if is_late:
            self.late_end = told
        else:
            self.end = told

    def _ends_told(self) -> str:
        return " and ".join(_brief(end) for end in (self.end, self.late_end) if end is not None)

    def repeats_part(
        self, source: Answer, receipt: Receipt, frames: Sequence[bytes], first: int
    ) -> bool:
        """Whether the frames, from that index on, can be of what repeats that answer."""
        repeated, _ = self._repeated(source, receipt.usage)
        return list(frames) == repeated[first : first + len(frames)]

    def repeats_all(self, source: Answer, receipt: Receipt, frames: Sequence[bytes]) -> bool:
        """``frames`` are all of it. Whether it repeats that answer, which had that receipt."""
        repeated, encoder = self._repeated(source, receipt.usage)
        return [*repeated, *encoder.close(receipt.usage)] == list(frames)

    def without_problem(self, frames: Sequence[bytes], problem: Problem) -> Sequence[bytes]:
        """The frames before those that tell of it, with which they must end."""
        told = list(self._new_encoder().problem(problem))
        rest = len(frames) - len(told)
        if list(frames[rest:]) != told:
            raise Violation(f"{self.recording_id} ends as {_brief(frames)} with {problem}")
        return frames[:rest]

    def _repeated(self, source: Answer, usage: Usage) -> tuple[list[bytes], FrameEncoder]:
        """The frames of what is repeated, after the prompt's size, but its end."""
        encoder = self._new_encoder()
        prompt = InputCounted(usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens)
        repeated = list(encoder.events((prompt,)))
        for batch in () if source.call is None else source.call.batches:
            events: list[Event] = [one for one in batch if not isinstance(one, _NOT_REPEATED)]
            repeated += encoder.events(events)
        return repeated, encoder

    def _batches_of(
        self, told: tuple[bytes, ...], problem: Problem | None, usage: Usage | None, *, is_any: bool
    ) -> int:
        """By how many of the upstream's batches, and which end, this can be explained.

        The last one may have left its upstream in the instant in which it was stopped.
        """
        said = 0 if self.call is None else len(self.call.batches)
        least = 0 if is_any else max(0, said - 1)
        for batches in range(said, least - 1, -1):
            if told in self._ends(batches, problem, usage):
                return batches
        if problem is not None and problem.code == RecordingFull.code:
            # It was broken off in the middle of a batch.
            body = told[: len(told) - len(self._new_encoder().problem(problem))]
            if list(body) == self.frames[: len(body)]:
                return said
        raise Violation(
            f"{self.recording_id} ends as {_brief(told)} with {problem} and {usage}; "
            f"said was {_brief(self.frames)}"
        )

    def _ends(
        self, batches: int, problem: Problem | None, usage: Usage | None
    ) -> Iterator[tuple[bytes, ...]]:
        body = self.frames[: self.behind[batches]]
        if problem is not None:
            yield (*body, *self._fed(batches).problem(problem))
        elif usage is not None:
            for cut in (None, FinishReason.LENGTH):
                yield (*body, *self._fed(batches).close(usage, cut))

    def _fed(self, batches: int) -> FrameEncoder:
        encoder = self._new_encoder()
        for events in () if self.call is None else self.call.batches[:batches]:
            encoder.events(events)
        return encoder

    def _new_encoder(self) -> FrameEncoder:
        return SURFACES[self.wish.scope].encoder(self.wish.request, self.opening)


def are_alike(one: Answer, other: Answer) -> bool:
    """Whether the cache may give one for the other."""
    return (one.wish.body, one.principal.account_id, one.principal.end_user) == (
        *(other.wish.body, other.principal.account_id),
        other.principal.end_user,
    )


def split(data: bytes, *, streams: bool) -> list[bytes]:
    """The frames that a reader was given at once: whole events, or one whole body."""
    if not data:
        return []
    if not streams:
        return [data]
    if not data.endswith(b"\n\n"):
        raise Violation(f"a reader was given half a frame: {data[-80:]!r}")
    return [frame + b"\n\n" for frame in data[:-2].split(b"\n\n")]


def _brief(frames: Sequence[bytes]) -> str:
    last = frames[-1][-160:] if frames else b""
    return f"{len(frames)} frames, last {last!r}"
