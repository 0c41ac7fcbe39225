"""The books of one command, opened for as long as it runs."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from bandari.adapters.clock import SystemClock
from bandari.adapters.storage import Store
from bandari.bootstrap.books import open_books
from bandari.cli.border import expected_failures
from bandari.config import Settings
from bandari.domain.audit_log import Actor
from bandari.service.administration import Administration
from bandari.service.groups import Groups
from bandari.service.reporting import Reporting


class Desk(Struct, frozen=True):
    """Both sides of the books: what an operator changes, and what he asks."""

    admin: Administration
    reporting: Reporting


@asynccontextmanager
async def desk(settings: Settings) -> AsyncIterator[Desk]:
    """The use cases over the books that the settings name; works beside a running server."""
    with expected_failures():
        async with open_books(settings) as store:
            yield Desk(
                administration_of(store, settings),
                Reporting(reports=store.reports, ledger=store.ledger, accounts=store.accounts),
            )


@asynccontextmanager
async def administration(settings: Settings) -> AsyncIterator[Administration]:
    """The same, for a command that asks nothing of receipts."""
    with expected_failures():
        async with open_books(settings) as store:
            yield administration_of(store, settings)


def administration_of(store: Store, settings: Settings) -> Administration:
    """The use cases over a store that is already open."""
    return Administration(
        accounts=store.accounts,
        keys=store.keys,
        users=store.users,
        audit_log=store.audit_log,
        clock=SystemClock(),
        groups=Groups(settings.groups),
        key_prefix=settings.key_prefix,
        admin_key=settings.admin_key,
    )


def who_asks() -> Actor:
    """Who is at the command line, for the books."""
    try:
        return Actor(f"cli:{getpass.getuser()}")
    except (KeyError, OSError):  # a user without a name, as in some containers
        return Actor("cli")
