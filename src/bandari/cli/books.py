"""The books of one command, opened for as long as it runs."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bandari.adapters.clock import SystemClock
from bandari.adapters.storage import Store
from bandari.bootstrap import open_books
from bandari.cli.border import expected_failures
from bandari.config import Settings
from bandari.service.administration import Administration


@asynccontextmanager
async def administration(settings: Settings) -> AsyncIterator[Administration]:
    """The use cases over the books that the settings name; works beside a running server."""
    with expected_failures():
        async with open_books(settings) as store:
            yield administration_of(store, settings)


def administration_of(store: Store, settings: Settings) -> Administration:
    """The use cases over a store that is already open."""
    return Administration(
        store.accounts,
        store.keys,
        store.ledger,
        SystemClock(),
        settings.key_prefix,
        tuple(settings.groups),
    )


def who_asks() -> str:
    """Who is at the command line, for the books."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        return "cli"
