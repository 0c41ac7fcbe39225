"""Incarnations of a server, put together as ``bootstrap`` does it, and how they end.

Knows no client: it serves whoever calls ``inference`` while it is serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random

import msgspec
from tests.simulation.disk import Disk
from tests.simulation.process import Process
from tests.simulation.store import Store
from tests.simulation.story import Story
from tests.simulation.trace import Trace
from tests.support.virtual_time import VirtualClock

from bandari.domain.catalogue import Model
from bandari.domain.faults import StoreUnavailable
from bandari.domain.usage import Usage
from bandari.service import upkeep
from bandari.service.books import Books
from bandari.service.estimates import Estimates
from bandari.service.inference import Inference, Settings
from bandari.service.models import Models
from bandari.service.ports import Upstream


class Server:
    """One incarnation. ``is_serving`` from the end of ``boot`` to its death or its drain."""

    def __init__(
        self,
        name: str,
        *,
        disk: Disk,
        models: Sequence[Model],
        upstreams: Mapping[str, Upstream],
        clock: VirtualClock,
        trace: Trace,
        draws: Random,
        settings: Settings,
    ) -> None:
        self.name = name
        self.process = Process(name)
        self.store = Store(disk, name)
        self.is_serving = False
        self.stories: dict[int, Story] = {}
        self._disk = disk
        self._models = models
        self._upstreams = upstreams
        self._clock = clock
        self._trace = trace
        self._draws = draws
        self._settings = settings
        self._metrics = _Metrics(trace)
        self._loops: list[asyncio.Task[None]] = []
        self._epoch = 0

    async def boot(self) -> None:
        """As ``bootstrap._serve`` until it listens. Raises what keeps a server from starting."""
        clock, ledger = self._clock, self.store.ledger
        self._epoch = epoch = await ledger.open_epoch(clock.now_ms())

        await upkeep.settle_dead_holds(ledger, clock)
        metrics = self._metrics
        self.inference = inference = Inference(
            models=await self._pinned(),
            books=Books(ledger),
            upstreams=self._upstreams,
            clock=clock,
            metrics=metrics,
            estimates=Estimates(await ledger.experience()),
            epoch=epoch,
            random_bytes=self._draws.randbytes,
            settings=self._settings,
        )

        self._loops = upkeep.start_loops(inference, ledger, clock, metrics)
        self.is_serving = True
        self._trace.tell("serving", self.name)

    async def drain(self, timeout_s: float) -> None:
        """As ``bootstrap._serve`` after SIGTERM, to the end of its last write.

        It listens until all is answered, and refuses what is new.
        """
        self._trace.tell("drain", self.name)
        await self.inference.drain(timeout_s)
        self.is_serving = False
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        await self.inference.settle_rest()
        if any(own.hold.epoch == self._epoch for own in self._disk.model.holds.values()):
            self._trace.tell("a drain leaves holds to others", self.name)
        with suppress(StoreUnavailable):
            await self.store.ledger.close_epoch(self._epoch, self._clock.now_ms())

    async def crash(self, session_ends_after_s: float) -> None:
        """SIGKILL."""
        self.is_serving = False
        self._trace.tell("crash", self.name)
        self.store.writer.kill()
        loop = asyncio.get_running_loop()
        loop.call_later(session_ends_after_s, self.store.writer.end_session)
        await self._die()

    async def exit(self) -> None:
        """The end after a drain, or of a start that failed: what is queued is still written."""
        self.is_serving = False
        await self.store.writer.aclose()
        self.store.writer.end_session()
        await self._die()

    async def _die(self) -> None:
        self.process.look_after_tasks()
        self.process.alive = False
        for story in self.stories.values():
            story.outcome = "server lost"
            self._trace.tell("server lost", story.name)
        self.stories.clear()
        await self.process.kill()

    async def _pinned(self) -> Models:
        cards = [card for model in self._models for card in model.rate_cards]
        pinned = iter(await self.store.pin(cards))
        return Models(
            [
                msgspec.structs.replace(
                    model, rate_cards=tuple(next(pinned) for _ in model.rate_cards)
                )
                for model in self._models
            ]
        )


class _Metrics:
    """The port ``Metrics``: only what the simulation wants to know of itself."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    def request_ended(self, route: str, status: int, seconds: float) -> None: ...

    def problem_told(self, code: str, blame: str) -> None: ...

    def generation_started(self, model: str) -> None: ...

    def first_token(self, model: str, seconds: float) -> None: ...

    def generation_ended(self, model: str, ending: str, usage: Usage) -> None:
        self._trace.tell(f"generation {ending}", model)

    def overrun(self, asset: str, amount: int) -> None: ...

    def upstream_failed(self, provider: str, code: str) -> None: ...

    def holds_open(self, count: int) -> None: ...

    def cache_asked(self, model: str, *, was_hit: bool) -> None: ...

    def replayed(self) -> None: ...

    def recordings_kept(self, count: int, size_bytes: int) -> None: ...

    def answers_cached(self, count: int, size_bytes: int) -> None: ...

    def guess_refused(self) -> None: ...

    def committed(self, seconds: float, operations: int) -> None: ...

    def render(self) -> bytes:
        return b""
