"""One answer in the making: from its hold to its end, whatever happens to clients and upstreams.

A generation tries its targets in order, folds usage from events, appends frames to its recording,
and ends its hold exactly once: posted or voided. It never writes to a client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from bandari.domain import problem
from bandari.domain.catalogue import Model, Target
from bandari.domain.chat import ChatRequest
from bandari.domain.events import Event, FinishReason, UsageReported
from bandari.domain.faults import (
    Cancelled,
    Fault,
    Interrupted,
    OwnFault,
    UnsupportedField,
    UpstreamFault,
)
from bandari.domain.ledger import Count, Ending, RunningCount
from bandari.domain.outcome import Allow
from bandari.domain.problem import Problem
from bandari.service import fan_out
from bandari.service.estimates import Estimates
from bandari.service.metering import Meter
from bandari.service.ports import Clock, FrameEncoder, HoldAlreadyEnded, Metrics, Upstream
from bandari.service.recording import Recording, RecordingFull
from bandari.service.reservation import Reservation

EXCESS_TOKENS = 16
"""How far beyond its limit each choice may go (a token that ends it, a batch of several)."""

UNCOUNTED_EXCESS_FACTOR = 4
UNCOUNTED_EXCESS_TOKENS = 1_024
"""How much more than its limit an answer may seem to have where only its deltas are seen."""

_WANTED_AWAY = (Ending.CLIENT_LEFT, Ending.CANCELLED)
"""Endings that are the client's doing."""

_COUNTED_LATE = (
    Ending.COMPLETED,
    Ending.OUT_OF_BALANCE,
    Ending.LIMIT_REACHED,
    *_WANTED_AWAY,
)
"""Endings that leave the time to ask a tokenizer, and an upstream that is likely to answer."""

_log = logging.getLogger(__name__)


class Surroundings(Struct, frozen=True):
    """What every generation works with."""

    upstreams: Mapping[str, Upstream]
    clock: Clock
    metrics: Metrics
    estimates: Estimates


class AnswerEnd(Struct, frozen=True):
    """How an answer ended, its frames that have not left yet, and what went wrong, if it did."""

    ending: Ending
    last_frames: Sequence[bytes]
    problem: Problem | None = None


class Keeper(Protocol):
    """Keeps an answer for those who come back for it when its recording is gone."""

    async def open(self, generation: Generation) -> None:
        """The hold is durable, and no upstream has been asked.

        What this raises is what ``Inference.begin`` raises, and nothing is generated or charged.
        """
        ...

    async def keep(self, end: AnswerEnd) -> None:
        """The hold has ended, if it could be; the last frames leave when this returns.

        Called once, and never cancelled. An answer that was charged is paid for, and its client
        gets it whatever becomes of this: what it raises is logged, and nothing else.
        """
        ...


class _Asked(NamedTuple):
    """The target that is being asked, what of the request it is not given, and since when."""

    target: Target
    ignored: tuple[str, ...]
    began_ns: int


