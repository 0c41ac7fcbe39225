"""The end of an answer: its hold, what is kept of it, and its last frames, in that order.

Nothing is acknowledged before it is paid: a good end leaves only when the charge is durable. Every
hold ends exactly once, posted or voided; one that cannot be ended is left for ``settle_late``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from bandari.domain import problem
from bandari.domain.catalogue import Model
from bandari.domain.faults import Fault, OwnFault
from bandari.domain.ledger import Ending
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.service.cache_use import CacheUser
from bandari.service.estimates import Estimates
from bandari.service.ports import Clock, HoldAlreadyEnded, Metrics, Upstream
from bandari.service.recording import Recording
from bandari.service.transcript import CACHE_TARGET, NOTHING_GENERATED, Transcript

WANTED_AWAY = (Ending.CLIENT_LEFT, Ending.CANCELLED)
"""Endings that are the client's doing."""

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


class Kept(Protocol):
    """An answer to who keeps it: being generated, or repeated from the cache."""

    @property
    def recording(self) -> Recording: ...

    @property
    def receipt_id(self) -> str: ...

    @property
    def is_settled(self) -> bool: ...

    @property
    def is_free(self) -> bool: ...

    def stop(self, ending: Ending) -> None: ...


class Keeper(Protocol):
    """Keeps an answer for those who come back for it when its recording is gone."""

    async def open(self, generation: Kept) -> None:
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


async def keep(keeper: Keeper, end: AnswerEnd, receipt_id: str) -> None:
    """Have the answer kept, whatever becomes of that."""
    try:
        await keeper.keep(end)
    except Exception:  # noqa: BLE001 - whoever reads must come to an end; what was charged is paid
        _log.exception("an answer could not be kept", extra={"receipt": receipt_id})


class Settlement:
    """Of one answer. ``is_free`` (it was voided: there is no receipt) is known from the end on.

    ``is_settled`` is false after the end where the ledger could not be written.
    """

    __slots__ = ("_around", "_keeper", "_model", "_transcript", "is_free", "is_settled")

    def __init__(
        self, model: Model, transcript: Transcript, around: Surroundings, keeper: Keeper | None
    ) -> None:
        self._model = model
        self._transcript = transcript
        self._around = around
        self._keeper = keeper
        self.is_free = False
        self.is_settled = False

    @property
    def _receipt_id(self) -> str:
        return self._transcript.reservation.hold_id

    async def settle(self, ending: Ending, fault: Fault | None) -> None:
        """End the hold, have the answer kept, end the recording: nothing is acknowledged before it
        is paid.

        The last frames are spelled before anything is charged for them: a defect there costs
        nobody.
        """
        transcript = self._transcript
        usage = transcript.count(ending).usage
        last_frames: Sequence[bytes] = ()
        try:
            if fault is None:
                last_frames = transcript.encoder.close(usage, transcript.cut)
        except Exception:  # noqa: BLE001 - a defect of ours must still end the hold, and be seen
            _log.exception("an answer could not be spelled", extra={"receipt": self._receipt_id})
            ending, fault = Ending.SERVER_STOPPED, OwnFault()
        what = None if fault is None else problem.of_fault(fault)
        is_free = what is not None and self._is_free(ending)
        if what is not None and not is_free:
            last_frames = self._spelled_problem(what)  # they are charged for, and kept with that
        try:
            await self._end_hold(ending, last_frames, what, is_free=is_free)
        except Exception as error:  # noqa: BLE001 - the hold stays, to be settled late
            failure = error if isinstance(error, OwnFault) else OwnFault()
            if failure is not error:
                _log.exception("settling failed", extra={"receipt": self._receipt_id})
            if what is None or is_free:
                is_free, what = True, problem.of_fault(failure)
        if what is not None and is_free:
            last_frames = self._spelled_problem(what)
        generated = usage if transcript.repeated_tokens is None else NOTHING_GENERATED.usage
        self._around.metrics.generation_ended(self._model.label, ending, generated)
        if transcript.cache is not None:
            is_whole = what is None and ending is Ending.COMPLETED
            self._land(transcript.cache, usage, is_whole=is_whole)
        if self._keeper is not None:
            await keep(self._keeper, AnswerEnd(ending, last_frames, what), self._receipt_id)
        if what is None:
            transcript.recording.finish(last_frames)
        else:
            transcript.recording.fail(what, last_frames)

    async def settle_late(self) -> None:
        """End the hold of an answer whose end the ledger could not be told, by the same rule.

        The client was told of a failure: what was not streamed is free. Raises like the ledger.
        """
        try:
            ending = Ending.SERVER_STOPPED
            what = self._transcript.recording.problem  # and its frames are told
            await self._end_hold(ending, (), what, is_free=self._is_free(ending))
        except HoldAlreadyEnded:  # it had been written after all
            self.is_settled = True

    async def _end_hold(
        self,
        ending: Ending,
        last_frames: Sequence[bytes],
        what: Problem | None,
        *,
        is_free: bool,
    ) -> None:
        """End the hold, and the durable recording with it."""
        transcript = self._transcript
        if is_free:
            await transcript.reservation.void()
            transcript.recording.about.receipt_id = None
        else:
            await self._charge(ending, last_frames, what)
        self.is_free = is_free
        self.is_settled = True

    async def _charge(
        self, ending: Ending, last_frames: Sequence[bytes], what: Problem | None
    ) -> None:
        transcript, around = self._transcript, self._around
        count, target = transcript.count(ending), str(transcript.target)
        if transcript.repeated_tokens is not None:
            count, target = NOTHING_GENERATED, CACHE_TARGET
        durable, now_ms = transcript.durable, around.clock.now_ms()
        receipt = await transcript.reservation.post(
            count,
            ending,
            target=target,
            ended_ms=now_ms,
            finish_reason=transcript.finish_reason,
            reasoning_effort=transcript.request.reasoning_effort,
            repeated_tokens=transcript.repeated_tokens,
            recording=None if durable is None else durable.end(last_frames, now_ms, what),
        )
        if receipt.overrun:
            around.metrics.overrun(receipt.asset, receipt.overrun)
        if ending is Ending.COMPLETED and transcript.repeated_tokens is None:
            around.estimates.learn(target, count)

    def _land(self, cache: CacheUser, usage: Usage, *, is_whole: bool) -> None:
        """Have a whole answer kept for requests like it. It has been paid for."""
        transcript = self._transcript
        if is_whole and transcript.cut is None and not transcript.reservation.shortened:
            cache.land(usage, str(transcript.target), transcript.recording.about.ignored)
        else:
            cache.fail()

    def _spelled_problem(self, what: Problem) -> Sequence[bytes]:
        try:
            return self._transcript.encoder.problem(what)
        except Exception:  # noqa: BLE001 - whoever reads must come to an end, with words or without
            _log.exception("a problem could not be told", extra={"receipt": self._receipt_id})
            return ()

    def _is_free(self, ending: Ending) -> bool:
        """Whether an answer that failed costs nothing.

        It does where no token was generated, and where we or the upstream lost an unstreamed
        answer: the client got nothing, and did not cause it.
        """
        transcript = self._transcript
        if not transcript.meter.has_output:
            return True
        return not transcript.request.stream and ending not in WANTED_AWAY
