"""One answer in the making: from its hold to its end, whatever happens to clients and upstreams.

A generation tries its targets in order, has what they say written down (``transcript``), and has
its hold ended exactly once (``settlement``). It never writes to a client.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from functools import partial

from bandari.domain.catalogue import Model, Target
from bandari.domain.chat import ChatRequest
from bandari.domain.faults import (
    Cancelled,
    Fault,
    Interrupted,
    OwnFault,
    UnsupportedField,
    UpstreamFault,
)
from bandari.domain.ledger import Ending, RunningCount
from bandari.service import fan_out
from bandari.service.recording import Recording, RecordingFull
from bandari.service.settlement import WANTED_AWAY, Keeper, Settlement, Surroundings
from bandari.service.transcript import Transcript

_COUNTED_LATE = (
    Ending.COMPLETED,
    Ending.OUT_OF_BALANCE,
    Ending.LIMIT_REACHED,
    *WANTED_AWAY,
)
"""Endings that leave the time to ask a tokenizer, and an upstream that is likely to answer."""

_log = logging.getLogger(__name__)


class Generation:
    """Readers look at its ``recording``, and at what is told there.

    ``target`` is known from the first event on, ``is_free`` (it was voided: there is no receipt)
    from the end on. ``is_settled`` is false after the end where the ledger could not be written:
    ``settle_late`` makes up for it.
    """

    __slots__ = (
        "_around",
        "_cancellable",
        "_settlement",
        "_stop_ending",
        "_task",
        "_transcript",
        "model",
    )

    def __init__(
        self,
        *,
        model: Model,
        transcript: Transcript,
        around: Surroundings,
        keeper: Keeper | None = None,
    ) -> None:
        self.model = model
        self._transcript = transcript
        self._around = around
        self._settlement = Settlement(model, transcript, around, keeper)
        self._task: asyncio.Task[None] | None = None
        self._cancellable = False
        self._stop_ending: Ending | None = None

    @property
    def request(self) -> ChatRequest:
        return self._transcript.request

    @property
    def recording(self) -> Recording:
        return self._transcript.recording

    @property
    def receipt_id(self) -> str:
        return self._transcript.reservation.hold_id

    @property
    def target(self) -> Target | None:
        return self._transcript.target

    @property
    def is_free(self) -> bool:
        return self._settlement.is_free

    @property
    def is_settled(self) -> bool:
        return self._settlement.is_settled

    def start(self, targets: Sequence[Target]) -> asyncio.Task[None]:
        """Begin generating. The task ends when the hold and the recording have ended."""
        self._around.metrics.generation_started(self.model.label)
        self._task = asyncio.create_task(self._run(targets))
        return self._task

    @property
    def is_awaited(self) -> bool:
        """Whether requests like it wait for its answer."""
        cache = self._transcript.cache
        return cache is not None and cache.is_awaited

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
        """The count so far, if there is one that is not durable yet."""
        return self._transcript.progress()

    def is_durable(self, written: RunningCount) -> None:
        """What ``progress`` told has been written."""
        self._transcript.is_durable(written)

    async def settle_late(self) -> None:
        """End the hold that could not be ended when it should have. Raises like the ledger."""
        await self._settlement.settle_late()

    async def _run(self, targets: Sequence[Target]) -> None:
        ending, fault = await self._outcome(targets)
        if ending in _COUNTED_LATE:
            await self._count_text()
        await self._settlement.settle(ending, fault)

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
        cache = self._transcript.cache
        cached = None if cache is None else await cache.answer()
        if cached is not None:
            self._transcript.repeat(cached)
            return Ending.COMPLETED
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
        transcript, upstream = self._transcript, self._around.upstreams[target.provider]
        began_ns = self._around.clock.monotonic_ns()
        transcript.when_first = partial(
            _answered, self._around, self.model, target, upstream.ignored(self.request), began_ns
        )
        observe = transcript.observe
        async with fan_out.generate(upstream, self.request, target.model, observe) as batches:
            async for events in batches:
                if events and observe(events):
                    continue
                ending = await transcript.end_in_doubt()
                if ending is not None:
                    return ending
        return Ending.COMPLETED

    async def _count_text(self) -> None:
        """Have the text counted whose tokens nobody told, where the target can count it."""
        text = self._transcript.meter.uncounted_text
        if not text or self.target is None:
            return
        upstream, model = self._around.upstreams[self.target.provider], self.target.model
        prompt = self._transcript.meter.input_tokens
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
            self._transcript.meter.know_input(prompt)
        if output is not None:
            self._transcript.meter.know_output(output)


def _answered(
    around: Surroundings,
    model: Model,
    target: Target,
    ignored: tuple[str, ...],
    began_ns: int,
    transcript: Transcript,
) -> None:
    """It has begun to answer. Not told by the generation itself: the two would be a cycle."""
    transcript.begin(
        target,
        ignored,
        around.estimates.ratios(str(target)),
        keeps_text=around.upstreams[target.provider].counts_text,
    )
    seconds = (around.clock.monotonic_ns() - began_ns) / 1e9
    around.metrics.first_token(model.label, seconds)


def _with_cause(fault: Fault) -> str:
    """What the operator needs and the client must not see: which name, which certificate."""
    cause = fault.__cause__
    return fault.message if cause is None else f"{fault.message} ({cause!r})"