class Generation:
    """``run`` is awaited by the parent; readers look at ``recording`` and the plain attributes.

    ``target`` and ``ignored`` are known from the first event on, ``is_free`` (it was voided: there
    is no receipt) from the end on. ``is_settled`` is false after the end where the ledger could not
    be written: ``settle_late`` makes up for it.
    """

    __slots__ = (
        "_around",
        "_asked",
        "_cancellable",
        "_cut",
        "_durable_count",
        "_encoder",
        "_finish_reason",
        "_keeper",
        "_knows_input",
        "_meter",
        "_reservation",
        "_stop_ending",
        "_task",
        "ignored",
        "is_free",
        "is_settled",
        "model",
        "recording",
        "request",
        "target",
    )

    _asked: _Asked

    def __init__(
        self,
        *,
        model: Model,
        request: ChatRequest,
        reservation: Reservation,
        recording: Recording,
        encoder: FrameEncoder,
        around: Surroundings,
        keeper: Keeper | None = None,
    ) -> None:
        self.model = model
        self.request = request
        self.recording = recording
        self.ignored: tuple[str, ...] = ()
        self.target: Target | None = None
        self.is_free = False
        self.is_settled = False
        self._reservation = reservation
        self._encoder = encoder
        self._around = around
        self._keeper = keeper
        self._meter = Meter(request.input_bytes, request.images)
        if reservation.exact_input is not None:
            self._meter.know_input(reservation.exact_input)
        self._durable_count: Count | None = None
        self._finish_reason: FinishReason | None = None
        self._cut: FinishReason | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancellable = False
        self._knows_input = False
        self._stop_ending: Ending | None = None

    @property
    def receipt_id(self) -> str:
        return self._reservation.hold_id

    @property
    def max_tokens(self) -> int | None:
        """The limit that the answer was shortened to, if it was."""
        return self._reservation.max_tokens if self._reservation.shortened else None

    @property
    def standing(self) -> Allow | None:
        """What is left of the limits at this moment, if there are any."""
        return self._reservation.standing

    def start(self, targets: Sequence[Target]) -> asyncio.Task[None]:
        """Begin generating. The task ends when the hold and the recording have ended."""
        self._around.metrics.generation_started(self.model.label)
        self._task = asyncio.create_task(self._run(targets))
        return self._task

    def stop(self, ending: Ending) -> None:
        """End early and charge what was generated. Harmless once the answer is being settled."""
        if not self._is_stopped:
            self._stop_ending = ending
            if self._cancellable and self._task is not None:
                self._task.cancel()

    @property
    def _is_stopped(self) -> bool:
        return self._stop_ending is not None

    def _stopped(self) -> tuple[Ending, Fault]:
        ending = self._stop_ending
        assert ending is not None, "only ``stop`` cancels a generation"
        return ending, Cancelled() if ending is Ending.CANCELLED else Interrupted()

    def progress(self) -> RunningCount | None:
        """The count so far, if there is one that is not durable yet.

        Only of streams: an unstreamed answer that dies with the server is free.
        """
        if not self.request.stream or not self._meter.has_output:
            return None
        count = self._meter.running()
        return None if count == self._durable_count else RunningCount(self.receipt_id, count)

    def count_is_durable(self, count: Count) -> None:
        """What ``progress`` told has been written."""
        self._durable_count = count

    async def _run(self, targets: Sequence[Target]) -> None:
        ending, fault = await self._outcome(targets)
        if ending in _COUNTED_LATE:
            await self._count_text()
        await self._settle(ending, fault)

    async def _outcome(self, targets: Sequence[Target]) -> tuple[Ending, Fault | None]:
        """Generate to whatever end. Only in here may ``stop`` cancel; the rest must run through."""
        if self._is_stopped:
            return self._stopped()
        self._cancellable = True
        try:
            return await self._generate(targets), None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            return self._stopped()
        except RecordingFull as fault:
            return Ending.TOO_LARGE, fault
        except OwnFault as fault:
            return Ending.SERVER_STOPPED, fault
        except Fault as fault:
            return Ending.UPSTREAM_FAILED, fault
        except Exception:  # noqa: BLE001 - a defect of ours must still end the hold, and be seen
            _log.exception("generation failed", extra={"receipt": self.receipt_id})
            return Ending.SERVER_STOPPED, OwnFault()
        finally:
            self._cancellable = False

    async def _generate(self, targets: Sequence[Target]) -> Ending:
        """Try the targets in order; fall back only before the first event."""
        last = len(targets) - 1
        for position, target in enumerate(targets):
            try:
                return await self._ask(target)
            except UnsupportedField:
                # This target's protocol has no words for it; the next one's may have.
                if position == last:
                    raise
            except UpstreamFault as fault:
                self._around.metrics.upstream_failed(target.provider, fault.code)
                _log.warning(
                    "upstream failed",
                    extra={
                        "receipt": self.receipt_id,
                        "target": str(target),
                        "code": fault.code,
                        "detail": _with_cause(fault),
                    },
                )
                if position == last or self.target is not None:
                    raise
        raise AssertionError("a model has at least one target")

    async def _ask(self, target: Target) -> Ending:
        upstream = self._around.upstreams[target.provider]
        began_ns = self._around.clock.monotonic_ns()
        self._asked = _Asked(target, upstream.ignored(self.request), began_ns)
        async with fan_out.generate(upstream, self.request, target.model, self._observe) as batches:
            async for events in batches:
                if events and self._observe(events):
                    continue
                ending = await self._end_in_doubt()
                if ending is not None:
                    self._cut = self._finish_reason = FinishReason.LENGTH
                    return ending
        return Ending.COMPLETED

    def _observe(self, events: Sequence[Event]) -> bool:
        """Count and record what the upstream says. False where it is in doubt whether that, and
        more of it, may be: then ``_end_in_doubt`` is to be asked before there is more.
        """
        meter = self._meter
        if self.target is None:
            self._answered()
        finished = meter.observe(events)
        if meter.output_bytes > self.recording.max_bytes:
            raise RecordingFull
        self.recording.append(self._encoder.events(events))
        if finished is not None:
            self._finish_reason = finished
            return True
        if meter.input_tokens is not None and not self._knows_input:
            # The hold has to cover the prompt as it is, as soon as it has been counted.
            self._reservation.know_input(meter.input_tokens)
            self._knows_input = True
        output_tokens = meter.output_tokens
        is_covered = output_tokens < self._reservation.sure_output or _is_report(events)
        return is_covered and not self._runs_away(output_tokens)

    async def _end_in_doubt(self) -> Ending | None:
        """How the answer ends here, if it does: at its length, its wallet's or its limits' end."""
        output_tokens = self._meter.output_tokens
        if self._runs_away(output_tokens):
            return Ending.COMPLETED
        if await self._reservation.covers(output_tokens):
            return None
        return Ending.LIMIT_REACHED if self._reservation.is_limited else Ending.OUT_OF_BALANCE

    def _answered(self) -> None:
        """From the first event on it is this target's answer, and its tokenizer's tokens."""
        target, ignored, began_ns = self._asked
        self.target = target
        self.ignored = ignored
        self._meter.ratios = self._around.estimates.ratios(str(target))
        if self._around.upstreams[target.provider].counts_text:
            self._meter.keep_text()
        seconds = (self._around.clock.monotonic_ns() - began_ns) / 1e9
        self._around.metrics.first_token(self.model.label, seconds)

    def _runs_away(self, output_tokens: int) -> bool:
        """Whether the upstream goes on beyond the limit that it was given.

        Where the tokens are not counted, what looks like too many may be many short ones.
        """
        limit = self._reservation.limit
        if limit is None or output_tokens <= limit:
            return False
        if not self._meter.is_counting:
            limit = limit * UNCOUNTED_EXCESS_FACTOR + UNCOUNTED_EXCESS_TOKENS
        return output_tokens > limit + self._reservation.choices * EXCESS_TOKENS

    async def _count_text(self) -> None:
        """Have the text counted whose tokens nobody told, where the target can count it."""
        text = self._meter.uncounted_text
        if not text or self.target is None:
            return
        upstream, model = self._around.upstreams[self.target.provider], self.target.model
        prompt = self._meter.input_tokens
        try:
            if prompt is None:
                prompt, output = await asyncio.gather(
                    upstream.count_input(self.request, model), upstream.count_text(text, model)
                )
            else:
                output = await upstream.count_text(text, model)
        except Exception:  # noqa: BLE001 - a defect of ours: it is estimated then
            _log.exception("counting failed", extra={"receipt": self.receipt_id})
            return
        if prompt is not None:
            self._meter.know_input(prompt)
        if output is not None:
            self._meter.know_output(output)

    async def _settle(self, ending: Ending, fault: Fault | None) -> None:
        """End the hold, have the answer kept, end the recording: nothing is acknowledged before it
        is paid.

        The last frames are spelled before anything is charged for them: a defect there costs
        nobody.
        """
        count = self._count(ending)
        last_frames: Sequence[bytes] = ()
        try:
            if fault is None:
                last_frames = self._encoder.close(count.usage, self._cut)
        except Exception:  # noqa: BLE001 - a defect of ours must still end the hold, and be seen
            _log.exception("an answer could not be spelled", extra={"receipt": self.receipt_id})
            ending, fault = Ending.SERVER_STOPPED, OwnFault()
        try:
            await self._end_hold(ending, is_free=fault is not None and self._is_free(ending))
        except OwnFault as error:
            fault = error
        except Exception:  # noqa: BLE001 - the hold stays, to be settled late
            _log.exception("settling failed", extra={"receipt": self.receipt_id})
            fault = OwnFault()
        self._around.metrics.generation_ended(self.model.label, ending, count.usage)
        what = None
        if fault is not None:
            what = problem.of_fault(fault)
            last_frames = self._spelled_problem(what)
        if self._keeper is not None:
            await self._keep(self._keeper, AnswerEnd(ending, last_frames, what))
        if what is None:
            self.recording.finish(last_frames)
        else:
            self.recording.fail(what, last_frames)

    async def _keep(self, keeper: Keeper, end: AnswerEnd) -> None:
        try:
            await keeper.keep(end)
        except Exception:  # noqa: BLE001 - whoever reads must come to an end; what was charged is paid
            _log.exception("an answer could not be kept", extra={"receipt": self.receipt_id})

    async def settle_late(self) -> None:
        """End the hold of an answer whose end the ledger could not be told, by the same rule.

        The client was told of a failure: what was not streamed is free. Raises like the ledger.
        """
        try:
            ending = Ending.SERVER_STOPPED
            await self._end_hold(ending, is_free=self._is_free(ending))
        except HoldAlreadyEnded:  # it had been written after all
            self.is_settled = True

    async def _end_hold(self, ending: Ending, *, is_free: bool) -> None:
        if is_free:
            await self._reservation.void()
        else:
            count = self._count(ending)
            target = str(self.target)
            receipt = await self._reservation.post(
                count,
                ending,
                target=target,
                ended_ms=self._around.clock.now_ms(),
                finish_reason=self._finish_reason,
                reasoning_effort=self.request.reasoning_effort,
            )
            if receipt.overrun:
                self._around.metrics.overrun(receipt.asset, receipt.overrun)
            if ending is Ending.COMPLETED:
                self._around.estimates.learn(target, count)
        self.is_free = is_free
        self.is_settled = True

    def _count(self, ending: Ending) -> Count:
        return self._meter.result(completed=ending is Ending.COMPLETED and self._cut is None)

    def _spelled_problem(self, what: Problem) -> Sequence[bytes]:
        try:
            return self._encoder.problem(what)
        except Exception:  # noqa: BLE001 - whoever reads must come to an end, with words or without
            _log.exception("a problem could not be told", extra={"receipt": self.receipt_id})
            return ()

    def _is_free(self, ending: Ending) -> bool:
        """Whether an answer that failed costs nothing.

        It does where no token was generated, and where we or the upstream lost an unstreamed
        answer: the client got nothing, and did not cause it.
        """
        if not self._meter.has_output:
            return True
        return not self.request.stream and ending not in _WANTED_AWAY


def _with_cause(fault: Fault) -> str:
    """What the operator needs and the client must not see: which name, which certificate."""
    cause = fault.__cause__
    return fault.message if cause is None else f"{fault.message} ({cause!r})"


def _is_report(events: Sequence[Event]) -> bool:
    """Whether they only tell the usage: nothing was generated that would have to be covered."""
    return all(isinstance(event, UsageReported) for event in events)
