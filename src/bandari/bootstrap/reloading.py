"""The configuration read anew by a server that runs: all of it is taken over, or nothing.

Whatever can fail is done first, and changes nothing that is in use; then all is swapped in one go,
without a wait in it, so that no request sees half of it. What has begun goes on with what it had.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, structs

from bandari.bootstrap.comparing import compared, entry
from bandari.bootstrap.directory import Told, tell
from bandari.bootstrap.providers import Connected, Providers, embeddings_of, upstreams_of
from bandari.config import DEFAULT_CONTEXT_WINDOW, ConfigError, Settings
from bandari.domain.audit_log import Actor
from bandari.domain.catalogue import Model
from bandari.domain.faults import StoreUnavailable
from bandari.domain.pricing import token_card
from bandari.service.access import Access
from bandari.service.counting import Counting
from bandari.service.embedding import Embedding
from bandari.service.groups import Groups
from bandari.service.inference import Inference
from bandari.service.models import Models, OpenProvider
from bandari.service.open_requests import OpenRequests
from bandari.service.ports import AuditLog, Clock, RateCards
from bandari.service.reloading import ReloadOutcome

BY_SIGNAL = Actor("signal")

_log = logging.getLogger(__name__)


class Catalogue(Struct, frozen=True):
    """The models and open providers of one configuration, with their rate cards as the ledger
    knows them.
    """

    models: Sequence[Model]
    open_providers: Mapping[str, OpenProvider]


class InUse(Struct, frozen=True):
    """What a reload gives new contents."""

    groups: Groups
    models: Models
    providers: Providers
    inference: Inference
    embedding: Embedding
    counting: Counting
    open_requests: OpenRequests
    access: Access


class Reloading:
    """``read`` gives the settings anew, for a server that was started with those it is given.

    Reloads come one after the other, whoever asks.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        read: Callable[[Settings], Settings],
        in_use: InUse,
        rate_cards: RateCards,
        audit_log: AuditLog,
        clock: Clock,
    ) -> None:
        self._started_with = settings
        self._present = settings
        self._read = read
        self._in_use = in_use
        self._rate_cards = rate_cards
        self._audit_log = audit_log
        self._clock = clock
        self._turn = asyncio.Lock()
        self._running: set[asyncio.Task[ReloadOutcome]] = set()

    async def reload(self, by: Actor) -> ReloadOutcome:
        """Take over what the file says now, or nothing of it. Never raises.

        What has begun is seen to its end, also where who asked for it has left.
        """
        running = asyncio.create_task(self._in_turn(by))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await asyncio.shield(running)

    async def end(self) -> None:
        """Wait for those that have begun."""
        await asyncio.gather(*self._running)

    async def _in_turn(self, by: Actor) -> ReloadOutcome:
        async with self._turn:
            began_ns = time.monotonic_ns()
            try:
                outcome = await self._reload(by)
            except ConfigError as error:
                outcome = ReloadOutcome(problems=error.problems)
            except StoreUnavailable:
                outcome = ReloadOutcome(problems=("The ledger cannot be written at the moment.",))
            except Exception:  # noqa: BLE001 - a defect of ours must not end the server
                _log.exception("reload failed")
                outcome = ReloadOutcome(problems=("The server failed at it; its log says why.",))
            _write_down(outcome, by)
            await self._tell(Told(os.getpid(), began_ns, outcome))
            return outcome

    async def _reload(self, by: Actor) -> ReloadOutcome:
        wanted = await asyncio.to_thread(self._read, self._started_with)
        outcome = compared(self._present, wanted, self._started_with)
        if not outcome.has_changed:
            return outcome
        prepared = self._in_use.providers.prepare(wanted.providers)
        catalogue = await pinned(wanted, self._rate_cards)
        before, after = entry(self._present, wanted, outcome)
        now_ms = self._clock.now_ms()
        await self._audit_log.write("config.reload", "config", before, after, now_ms, by)
        self._swap(wanted, prepared, catalogue)
        return outcome

    def _swap(
        self, wanted: Settings, prepared: Mapping[str, Connected], catalogue: Catalogue
    ) -> None:
        use, upstreams = self._in_use, upstreams_of(prepared)
        use.models.replace(catalogue.models, catalogue.open_providers, wanted.default_provider)
        use.groups.replace(wanted.groups)
        use.open_requests.rank(group.priority for group in use.groups.all())
        use.inference.use(upstreams)
        use.counting.use(upstreams)
        use.embedding.use(embeddings_of(prepared))
        use.access.forget()
        use.providers.replace(prepared)
        self._present = wanted

    async def _tell(self, told: Told) -> None:
        """For ``bandari reload``. Where it cannot be told, the log has it."""
        try:
            await asyncio.to_thread(tell, self._started_with.data_dir, told)
        except OSError as error:
            _log.warning("a reload cannot be told", extra={"detail": str(error)})


class Signalled:
    """Reloads that are asked for by a signal, of which one may mean several."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Harmless at any time; what is asked for before ``serve`` runs is kept for it."""
        self._asked.set()

    async def serve(self, reloading: Reloading) -> None:
        """Do what is asked for, for ever. Cancel to stop."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await reloading.reload(BY_SIGNAL)


async def pinned(settings: Settings, rate_cards: RateCards) -> Catalogue:
    """The models of a configuration, ready to be sold: each rate card has its id and version."""
    open_names = [name for name, provider in settings.providers.items() if provider.any_model]
    cards = [card for model in settings.models for card in model.rate_cards]
    cards += [token_card(f"{name}:*") for name in open_names]
    known = iter(await rate_cards.pin(cards))
    return Catalogue(
        models=[
            structs.replace(model, rate_cards=tuple(next(known) for _ in model.rate_cards))
            for model in settings.models
        ],
        open_providers={
            name: OpenProvider(name, DEFAULT_CONTEXT_WINDOW, (next(known),)) for name in open_names
        },
    )


def _write_down(outcome: ReloadOutcome, by: Actor) -> None:
    for problem in outcome.problems:
        _log.error("configuration refused", extra={"detail": problem})
    if not outcome.is_refused:
        _log.info("configuration reloaded", extra={"detail": f"asked for by {by.name}"})
    if outcome.needs_restart:
        _log.warning("needs a restart", extra={"detail": ", ".join(outcome.needs_restart)})
