"""Serving: from settings to a server that answers, and to its end.

What is opened here is closed here, in the opposite order, whatever happens.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing, suppress

from msgspec import Struct

from bandari.adapters import logs
from bandari.adapters.clock import SystemClock
from bandari.adapters.engine.supervisor import EngineSupervisor
from bandari.adapters.entropy import Entropy
from bandari.adapters.metrics import PrometheusMetrics
from bandari.adapters.storage import Store
from bandari.bootstrap.books import open_books
from bandari.bootstrap.directory import announced, data_directory
from bandari.bootstrap.engines import engines_of, started
from bandari.bootstrap.house import Around, build, stored_responses
from bandari.bootstrap.reloading import Signalled
from bandari.config import Settings, Source
from bandari.domain.catalogue import Model
from bandari.domain.faults import StoreUnavailable
from bandari.service import upkeep
from bandari.service.identifiers import time_ordered_id
from bandari.service.latencies import Latencies
from bandari.web import listener
from bandari.web.app import App, LogRequest
from bandari.web.routes import routes
from bandari.web.sources import TrustedProxies

GARBAGE_THRESHOLD = 20_000
"""New objects, less those that have gone, after which cycles are looked for among them."""

_log = logging.getLogger(__name__)


class Listening(Struct, frozen=True):
    """What a server that has just become ready can say of itself."""

    url: str
    store: Store
    models: Sequence[Model]
    engine: EngineSupervisor | None = None
    embedding_engine: EngineSupervisor | None = None


OnListening = Callable[[Listening], Awaitable[None]]


def serve(
    settings: Settings, on_listening: OnListening | None = None, source: Source | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. Raises what keeps the server from starting.

    ``on_listening`` is awaited once, when requests are answered. ``source`` is where the settings
    came from, to be read again on SIGHUP; without it they stay as they are.
    """
    log_request = logs.set_up()
    with (
        data_directory(settings.data_dir),
        asyncio.Runner(loop_factory=listener.event_loop) as runner,
    ):
        runner.run(_serve(settings, on_listening, source, log_request))


async def _serve(
    settings: Settings,
    on_listening: OnListening | None,
    source: Source | None,
    log_request: LogRequest,
) -> None:
    stop, signalled = asyncio.Event(), Signalled()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, signalled.ask)
    latencies = Latencies()
    metrics, clock, entropy = PrometheusMetrics(latencies.observe), SystemClock(), Entropy()
    async with AsyncExitStack() as stack:
        bound = stack.enter_context(
            closing(listener.bind(settings.server.host, settings.server.port))
        )
        store = await stack.enter_async_context(
            open_books(settings, lambda operations, seconds: metrics.committed(seconds, operations))
        )
        engines = engines_of(settings, stack, EngineSupervisor)
        if not await started(engines, stop):
            return
        epoch = await store.ledger.open_epoch(clock.now_ms())
        around = Around(
            store=store, clock=clock, entropy=entropy, metrics=metrics, latencies=latencies
        )

        await upkeep.settle_dead_holds(store.ledger, clock)
        await upkeep.end_dead_recordings(store.recordings)
        responses = stored_responses(settings, around, epoch)
        await responses.fail_dead()
        built = await build(settings, _reader(settings, source), around, engines, responses, epoch)
        stack.push_async_callback(built.providers.close)
        inference = built.inference

        def new_request_id() -> str:
            return f"req_{time_ordered_id(clock.now_ms(), entropy)}"

        app = App(routes(built.house), metrics, new_request_id, log_request)
        loops = upkeep.start_loops(
            inference,
            store.ledger,
            clock,
            metrics,
            responses,
            store.reports,
            store.recordings,
            built.house.streams,
        )
        loops.append(asyncio.create_task(signalled.serve(built.reloading)))
        _spare_the_collector()
        config = None if source is None else source.file
        with announced(settings.data_dir, config):
            async with listener.listening(app, bound, _proxies(settings)):
                url = listener.url_of(bound)
                _log.info("serving", extra={"detail": url, "pid": os.getpid()})
                if on_listening is not None:
                    models = built.models.all()
                    await on_listening(
                        Listening(url, store, models, engines.writing, engines.embedding)
                    )
                await stop.wait()
                _log.info("draining")
                await inference.drain(settings.server.drain_timeout_ms / 1000)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await built.reloading.end()
        await inference.settle_rest()
        with suppress(StoreUnavailable):
            await responses.write_late()
        try:
            await store.ledger.close_epoch(epoch, clock.now_ms())
        except StoreUnavailable:
            _log.warning("the ledger cannot be told of the end; the next server will find it")
    _log.info("stopped")


def _reader(settings: Settings, source: Source | None) -> Callable[[Settings], Settings]:
    return (lambda _: settings) if source is None else source.settings


def _proxies(settings: Settings) -> TrustedProxies | None:
    trusted = settings.server.trusted_proxies
    return TrustedProxies(trusted) if trusted else None


def _spare_the_collector() -> None:
    """Python looks for cycles after every 700 new objects, which is after every request or two.

    Here it took a seventh of the time. What is there at the start stays, and need not be looked at
    again; the rest is looked at seldom, because requests leave few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
