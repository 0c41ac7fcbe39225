"""From an admitted request to a running generation: the use case everything else serves.

``Inference`` is the parent that owns every generation and sees each of them to its end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from bandari.domain import bounds
from bandari.domain.catalogue import Endpoint, Model, Target, check_serves, ordered
from bandari.domain.chat import ChatRequest
from bandari.domain.estimate import Basis
from bandari.domain.faults import NotCached, Overloaded, StoreUnavailable
from bandari.domain.keys import Principal
from bandari.domain.ledger import Ending, RunningCount
from bandari.domain.outcome import Deny
from bandari.domain.recordings import PREFIX, CacheUse
from bandari.service.answer_terms import PLAIN, AnswerTerms, cache_ttl_s, cache_use
from bandari.service.books import Books, HoldRequest
from bandari.service.cache_use import CachePlace, CacheUser
from bandari.service.caching import Cache, CachedAnswer, cache_key
from bandari.service.durable import DurableFrames
from bandari.service.estimates import Estimates
from bandari.service.generation import Generation
from bandari.service.identifiers import time_ordered_id
from bandari.service.limiting import Limiter
from bandari.service.models import Models, with_defaults
from bandari.service.open_requests import RETRY_AFTER_MS, OpenRequest, OpenRequests
from bandari.service.ports import Clock, FrameEncoder, Metrics, Upstream
from bandari.service.recording import About, Recording, Space
from bandari.service.repeating import Repeated, Repetition, repeat
from bandari.service.settlement import Keeper, Surroundings
from bandari.service.transcript import Transcript

LAST_SETTLEMENTS_S = 10.0
"""How long the charges of answers that were cut at the end of draining may take."""
SETTLE_AGAIN_S = 0.25


class Settings(Struct, frozen=True):
    """Bounds of the use case. ``cache_ttl_s`` is how long an answer is kept in the cache where
    neither key nor model say.
    """

    max_open: int = 2000
    max_recording_bytes: int = 32 * 1024 * 1024
    cache_ttl_s: int = 3600


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


class _Made(NamedTuple):
    """An answer before its hold."""

    encoder: FrameEncoder
    recording: Recording
    durable: DurableFrames | None
    wanted: HoldRequest


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
        space: Space | None = None,
        cache: Cache | None = None,
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
        self._space = space or Space(2**40)
        self._cache = cache or Cache(clock, max_bytes=0, max_answer_bytes=0)
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
        terms: AnswerTerms = PLAIN,
    ) -> Generation | Repeated | Deny:
        """Hold money for the answer and start generating it, or repeat it from the cache.

        Returns as soon as the hold is durable, and the ``keeper`` has opened. Raises a ``Fault``
        for a request that cannot be served, ``IdempotencyKeyTaken``, or ``Overloaded`` where
        recordings take all the room they may; nothing is held or charged then.
        """
        if self._space.is_full:
            raise Overloaded(retry_after_ms=RETRY_AFTER_MS)
        entered = self._open_requests.enter(principal.group_terms.priority)
        begun: Generation | Repeated | Deny | None = None
        try:
            begun = await self._begin(principal, request, make_encoder, keeper, terms, entered)
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
        terms: AnswerTerms,
        entered: OpenRequest,
    ) -> Generation | Repeated | Deny:
        around = self._around  # what runs goes on with the upstreams that were there when it began
        model = self._models.find(request.model, principal)
        # Whichever surface it came by: a model that writes is served at all of them.
        check_serves(model, Endpoint.CHAT_COMPLETIONS)
        bounds.check(request, model.bounds)
        request = with_defaults(request, model.defaults)
        targets = model.targets
        if len(targets) > 1:
            targets = ordered(targets, int.from_bytes(self._random_bytes(4), "big") / 2**32)
        use = cache_use(terms, principal, model)
        place = None if use is CacheUse.OFF else self._cache_place(principal, model, request, use)
        made = self._made(principal, model, request, make_encoder, targets[0], terms)
        if place is not None:
            made.recording.about.was_cached = False
            cached = self._cache.find(place.key) if place.joins else None
            self._around.metrics.cache_asked(model.label, was_hit=cached is not None)
            if cached is not None:
                return await self._repeat(made, cached, keeper)
        if use is CacheUse.ONLY:
            raise NotCached
        first = around.upstreams[targets[0].provider]
        reservation = await self._books.hold(
            made.wanted, lambda: first.count_input(request, targets[0].model), self._limiter
        )
        if isinstance(reservation, Deny):
            return reservation
        try:
            if reservation.max_tokens != request.sampling.max_tokens:
                sampling = replace(request.sampling, max_tokens=reservation.max_tokens)
                request = replace(request, sampling=sampling)
            cache = None
            if place is not None and not reservation.shortened:
                cache = CacheUser(self._cache, place, made.recording.id)
            transcript = Transcript(
                request=request,
                reservation=reservation,
                recording=made.recording,
                encoder=made.encoder,
                durable=made.durable,
                cache=cache,
            )
            generation = Generation(
                model=model, transcript=transcript, around=around, keeper=keeper
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

    def _made(
        self,
        principal: Principal,
        model: Model,
        request: ChatRequest,
        make_encoder: EncoderFactory,
        target: Target,
        terms: AnswerTerms,
    ) -> _Made:
        """What is fixed of an answer before anything is held for it."""
        now_ms = self._around.clock.now_ms()
        unique = time_ordered_id(now_ms, self._random_bytes)
        ratios = self._around.estimates.ratios(str(target))
        prompt = Basis(request.input_bytes, request.images, 0, ratios)
        about = About(surface=terms.surface, is_streaming=request.stream, window_s=terms.window_s)
        most = self._settings.max_recording_bytes
        recording = Recording(PREFIX + unique, most, about=about, space=self._space)
        durable = None if terms.durable is None else DurableFrames(recording, terms.durable)
        return _Made(
            make_encoder(Opening(unique, now_ms // 1000, model.id, prompt.input_tokens)),
            recording,
            durable,
            HoldRequest(
                hold_id=f"rcpt_{unique}",
                epoch=self._epoch,
                now_ms=now_ms,
                principal=principal,
                model=model,
                request=request,
                recording=None if durable is None else durable.opened(principal.account_id, now_ms),
            ),
        )

    def _cache_place(
        self, principal: Principal, model: Model, request: ChatRequest, use: CacheUse
    ) -> CachePlace:
        """Where the answer belongs in the cache."""
        return CachePlace(
            key=cache_key(principal.account_id, principal.end_user, model.id, request),
            account_id=principal.account_id,
            end_user=principal.end_user,
            ttl_ms=cache_ttl_s(principal, model, self._settings.cache_ttl_s) * 1000,
            joins=use is not CacheUse.REFRESH,
        )

    async def _repeat(
        self, made: _Made, cached: CachedAnswer, keeper: Keeper | None
    ) -> Repeated | Deny:
        about = made.recording.about
        about.was_cached = True
        about.age_s = max(0, made.wanted.now_ms - cached.stored_ms) // 1000
        repetition = Repetition(
            cached=cached,
            wanted=made.wanted,
            encoder=made.encoder,
            recording=made.recording,
            durable=made.durable,
            keeper=keeper,
        )
        repeated: Repeated | Deny | None = None
        try:
            repeated = await repeat(repetition, self._books.ledger, self._limiter)
        finally:
            if not isinstance(repeated, Repeated):
                made.recording.let_go()
        return repeated

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
                generation.is_durable(count)

    async def drain(self, timeout_s: float) -> None:
        """Take nothing new, wait for what runs, and after ``timeout_s`` end it by the rule."""
        await self._open_requests.drain(timeout_s, LAST_SETTLEMENTS_S)
