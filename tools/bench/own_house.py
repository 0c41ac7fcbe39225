"""Bandari's own side of a run: its configuration, and who is in its store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.bench.nginx import Upstreams

from bandari.bootstrap.books import open_books
from bandari.cli.books import administration_of
from bandari.config import Overrides, load
from bandari.domain.audit_log import Actor
from bandari.domain.pricing import TOKEN

CREDIT: Final = 10**12
BY: Final = Actor("bench")

CONFIGURATION: Final = """\
# As a user has it, but for rooms that are wide enough for 2,000 streams at once, and a limit that
# is asked for every request and never reached.
[server]
max_open_requests = 4096
[groups.default]
limits = {{ requests_per_minute = 1000000000 }}
[providers.instant]
base_url = "{instant}"
api_key = "none"
max_connections = 4096
[providers.tls]
base_url = "{tls}"
api_key = "none"
max_connections = 4096
[providers.streaming]
base_url = "{streaming}"
api_key = "none"
max_connections = 4096
[providers.streaming-messages]
protocol = "messages"
base_url = "{streaming}"
api_key = "none"
max_connections = 4096
[providers.streaming-responses]
protocol = "responses"
base_url = "{streaming}"
api_key = "none"
max_connections = 4096
[providers.streamed]
base_url = "{streamed}"
api_key = "none"
max_connections = 4096
[models.instant]
targets = ["instant:instant"]
context_window = 1000000
[models.streamed]
targets = ["streamed:streamed"]
[models.tls]
targets = ["tls:tls"]
[models.paced]
targets = ["streaming:paced"]
[models.paced-messages]
targets = ["streaming-messages:paced"]
[models.paced-responses]
targets = ["streaming-responses:paced"]
[models.idle]
targets = ["streaming:idle"]
[models.short]
targets = ["streaming:short"]
[models.long]
targets = ["streaming:long"]
[models.held-short]
targets = ["streaming:held-short"]
[models.held-long]
targets = ["streaming:held-long"]
"""

Fill = Callable[[Path, Path], tuple[str, ...]]
"""Puts customers into the store of (configuration, data directory); returns keys to ask with."""


def configuration(upstreams: Upstreams, more: str = "") -> str:
    """The configuration file, ``more`` at its end. No model is the engine's: none is started."""
    names = ("instant", "streamed", "tls", "streaming")
    return CONFIGURATION.format(**{name: upstreams.base_url(name) for name in names}) + more


def one_customer(config: Path, data: Path) -> tuple[str, ...]:
    """One account with one key and plenty of credit."""
    return customers(config, data, ["bench"])


def customers(config: Path, data: Path, names: list[str]) -> tuple[str, ...]:
    """Accounts of these names, made where they are missing, each with credit and a new key."""

    async def make() -> tuple[str, ...]:
        settings = load(config, Overrides(data_dir=data), {})
        async with open_books(settings) as store:
            admin = administration_of(store, settings)

            async def one(name: str) -> str:
                if await store.accounts.find_account(name) is None:
                    await admin.create_account(name, BY)
                await admin.credit(name, CREDIT, TOKEN, why="bench", by=BY)
                return (await admin.create_key(name, by=BY)).text

            return tuple(await asyncio.gather(*map(one, names)))

    return asyncio.run(make())
