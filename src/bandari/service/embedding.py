"""From an admitted request for embeddings to its vectors: the use case.

Money is set aside for the prompt, the targets are asked in order, and what was computed is charged
exactly before anybody gets it. Nothing is streamed and nothing is generated, so there is nothing in
between: an answer is whole and charged, or it is free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from bandari.domain.catalogue import Endpoint, Model, Target, check_serves, ordered
from bandari.domain.embeddings import Embeddings, EmbeddingsRequest, check_fits
from bandari.domain.estimate import Basis
from bandari.domain.faults import (
    Fault,
    Interrupted,
    ModelNotFound,
    OwnFault,
    UnsupportedField,
    UpstreamFault,
)
from bandari.domain.keys import Principal
from bandari.domain.ledger import Count, Ending
from bandari.domain.outcome import Allow, Deny
from bandari.domain.usage import CountRule, Usage
from bandari.service.books import Books
from bandari.service.estimates import Estimates
from bandari.service.identifiers import time_ordered_id
from bandari.service.input_hold import InputHold, hold_input
from bandari.service.limiting import Limiter
from bandari.service.models import Models
from bandari.service.open_requests import OpenRequest, OpenRequests
from bandari.service.ports import Clock, EmbeddingUpstream, HoldAlreadyEnded, Ledger, Metrics
from bandari.service.reservation import Reservation

_log = logging.getLogger(__name__)


class Embedded(Struct, frozen=True):
    """The vectors, and what was charged for them."""

    answer: Embeddings
    usage: Usage


class _Surroundings(Struct, frozen=True):
    """What every run works with."""

    books: Books
    upstreams: Mapping[str, EmbeddingUpstream]
    clock: Clock
    metrics: Metrics
    estimates: Estimates


class EmbeddingRun:
    """One request from its hold to its end, in a task of its own, which outlives its client.

    ``target`` and ``ignored`` are known once a target has answered.
    """

    __slots__ = (
        "_around",
        "_fault",
        "_has_client",
        "_is_cancellable",
        "_is_stopped",
        "_request",
        "_reservation",
        "_result",
        "_task",
        "ignored",
        "model",
        "target",
    )

    _task: asyncio.Task[None]

    def __init__(
        self,
        model: Model,
        request: EmbeddingsRequest,
        reservation: Reservation,
        around: _Surroundings,
    ) -> None:
        self.model = model
        self.target: Target | None = None
        self.ignored: tuple[str, ...] = ()
        self._request = request
        self._reservation = reservation
        self._around = around
        self._has_client = True
        self._is_stopped = False
        self._is_cancellable = False
        self._result: Embedded | None = None
        self._fault: Fault | None = None

    @property
    def receipt_id(self) -> str:
        return self._reservation.hold_id

    @property
    def standing(self) -> Allow | None:
        """What is left of the limits at this moment, if there are any."""
        return self._reservation.standing

    def start(self, targets: Sequence[Target]) -> asyncio.Task[None]:
        """Begin asking. The task ends when the hold has; it never fails."""
        self._around.metrics.generation_started(self.model.label)
        self._task = asyncio.create_task(self._run(targets))
        return self._task

    async def result(self) -> Embedded:
        """Wait for the end: what was charged for, or the ``Fault`` that made it free, raised."""
        await asyncio.shield(self._task)
        if self._fault is not None:
            raise self._fault
        assert self._result is not None, "a run ends with vectors or with a fault"
        return self._result

    def client_left(self) -> None:
        """Nobody waits any more. No other target is asked; what is being computed is charged."""
        self._has_client = False

    def stop(self) -> None:
        """The server can wait no longer: what is not computed yet is given up, and free."""
        self._is_stopped = True
        if self._is_cancellable:
            self._task.cancel()

    async def _run(self, targets: Sequence[Target]) -> None:
        answer = await self._outcome(targets)
        ending, usage = Ending.UPSTREAM_FAILED, Usage()
        if answer is None:
            if isinstance(self._fault, OwnFault):
                ending = Ending.SERVER_STOPPED if self._has_client else Ending.CLIENT_LEFT
            await self._void()
        else:
            count = await self._count(answer)
            usage = count.usage
            ending = Ending.COMPLETED if self._has_client else Ending.CLIENT_LEFT
            await self._charge(answer, count, ending)
        self._around.metrics.generation_ended(self.model.label, ending, usage)

    async def _outcome(self, targets: Sequence[Target]) -> Embeddings | None:
        """The vectors, or else a fault. Only in here may ``stop`` cancel: the rest must go on."""
        try:
            if self._is_stopped:
                raise Interrupted
            self._is_cancellable = True
            return await self._embed(targets)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            self._fault = Interrupted()
        except Fault as fault:
            self._fault = fault
        except Exception:  # noqa: BLE001 - a defect of ours must still end the hold, and be seen
            _log.exception("embedding failed", extra={"receipt": self.receipt_id})
            self._fault = OwnFault()
        finally:
            self._is_cancellable = False
        return None

    async def _embed(self, targets: Sequence[Target]) -> Embeddings:
        last = len(targets) - 1
        for position, target in enumerate(targets):
            if not self._has_client:
                raise Interrupted
            upstream = self._around.upstreams[target.provider]
            try:
                answer = await upstream.embed(self._request, target.model)
            except UpstreamFault as fault:
                self._around.metrics.upstream_failed(target.provider, fault.code)
                _log.warning(
                    "upstream failed",
                    extra={
                        "receipt": self.receipt_id,
                        "target": str(target),
                        "code": fault.code,
                        "detail": repr(fault.__cause__ or fault),
                    },
                )
                if position == last:
                    raise
            else:
                self.target = target
                self.ignored = upstream.ignored(self._request)
                return answer
        raise AssertionError("a model has at least one target")

    async def _count(self, answer: Embeddings) -> Count:
        """What was reported, else what was given or can be counted, else an estimate."""
        request, target = self._request, self.target
        assert target is not None
        ratios = self._around.estimates.ratios(str(target))
        basis = Basis(input_bytes=request.input_bytes, ratios=ratios)
        if answer.usage is not None:
            return Count(answer.usage, CountRule.REPORTED, basis)
        counted = request.given_tokens
        if counted is None:
            counted = self._reservation.exact_input
        if counted is None:
            counted = await self._counted_by_upstream(target)
        if counted is None:
            return Count(Usage(input_tokens=basis.input_tokens), CountRule.ESTIMATED, basis)
        return Count(Usage(input_tokens=counted), CountRule.COUNTED, basis)

    async def _counted_by_upstream(self, target: Target) -> int | None:
        upstream = self._around.upstreams[target.provider]
        try:
            return await upstream.count_input(self._request, target.model)
        except Exception:  # noqa: BLE001 - a defect of ours: it is estimated then
            _log.exception("counting failed", extra={"receipt": self.receipt_id})
            return None

    async def _charge(self, answer: Embeddings, count: Count, ending: Ending) -> None:
        """Nothing is acknowledged before it is paid. What cannot be charged is free."""
        around = self._around
        target = str(self.target)
        try:
            receipt = await self._reservation.post(
                count,
                ending,
                target=target,
                ended_ms=around.clock.now_ms(),
                finish_reason=None,
                reasoning_effort=None,
            )
        except OwnFault as fault:
            around.books.abandon(self._reservation)
            self._fault = fault
            return
        except Exception:  # noqa: BLE001 - the hold stays, to be ended late
            _log.exception("settling failed", extra={"receipt": self.receipt_id})
            around.books.abandon(self._reservation)
            self._fault = OwnFault()
            return
        if receipt.overrun:
            around.metrics.overrun(receipt.asset, receipt.overrun)
        around.estimates.learn(target, count)
        self._result = Embedded(answer, count.usage)

    async def _void(self) -> None:
        try:
            await self._reservation.void()
        except HoldAlreadyEnded:
            return
        except OwnFault:
            self._around.books.abandon(self._reservation)
        except Exception:  # noqa: BLE001 - the hold stays, to be ended late
            _log.exception("settling failed", extra={"receipt": self.receipt_id})
            self._around.books.abandon(self._reservation)


class Embedding:
    """Starts runs. ``random_bytes`` gives as many random bytes as it is asked for.

    Without a ``limiter`` nobody is limited.
    """

    def __init__(
        self,
        *,
        models: Models,
        books: Books,
        ledger: Ledger,
        upstreams: Mapping[str, EmbeddingUpstream],
        clock: Clock,
        metrics: Metrics,
        estimates: Estimates,
        epoch: int,
        random_bytes: Callable[[int], bytes],
        open_requests: OpenRequests,
        limiter: Limiter | None = None,
    ) -> None:
        self._models = models
        self._books = books
        self._ledger = ledger
        self._around = _Surroundings(books, upstreams, clock, metrics, estimates)
        self._epoch = epoch
        self._random_bytes = random_bytes
        self._open_requests = open_requests
        self._limiter = limiter

    def use(self, upstreams: Mapping[str, EmbeddingUpstream]) -> None:
        """From here on it is these that are asked; what has begun goes on with what it had."""
        self._around = structs.replace(self._around, upstreams=upstreams)

    async def begin(self, principal: Principal, request: EmbeddingsRequest) -> EmbeddingRun | Deny:
        """Hold money for the prompt and start asking.

        Returns as soon as the hold is durable. Raises a ``Fault`` for a request that cannot be
        served; nothing is held or charged then.
        """
        entered = self._open_requests.enter(principal.group_terms.priority)
        begun: EmbeddingRun | Deny | None = None
        try:
            begun = await self._begin(principal, request, entered)
        finally:
            if not isinstance(begun, EmbeddingRun):
                entered.leave()
        return begun

    async def _begin(
        self, principal: Principal, request: EmbeddingsRequest, entered: OpenRequest
    ) -> EmbeddingRun | Deny:
        around = self._around  # what runs goes on with the upstreams that were there when it began
        model = self._models.find(request.model, principal)
        check_serves(model, Endpoint.EMBEDDINGS)
        if request.dimensions is not None and not model.takes_dimensions:
            raise UnsupportedField(
                f"'dimensions' is not supported by the model '{model.id}': its vectors have one "
                "length.",
                param="dimensions",
            )
        check_fits(request, model.context_window)
        targets = self._targets(model)
        now_ms = self._around.clock.now_ms()
        first = around.upstreams[targets[0].provider]
        reservation = await hold_input(
            self._books,
            self._ledger,
            InputHold(
                hold_id=f"rcpt_{time_ordered_id(now_ms, self._random_bytes)}",
                epoch=self._epoch,
                now_ms=now_ms,
                principal=principal,
                model=model,
                tokens=request.most_tokens(model.context_window),
            ),
            lambda: first.count_input(request, targets[0].model),
            self._limiter,
        )
        if isinstance(reservation, Deny):
            return reservation
        run = EmbeddingRun(model, request, reservation, around)
        entered.when_cut(run.stop)
        run.start(targets).add_done_callback(lambda _: entered.leave())
        return run

    def _targets(self, model: Model) -> Sequence[Target]:
        """In the order of trying. Where any model id is open, not every provider has vectors."""
        able = [each for each in model.targets if each.provider in self._around.upstreams]
        if not able:
            raise ModelNotFound(
                f"The model '{model.id}' belongs to a provider that makes no embeddings.",
                param="model",
            )
        return ordered(able, int.from_bytes(self._random_bytes(4), "big") / 2**32)
