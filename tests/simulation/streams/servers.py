"""Incarnations of a server that records, put together as ``bootstrap`` does it.

Knows no client. How it is drained and how it dies is any simulated server's.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from tests.simulation.servers import Server
from tests.simulation.streams.draws import SURFACES

from bandari.service import upkeep
from bandari.service.books import Books
from bandari.service.caching import Cache
from bandari.service.estimates import Estimates
from bandari.service.inference import Inference
from bandari.service.recording import Space
from bandari.service.recordings import Recordings
from bandari.service.stream_terms import StreamSettings
from bandari.service.streams import Streams


class Keeping(Struct, frozen=True, kw_only=True):
    """The bounds of what servers keep, in bytes, and the terms of it."""

    streams: StreamSettings
    max_bytes: int
    max_cache_bytes: int
    max_cached_answer_bytes: int


class StreamServer(Server):
    """``recordings`` and ``space`` are what must be empty when all is over."""

    streams: Streams
    recordings: Recordings
    space: Space
    cache: Cache

    def __init__(self, name: str, keeping: Keeping, **around: Any) -> None:
        super().__init__(name, **around)
        self._keeping = keeping

    async def boot(self) -> None:
        clock, ledger, kept = self._clock, self.store.ledger, self.store.recordings
        self._epoch = epoch = await ledger.open_epoch(clock.now_ms())
        await upkeep.settle_dead_holds(ledger, clock)
        await upkeep.end_dead_recordings(kept)
        keeping, metrics = self._keeping, self._metrics
        self.space = Space(keeping.max_bytes)
        self.recordings = Recordings(self.space)
        self.cache = Cache(
            clock,
            max_bytes=keeping.max_cache_bytes,
            max_answer_bytes=keeping.max_cached_answer_bytes,
        )
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
            space=self.space,
            cache=self.cache,
        )
        self.streams = Streams(
            recordings=self.recordings,
            kept=kept,
            cache=self.cache,
            clock=clock,
            settings=keeping.streams,
            metrics=metrics,
            spell_problem={each.name: each.spell_in_stream for each in SURFACES.values()},
        )
        self._loops = upkeep.start_loops(
            inference, ledger, clock, metrics, recordings=kept, streams=self.streams
        )
        self.is_serving = True
        self._trace.tell("serving", self.name)
