"""The services of one server, made from its settings and joined to each other.

What is here knows no socket, no signal and no order of starting: that is the room above.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct, field

from bandari.adapters.clock import SystemClock
from bandari.adapters.entropy import Entropy
from bandari.adapters.metrics import PrometheusMetrics
from bandari.adapters.storage import Store
from bandari.bootstrap.engines import Engines
from bandari.bootstrap.providers import Providers, connect_engines, embeddings_of, upstreams_of
from bandari.bootstrap.reloading import InUse, Reloading, pinned
from bandari.config import Server, Settings
from bandari.service.access import Access
from bandari.service.administration import Administration
from bandari.service.books import Books
from bandari.service.caching import Cache
from bandari.service.counting import Counting
from bandari.service.embedding import Embedding
from bandari.service.estimates import Estimates
from bandari.service.groups import Groups
from bandari.service.guesses import Guesses
from bandari.service.inference import Inference
from bandari.service.inference import Settings as InferenceSettings
from bandari.service.latencies import Latencies
from bandari.service.limiting import Limiter
from bandari.service.models import Models
from bandari.service.open_requests import OpenRequests
from bandari.service.ports import Clock
from bandari.service.recording import Space
from bandari.service.recordings import Recordings
from bandari.service.reporting import Reporting
from bandari.service.responses import StoredResponses
from bandari.service.stream_terms import StreamSettings
from bandari.service.streams import Streams
from bandari.web.chat_settings import ChatSettings
from bandari.web.keys import KeyCheck
from bandari.web.routes import House
from bandari.web.surface import SURFACES

DAY_MS = 86_400_000

OTHERS_SEEN_MS = 1_000
"""How old what other servers of the same database have booked may be, for limits."""


class Around(Struct, frozen=True):
    """What every service works with."""

    store: Store
    clock: SystemClock
    entropy: Entropy
    metrics: PrometheusMetrics
    latencies: Latencies = field(default_factory=Latencies)


class Built(Struct, frozen=True):
    """The services that the server itself has to do with."""

    house: House
    inference: Inference
    responses: StoredResponses
    models: Models
    providers: Providers
    reloading: Reloading


def stored_responses(settings: Settings, around: Around, epoch: int) -> StoredResponses:
    return StoredResponses(
        around.store.responses,
        around.clock,
        epoch=epoch,
        retention_ms=settings.responses.retention_days * DAY_MS,
    )


async def build(
    settings: Settings,
    read: Callable[[Settings], Settings],
    around: Around,
    engines: Engines,
    responses: StoredResponses,
    epoch: int,
) -> Built:
    """All services, ready to be asked. ``read`` reads the settings anew, for a reload."""
    store, clock, metrics = around.store, around.clock, around.metrics
    providers = Providers(connect_engines(engines.writing, engines.embedding))
    connected = providers.prepare(settings.providers)
    providers.replace(connected)
    upstreams = upstreams_of(connected)
    catalogue = await pinned(settings, store.rate_cards)
    models = Models(catalogue.models, catalogue.open_providers, settings.default_provider)
    groups = Groups(settings.groups)
    guesses = Guesses(clock, metrics)
    access = Access(
        keys=store.keys,
        accounts=store.accounts,
        groups=groups,
        guesses=guesses,
        clock=clock,
        prefix=settings.key_prefix,
    )
    limiter = _limiter(settings, around)
    books = Books(store.ledger)
    estimates = Estimates(await store.ledger.experience())
    open_requests = OpenRequests(
        settings.server.max_open_requests, (group.priority for group in groups.all())
    )
    space, cache = Space(settings.streams.max_bytes), _cache(settings, clock)
    inference = Inference(
        models=models,
        books=books,
        upstreams=upstreams,
        clock=clock,
        metrics=metrics,
        estimates=estimates,
        epoch=epoch,
        random_bytes=around.entropy,
        settings=InferenceSettings(
            max_open=settings.server.max_open_requests,
            max_recording_bytes=settings.server.recording_max_bytes,
            cache_ttl_s=settings.cache.ttl_s,
        ),
        open_requests=open_requests,
        limiter=limiter,
        space=space,
        cache=cache,
    )
    embedding = Embedding(
        models=models,
        books=books,
        ledger=store.ledger,
        upstreams=embeddings_of(connected),
        clock=clock,
        metrics=metrics,
        estimates=estimates,
        epoch=epoch,
        random_bytes=around.entropy,
        open_requests=open_requests,
        limiter=limiter,
    )
    counting = Counting(models, upstreams, estimates)
    reloading = Reloading(
        settings=settings,
        read=read,
        in_use=InUse(
            groups=groups,
            models=models,
            providers=providers,
            inference=inference,
            embedding=embedding,
            counting=counting,
            open_requests=open_requests,
            access=access,
        ),
        rate_cards=store.rate_cards,
        audit_log=store.audit_log,
        clock=clock,
    )
    house = House(
        keys=KeyCheck(access),
        limiter=limiter,
        inference=inference,
        counting=counting,
        embedding=embedding,
        responses=responses,
        streams=Streams(
            recordings=Recordings(space),
            kept=store.recordings,
            cache=cache,
            clock=clock,
            metrics=metrics,
            settings=_stream_settings(settings),
            spell_problem={name: surface.spell_in_stream for name, surface in SURFACES.items()},
        ),
        models=models,
        metrics=metrics,
        settings=_chat_settings(settings.server),
        now_s=lambda: clock.now_ms() // 1000,
        obstacles=lambda: [
            *(["the server is shutting down"] if inference.is_draining else ()),
            *engines.obstacles,
        ],
        administration=_administration(settings, around, groups, guesses),
        reporting=Reporting(reports=store.reports, ledger=store.ledger, accounts=store.accounts),
        reload=reloading.reload,
        latencies=around.latencies,
    )
    return Built(house, inference, responses, models, providers, reloading)


def _limiter(settings: Settings, around: Around) -> Limiter:
    """SQLite has one server, who knows of everything that is booked."""
    is_alone = settings.database_url.startswith("sqlite")
    return Limiter(
        clock=around.clock,
        reports=around.store.reports,
        refresh_ms=None if is_alone else OTHERS_SEEN_MS,
    )


def _administration(
    settings: Settings, around: Around, groups: Groups, guesses: Guesses
) -> Administration:
    store = around.store
    return Administration(
        accounts=store.accounts,
        keys=store.keys,
        users=store.users,
        audit_log=store.audit_log,
        clock=around.clock,
        groups=groups,
        key_prefix=settings.key_prefix,
        admin_key=settings.admin_key,
        guesses=guesses,
        random_bytes=around.entropy,
    )


def _cache(settings: Settings, clock: Clock) -> Cache:
    """None of it where nothing may be kept."""
    is_off = settings.streams.keep == "off"
    return Cache(
        clock,
        max_bytes=0 if is_off else settings.cache.max_bytes,
        max_answer_bytes=settings.cache.max_answer_bytes,
    )


def _stream_settings(settings: Settings) -> StreamSettings:
    streams = settings.streams
    return StreamSettings(
        keep=streams.keep,
        max_resume_window_s=streams.max_resume_window_s,
        keyed_resume_window_s=streams.keyed_resume_window_s,
        idempotency_hours=streams.idempotency_hours,
        stored_hours=settings.responses.retention_days * 24,
        resume_window_s=streams.resume_window_s,
    )


def _chat_settings(server: Server) -> ChatSettings:
    return ChatSettings(
        max_body_bytes=server.max_body_bytes,
        max_messages=server.max_messages,
        body_timeout_ms=server.body_timeout_ms,
        first_status_timeout_ms=server.first_status_timeout_ms,
        keepalive_ms=server.keepalive_ms,
    )
