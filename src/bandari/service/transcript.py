"""What has been said of one answer so far: its frames, its counts, and how far it may go.

Events come in; frames go to the recording, counts to the meter. Knows no upstream, no task and no
end: who asks, and what becomes of the hold, are others' (``generation``, ``settlement``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bandari.domain.catalogue import Target
from bandari.domain.chat import ChatRequest
from bandari.domain.estimate import Ratios
from bandari.domain.events import Event, FinishReason, InputCounted, UsageReported
from bandari.domain.ledger import Count, Ending, RunningCount
from bandari.domain.usage import CountRule, Usage
from bandari.service.cache_use import CacheUser
from bandari.service.caching import CachedAnswer
from bandari.service.durable import DurableFrames
from bandari.service.metering import Meter
from bandari.service.ports import FrameEncoder
from bandari.service.recording import Recording, RecordingFull
from bandari.service.reservation import Reservation

EXCESS_TOKENS = 16
"""How far beyond its limit each choice may go (a token that ends it, a batch of several)."""

UNCOUNTED_EXCESS_FACTOR = 4
UNCOUNTED_EXCESS_TOKENS = 1_024
"""How much more than its limit an answer may seem to have where only its deltas are seen."""

CACHE_TARGET: Final = "cache"
"""Where an answer comes from that was made before, as its receipt says it."""

NOTHING_GENERATED: Final = Count(Usage(), CountRule.REPORTED)


class Transcript:
    """``target`` is known from the first event on; ``when_first`` is called before that is counted.

    ``cut`` is why we ended it where the upstream did not. ``repeated_tokens`` is None where it is
    generated, and how many it has where it came from the cache. ``durable`` is given where the
    frames are to be durable, and ``cache`` where the answer may come from there, or go there.
    """

    __slots__ = (
        "_durable_count",
        "_knows_input",
        "cache",
        "cut",
        "durable",
        "encoder",
        "finish_reason",
        "meter",
        "recording",
        "repeated_tokens",
        "request",
        "reservation",
        "target",
        "when_first",
    )

    when_first: Callable[[Transcript], None]

    def __init__(
        self,
        *,
        request: ChatRequest,
        reservation: Reservation,
        recording: Recording,
        encoder: FrameEncoder,
        durable: DurableFrames | None = None,
        cache: CacheUser | None = None,
    ) -> None:
        self.request = request
        self.reservation = reservation
        self.recording = recording
        self.encoder = encoder
        self.durable = durable
        self.cache = cache
        self.meter = Meter(request.input_bytes, request.images)
        if reservation.exact_input is not None:
            self.meter.know_input(reservation.exact_input)
        self.target: Target | None = None
        self.finish_reason: FinishReason | None = None
        self.cut: FinishReason | None = None
        self.repeated_tokens: int | None = None
        self._durable_count: Count | None = None
        self._knows_input = False
        about = recording.about
        about.receipt_id = reservation.hold_id
        about.is_streaming = request.stream
        about.max_tokens = reservation.max_tokens if reservation.shortened else None
        about.standing = lambda: reservation.standing

    def begin(
        self, target: Target, ignored: tuple[str, ...], ratios: Ratios, *, keeps_text: bool
    ) -> None:
        """From here on it is this target's answer, and its tokenizer's tokens."""
        self.target = target
        self.recording.about.ignored = ignored
        self.meter.ratios = ratios
        if keeps_text:
            self.meter.keep_text()

    def observe(self, events: Sequence[Event]) -> bool:
        """Count and record what the upstream says. False where it is in doubt whether that, and
        more of it, may be: then ``end_in_doubt`` is to be asked before there is more.
        """
        meter = self.meter
        if self.target is None:
            self.when_first(self)
        finished = meter.observe(events)
        if meter.output_bytes > self.recording.max_bytes:
            raise RecordingFull
        self.recording.append(self.encoder.events(events))
        if self.cache is not None:
            self.cache.observe(events)
        if finished is not None:
            self.finish_reason = finished
            return True
        if meter.input_tokens is not None and not self._knows_input:
            # The hold has to cover the prompt as it is, as soon as it has been counted.
            self.reservation.know_input(meter.input_tokens)
            self._knows_input = True
        output_tokens = meter.output_tokens
        is_covered = output_tokens < self.reservation.sure_output or _is_report(events)
        return is_covered and not self._runs_away(output_tokens)

    async def end_in_doubt(self) -> Ending | None:
        """How the answer ends here, if it does: at its length, its wallet's or its limits' end."""
        output_tokens = self.meter.output_tokens
        if self._runs_away(output_tokens):
            ending = Ending.COMPLETED
        elif await self.reservation.covers(output_tokens):
            return None
        elif self.reservation.is_limited:
            ending = Ending.LIMIT_REACHED
        else:
            ending = Ending.OUT_OF_BALANCE
        self.cut = self.finish_reason = FinishReason.LENGTH
        return ending

    def repeat(self, cached: CachedAnswer) -> None:
        """All of an answer that was made for another request like it."""
        self.repeated_tokens = cached.usage.total_tokens
        about = self.recording.about
        about.ignored, about.was_cached, about.age_s = cached.ignored, True, 0
        for events in (*told_of(cached), (UsageReported(cached.usage),)):
            self.finish_reason = self.meter.observe(events) or self.finish_reason
            self.recording.append(self.encoder.events(events))

    def progress(self) -> RunningCount | None:
        """The count so far, if there is one that is not durable yet.

        Only of streams that are generated: an unstreamed answer that dies with the server is free,
        and so is one that was repeated.
        """
        is_told = self.request.stream and self.repeated_tokens is None
        if not is_told or not self.meter.has_output:
            return None
        count = self.meter.running()
        if count == self._durable_count:
            return None
        group = None if self.durable is None else self.durable.next_group()
        return RunningCount(self.reservation.hold_id, count, group)

    def is_durable(self, written: RunningCount) -> None:
        """What ``progress`` told has been written."""
        self._durable_count = written.count
        if self.durable is not None and written.frames is not None:
            self.durable.are_written(written.frames)

    def count(self, ending: Ending) -> Count:
        """The tokens, by the best rule that there is for such an end."""
        return self.meter.result(completed=ending is Ending.COMPLETED and self.cut is None)

    def _runs_away(self, output_tokens: int) -> bool:
        """Whether the upstream goes on beyond the limit that it was given.

        Where the tokens are not counted, what looks like too many may be many short ones.
        """
        limit = self.reservation.limit
        if limit is None or output_tokens <= limit:
            return False
        if not self.meter.is_counting:
            limit = limit * UNCOUNTED_EXCESS_FACTOR + UNCOUNTED_EXCESS_TOKENS
        return output_tokens > limit + self.reservation.choices * EXCESS_TOKENS


def told_of(cached: CachedAnswer) -> Sequence[Sequence[Event]]:
    """What is told of an answer that is repeated: the prompt's size is known from the first on."""
    usage = cached.usage
    prompt = InputCounted(usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens)
    return [(prompt,), *cached.events()]


def _is_report(events: Sequence[Event]) -> bool:
    """Whether they only tell the usage: nothing was generated that would have to be covered."""
    return all(isinstance(event, UsageReported) for event in events)
