"""Puts the house together: the only room that knows the concrete classes.

Configuration comes in as values and leaves as objects that know nothing of it. What is opened here
is closed here, in the opposite order, whatever happens.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bandari.adapters import logs
from bandari.adapters.clock import SystemClock
from bandari.adapters.engine.settings import EngineSettings
from bandari.adapters.engine.status import Ready
from bandari.adapters.engine.supervisor import EngineSupervisor
from bandari.adapters.entropy import Entropy
from bandari.adapters.metrics import PrometheusMetrics
from bandari.adapters.storage import Store, open_store
from bandari.bootstrap import providers
from bandari.config import DEFAULT_CONTEXT_WINDOW, Server, Settings
from bandari.domain.catalogue import Model
from bandari.domain.faults import StoreUnavailable
from bandari.domain.pricing import token_card
from bandari.service import upkeep
from bandari.service.access import Access
from bandari.service.books import Books
from bandari.service.counting import Counting
from bandari.service.embedding import Embedding
from bandari.service.estimates import Estimates
from bandari.service.identifiers import time_ordered_id
from bandari.service.inference import Inference
from bandari.service.inference import Settings as InferenceSettings
from bandari.service.limiting import Limiter
from bandari.service.models import Models, OpenProvider
from bandari.service.open_requests import OpenRequests
from bandari.service.responses import StoredResponses
from bandari.web import listener
from bandari.web.app import App, LogRequest
from bandari.web.chat_settings import ChatSettings
from bandari.web.keys import KeyCheck
from bandari.web.routes import House, routes

PACKAGED_MODEL = (
    Path(__file__).parent.parent / "adapters" / "engine" / "models" / "bandari-tiny.gguf"
)

DAY_MS = 86_400_000

GARBAGE_THRESHOLD = 20_000
"""New objects, less those that have gone, after which cycles are looked for among them."""

_log = logging.getLogger(__name__)


class AlreadyServing(Exception):
    """Another server uses this data directory."""


class Listening(Struct, frozen=True):
    """What a server that has just become ready can say of itself."""

    url: str
    store: Store
    models: Sequence[Model]
    engine: EngineSupervisor | None = None
    embedding_engine: EngineSupervisor | None = None


OnListening = Callable[[Listening], Awaitable[None]]


@contextmanager
def data_directory(path: Path) -> Iterator[None]:
    """The data directory, made if need be, and locked for one server until the end."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyServing(f"Another server uses the data directory {path}.") from None
        yield
    finally:
        os.close(descriptor)


@asynccontextmanager
async def open_books(
    settings: Settings, on_commit: Callable[[int, float], None] | None = None
) -> AsyncIterator[Store]:
    """The store, for a command or for a server. Its schema is brought up to date first."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await asyncio.to_thread(open_store, settings.database_url, on_commit=on_commit)
    async with store:
        yield store


def engine_settings(settings: Settings) -> EngineSettings:
    """The engine's, for the model that the configuration names or the one in the box."""
    engine = settings.engine
    return EngineSettings(
        model_path=engine.model or PACKAGED_MODEL,
        slots=engine.slots,
        context_window=engine.context_window,
        threads=engine.threads,
        start_timeout_s=engine.start_timeout_ms / 1000,
    )


def embedding_engine_settings(settings: Settings) -> EngineSettings:
    """The same, for the model that makes vectors."""
    path = settings.engine.embedding_model
    assert path is not None, "configuration names a file for a local model that embeds"
    return msgspec.structs.replace(
        engine_settings(settings), model_path=path, embeds=True, prompt_cache_mib=0
    )


