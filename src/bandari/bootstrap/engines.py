"""The engine in the box, as a configuration wants it: for writing, for vectors, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from bandari.adapters.engine.settings import EngineSettings
from bandari.adapters.engine.status import Ready
from bandari.adapters.engine.supervisor import EngineSupervisor
from bandari.config import Settings

PACKAGED_MODEL = (
    Path(__file__).parent.parent / "adapters" / "engine" / "models" / "bandari-tiny.gguf"
)


class Engines(Struct, frozen=True):
    """Each is there if a model needs it."""

    writing: EngineSupervisor | None = None
    embedding: EngineSupervisor | None = None

    @property
    def all(self) -> Sequence[EngineSupervisor]:
        return [each for each in (self.writing, self.embedding) if each is not None]

    @property
    def obstacles(self) -> Sequence[str]:
        """What keeps them from answering, if anything."""
        return [
            f"the engine is {type(engine.status).__name__.lower()}"
            for engine in self.all
            if not isinstance(engine.status, Ready)
        ]


def engines_of(
    settings: Settings,
    stack: AsyncExitStack,
    supervisor: Callable[[EngineSettings], EngineSupervisor] = EngineSupervisor,
) -> Engines:
    """Those that the settings need, not started yet. The stack stops them."""

    def made(engine: EngineSettings) -> EngineSupervisor:
        supervised = supervisor(engine)
        stack.push_async_callback(supervised.stop)
        return supervised

    return Engines(
        writing=made(engine_settings(settings)) if settings.uses_engine else None,
        embedding=(
            made(embedding_engine_settings(settings)) if settings.uses_embedding_engine else None
        ),
    )


async def started(engines: Engines, stop: asyncio.Event) -> bool:
    """Have them ready, side by side. False if that takes longer than the wish to stop."""
    starting = asyncio.gather(*(engine.start() for engine in engines.all))
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
    return structs.replace(
        engine_settings(settings), model_path=path, embeds=True, prompt_cache_mib=0
    )
