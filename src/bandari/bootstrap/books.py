"""Opening the books that settings name: for a server, and for a command beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from bandari.adapters.storage import Store, open_store
from bandari.config import Settings


@asynccontextmanager
async def open_books(
    settings: Settings, on_commit: Callable[[int, float], None] | None = None
) -> AsyncIterator[Store]:
    """The store, for a command or for a server. Its schema is brought up to date first."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = await asyncio.to_thread(open_store, settings.database_url, on_commit=on_commit)
    async with store:
        yield store