def serve(settings: Settings, on_listening: OnListening | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises what keeps the server from starting.

    ``on_listening`` is awaited once, when requests are answered.
    """
    log_request = logs.set_up()
    with (
        data_directory(settings.data_dir),
        asyncio.Runner(loop_factory=listener.event_loop) as runner,
    ):
        runner.run(_serve(settings, on_listening, log_request))


async def _serve(
    settings: Settings, on_listening: OnListening | None, log_request: LogRequest
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics, clock, entropy = PrometheusMetrics(), SystemClock(), Entropy()
    async with AsyncExitStack() as stack:
        bound = stack.enter_context(
            closing(listener.bind(settings.server.host, settings.server.port))
        )
        store = await stack.enter_async_context(
            open_books(settings, lambda operations, seconds: metrics.committed(seconds, operations))
        )
        engine = embedding_engine = None
        if settings.uses_engine:
            engine = _engine(engine_settings(settings), stack)
        if settings.uses_embedding_engine:
            embedding_engine = _engine(embedding_engine_settings(settings), stack)
        engines = [each for each in (engine, embedding_engine) if each is not None]
        if not await _started(engines, stop):
            return
        epoch = await store.ledger.open_epoch(clock.now_ms())

        await upkeep.settle_dead_holds(store.ledger, clock)
        responses = StoredResponses(
            store.responses,
            clock,
            epoch=epoch,
            retention_ms=settings.responses.retention_days * DAY_MS,
        )
        await responses.fail_dead()
        models = await _pinned_models(settings, store)
        transports = providers.transports(settings, stack)
        upstreams = providers.upstreams(settings, engine, transports)
        estimates = Estimates(await store.ledger.experience())
        books = Books(store.ledger)
        open_requests = OpenRequests(settings.server.max_open_requests)
        inference = Inference(
            models=models,
            books=books,
            upstreams=upstreams,
            clock=clock,
            metrics=metrics,
            estimates=estimates,
            epoch=epoch,
            random_bytes=entropy,
            settings=InferenceSettings(
                max_open=settings.server.max_open_requests,
                max_recording_bytes=settings.server.recording_max_bytes,
            ),
            open_requests=open_requests,
        )
        embedding = Embedding(
            models=models,
            books=books,
            ledger=store.ledger,
            upstreams=providers.embedding_upstreams(settings, embedding_engine, transports),
            clock=clock,
            metrics=metrics,
            estimates=estimates,
            epoch=epoch,
            random_bytes=entropy,
            open_requests=open_requests,
        )

        house = House(
            keys=KeyCheck(Access(store.keys, clock, settings.key_prefix)),
            limiter=Limiter(settings.groups, clock),
            inference=inference,
            counting=Counting(models, upstreams, estimates),
            embedding=embedding,
            responses=responses,
            models=models,
            metrics=metrics,
            settings=_chat_settings(settings.server),
            now_s=lambda: clock.now_ms() // 1000,
            obstacles=lambda: _obstacles(engines, inference),
        )

        def new_request_id() -> str:
            return f"req_{time_ordered_id(clock.now_ms(), entropy)}"

        app = App(routes(house), metrics, new_request_id, log_request)
        loops = upkeep.start_loops(inference, store.ledger, clock, metrics, responses)
        _spare_the_collector()
        async with listener.listening(app, bound):
            url = listener.url_of(bound)
            _log.info("serving", extra={"detail": url, "pid": os.getpid()})
            if on_listening is not None:
                await on_listening(Listening(url, store, models.all(), engine, embedding_engine))
            await stop.wait()
            _log.info("draining")
            await inference.drain(settings.server.drain_timeout_ms / 1000)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await inference.settle_rest()
        with suppress(StoreUnavailable):
            await responses.write_late()
        try:
            await store.ledger.close_epoch(epoch, clock.now_ms())
        except StoreUnavailable:
            _log.warning("the ledger cannot be told of the end; the next server will find it")
    _log.info("stopped")


def _spare_the_collector() -> None:
    """Python looks for cycles after every 700 new objects, which is after every request or two.

    Here it took a seventh of the time. What is there at the start stays, and need not be looked at
    again; the rest is looked at seldom, because requests leave few cycles behind.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)


def _engine(settings: EngineSettings, stack: AsyncExitStack) -> EngineSupervisor:
    engine = EngineSupervisor(settings)
    stack.push_async_callback(engine.stop)
    return engine


async def _started(engines: Sequence[EngineSupervisor], stop: asyncio.Event) -> bool:
    """Have them ready, side by side. False if that takes longer than the wish to stop."""
    starting = asyncio.gather(*(engine.start() for engine in engines))
    stopping = asyncio.ensure_future(stop.wait())
    waiting: set[asyncio.Future[Any]] = {starting, stopping}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return False
    await starting
    return not stop.is_set()


async def _pinned_models(settings: Settings, store: Store) -> Models:
    """The models with their rate cards as the ledger knows them, by id and version."""
    open_names = [name for name, provider in settings.providers.items() if provider.any_model]
    cards = [card for model in settings.models for card in model.rate_cards]
    cards += [token_card(f"{name}:*") for name in open_names]
    pinned = iter(await store.rate_cards.pin(cards))
    models = [
        msgspec.structs.replace(model, rate_cards=tuple(next(pinned) for _ in model.rate_cards))
        for model in settings.models
    ]
    open_providers = {
        name: OpenProvider(name, DEFAULT_CONTEXT_WINDOW, (next(pinned),)) for name in open_names
    }
    return Models(models, open_providers, settings.default_provider)


def _chat_settings(server: Server) -> ChatSettings:
    return ChatSettings(
        max_body_bytes=server.max_body_bytes,
        max_messages=server.max_messages,
        body_timeout_ms=server.body_timeout_ms,
        first_status_timeout_ms=server.first_status_timeout_ms,
        keepalive_ms=server.keepalive_ms,
    )


def _obstacles(engines: Sequence[EngineSupervisor], inference: Inference) -> Sequence[str]:
    obstacles = []
    if inference.is_draining:
        obstacles.append("the server is shutting down")
    obstacles += [
        f"the engine is {type(engine.status).__name__.lower()}"
        for engine in engines
        if not isinstance(engine.status, Ready)
    ]
    return obstacles
