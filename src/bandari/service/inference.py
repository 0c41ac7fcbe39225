"""From an admitted request to a running generation: the use case everything else serves.

``Inference`` is the parent that owns every generation and sees each of them to its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from bandari.domain import bounds
from bandari.domain.catalogue import Endpoint, check_serves, ordered
from bandari.domain.chat import ChatRequest
from bandari.domain.estimate import Basis
from bandari.domain.faults import StoreUnavailable
from bandari.domain.keys import Principal
from bandari.domain.ledger import Ending, RunningCount
from bandari.domain.outcome import Deny
from bandari.service.books import Books, HoldRequest
from bandari.service.estimates import Estimates
from bandari.service.generation import Generation, Keeper, Surroundings
from bandari.service.identifiers import time_ordered_id
from bandari.service.limiting import Limiter
from bandari.service.models import Models, with_defaults
from bandari.service.open_requests import OpenRequest, OpenRequests
from bandari.service.ports import Clock, FrameEncoder, Metrics, Upstream
from bandari.service.recording import Recording

LAST_SETTLEMENTS_S = 10.0
"""How long the charges of answers that were cut at the end of draining may take."""
SETTLE_AGAIN_S = 0.25


class Settings(Struct, frozen=True):
    """Bounds of the use case."""

    max_open: int = 2000
    max_recording_bytes: int = 32 * 1024 * 1024


class Opening(Struct, frozen=True):
    """What is fixed when the hold is: the answer's identity, for the encoder of its frames.

    ``id`` is unique; a protocol puts its own prefix before it. ``input_tokens`` is the prompt's
    size by estimate.
    """

    id: str
    created_s: int
    model: str
    input_tokens: int


EncoderFactory = Callable[[Opening], FrameEncoder]


class Inference:
    """Starts generations. ``random_bytes`` gives as many random bytes as it is asked for.

    ``open_requests`` may be shared with other use cases: then there is one limit for all, and
    ``drain`` drains all. Without it, ``settings.max_open`` is for this one alone. Without a
    ``limiter`` nobody is limited.
    """

    def __init__(
        self,
        *,
        models: Models,
        books: Books,
        upstreams: Mapping[str, Upstream],
        clock: Clock,
        metrics: Metrics,
        estimates: Estimates,
        epoch: int,
        random_bytes: Callable[[int], bytes],
        settings: Settings,
        open_requests: OpenRequests | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        self._models = models
        self._books = books
        self._around = Surroundings(upstreams, clock, metrics, estimates)
        self._epoch = epoch
        self._random_bytes = random_bytes
        self._settings = settings
        self._running: dict[asyncio.Task[None], Generation] = {}
        self._unsettled: deque[Generation] = deque()
        self._limiter = limiter
        self._open_requests = open_requests or OpenRequests(settings.max_open)

    @property
    def open_count(self) -> int:
        return self._open_requests.count

    @property
    def is_draining(self) -> bool:
        return self._open_requests.is_draining

    def use(self, upstreams: Mapping[str, Upstream]) -> None:
        """From here on it is these that are asked; what has begun goes on with what it had."""
        self._around = replace(self._around, upstreams=upstreams)

    async def begin(
        self,
        principal: Principal,
        request: ChatRequest,
        make_encoder: EncoderFactory,
        keeper: Keeper | None = None,
    ) -> Generation | Deny:
        """Hold money for the answer and start generating it.

        Returns as soon as the hold is durable, and the ``keeper`` has opened. Raises a ``Fault``
        for a request that cannot be served; nothing is held or charged then.
        """
        entered = self._open_requests.enter(principal.group_terms.priority)
        begun: Generation | Deny | None = None
        try:
            begun = await self._begin(principal, request, make_encoder, keeper, entered)
        finally:
            if not isinstance(begun, Generation):
                entered.leave()
        return begun

    async def _begin(
        self,
        principal: Principal,
        request: ChatRequest,
        make_encoder: EncoderFactory,
        keeper: Keeper | None,
        entered: OpenRequest,
    ) -> Generation | Deny:
        around = self._around  # what runs goes on with the upstreams that were there when it began
        model = self._models.find(request.model, principal)
        # Whichever surface it came by: a model that writes is served at all of them.
        check_serves(model, Endpoint.CHAT_COMPLETIONS)
        bounds.check(request, model.bounds)
        request = with_defaults(request, model.defaults)
        targets = model.targets
        if len(targets) > 1:
            targets = ordered(targets, int.from_bytes(self._random_bytes(4), "big") / 2**32)
        now_ms = self._around.clock.now_ms()
        unique = time_ordered_id(now_ms, self._random_bytes)
        ratios = self._around.estimates.ratios(str(targets[0]))
        prompt = Basis(request.input_bytes, request.images, 0, ratios)
        encoder = make_encoder(Opening(unique, now_ms // 1000, model.id, prompt.input_tokens))
        first = around.upstreams[targets[0].provider]
        reservation = await self._books.hold(
            HoldRequest(
                hold_id=f"rcpt_{unique}",
                epoch=self._epoch,
                now_ms=now_ms,
                principal=principal,
                model=model,
                request=request,
            ),
            lambda: first.count_input(request, targets[0].model),
            self._limiter,
        )
        if isinstance(reservation, Deny):
            return reservation
        try:
            if reservation.max_tokens != request.sampling.max_tokens:
                sampling = replace(request.sampling, max_tokens=reservation.max_tokens)
                request = replace(request, sampling=sampling)
            generation = Generation(
                model=model,
                request=request,
                reservation=reservation,
                recording=Recording(f"str_{unique}", self._settings.max_recording_bytes),
                encoder=encoder,
                around=around,
                keeper=keeper,
            )
            if keeper is not None:
                await keeper.open(generation)
        except BaseException:
            self._books.abandon(reservation)
            raise
        entered.when_cut(partial(generation.stop, Ending.SERVER_STOPPED))
        task = generation.start(targets)
        self._running[task] = generation
        task.add_done_callback(partial(self._ended, entered))
        return generation

    def _ended(self, entered: OpenRequest, task: asyncio.Task[None]) -> None:
        generation = self._running.pop(task)
        if not generation.is_settled:
            self._unsettled.append(generation)
        entered.leave()

    async def settle_late(self) -> None:
        """End the holds that could not be ended when they should have. Raises like the ledger."""
        await self._books.end_strays()
        while self._unsettled:
            await self._unsettled[0].settle_late()
            self._unsettled.popleft()

    async def settle_rest(self) -> None:
        """After ``drain``: end what could not be ended yet, if the ledger can be written soon.

        What is left open then is for the next server, by its last durable count.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SETTLEMENTS_S):
                while self._unsettled or self._books.has_strays:
                    with suppress(StoreUnavailable):
                        await self.settle_late()
                        return
                    await asyncio.sleep(SETTLE_AGAIN_S)

    async def write_counts(
        self, write: Callable[[Sequence[RunningCount]], Awaitable[None]]
    ) -> None:
        """Have the counts written that have moved since they were written last."""
        moved = [
            (generation, count)
            for generation in self._running.values()
            if (count := generation.progress()) is not None
        ]
        if moved:
            await write([count for _, count in moved])
            for generation, count in moved:
                generation.count_is_durable(count.count)

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, wait for what runs, and after ``timeout_s`` end it by the rule."""
        await self._open_requests.drain(timeout_s, LAST_SETTLEMENTS_S)
