"""Whether a key is found as fast among 100,000 as among 10, and a list's middle as fast as its
beginning.

Fills one database with 10 keys of 10 accounts, and one with 100,000 keys of 10,000 accounts, the
first of which has 100,000 end users with a wallet each; then takes turns in one run: asking both
for keys and end users drawn at random, and the large one for the first page of a list and for any.
Through the store's port, and ("statement") on a connection alone. On SQLite, and on PostgreSQL
where it is installed.

    python -m tools.bench.lookups [--rounds 2000] [--json]

A ratio beyond the bar is said to be so and is no failure: the times are the machine's too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing

from tests.support.many_keys import digest_of, fill
from tests.support.postgresql import PostgresqlMissing, postgresql_server

from bandari.adapters.storage import Store, open_store
from bandari.adapters.storage.database import Connection
from bandari.adapters.storage.keys import KeyStatements
from bandari.adapters.storage.store import open_database

BAR = 1.25
WARM_UP = 200
PAGE = 100
FEW, MANY = (10, 10, 10), (10_000, 100_000, 100_000)
"""Accounts, keys, and end users of the first account."""

Way = Callable[[], Awaitable[object]]
Size = tuple[int, int, int]

draw = random.Random(6)


def lookups(store: Store, connection: Connection, sql: str, size: Size) -> dict[str, Way]:
    """What a request asks for."""
    _, keys, end_users = size

    async def statement() -> None:
        digest = digest_of(draw.randint(1, keys))
        assert connection.cursor.execute(sql, ("", digest, digest)).fetchall()

    async def find_key() -> None:
        assert await store.keys.find_key(digest_of(draw.randint(1, keys)))

    async def end_user_terms() -> None:
        assert await store.accounts.end_user_terms(1, f"u{draw.randint(1, end_users)}")

    return {"statement": statement, "find_key": find_key, "end_user_terms": end_user_terms}


def pages(store: Store, size: Size, is_first: bool) -> dict[str, Way]:
    """What a list asks for: its first page, or any."""

    def after(last: int) -> int:
        return 0 if is_first else draw.randrange(last - PAGE)

    accounts, keys, end_users = size
    return {
        "page of keys": lambda: store.keys.list_keys(None, after(keys), PAGE),
        "page of accounts": lambda: store.accounts.list_accounts(after(accounts), PAGE),
        "page of end users": lambda: store.accounts.list_end_users(1, f"u{after(end_users)}", PAGE),
    }


async def take_turns(pairs: dict[str, tuple[Way, Way]], rounds: int) -> dict[str, list[float]]:
    """The medians of both, in microseconds; who begins changes from round to round."""
    medians = {}
    for name, pair in pairs.items():
        took: list[list[float]] = [[], []]
        for number in range(-WARM_UP, rounds):
            for at in (0, 1) if number % 2 else (1, 0):
                began = time.perf_counter()
                await pair[at]()
                if number >= 0:
                    took[at].append((time.perf_counter() - began) * 1e6)
        medians[name] = [statistics.median(times) for times in took]
    return medians


async def measure(few_url: str, many_url: str, rounds: int) -> dict[str, list[float]]:
    """Two databases of one kind, both empty."""
    async with AsyncExitStack() as stack:
        found = []
        for url, size in ((few_url, FEW), (many_url, MANY)):
            store = await stack.enter_async_context(open_store(url))
            fill(url, *size)
            database = open_database(url)
            connection = stack.enter_context(closing(database.connect_reader()))
            found.append(lookups(store, connection, KeyStatements(database).find, size))
        listed = [pages(store, size, is_first) for is_first in (True, False)]
        pairs = {name: (found[0][name], found[1][name]) for name in found[0]}
        pairs |= {name: (listed[0][name], listed[1][name]) for name in listed[0]}
        return await take_turns(pairs, rounds)


def measure_one(kind: str, rounds: int) -> dict[str, list[float]]:
    """Raises ``PostgresqlMissing``."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="bandari-bench-") as folder:
            urls = [f"sqlite:///{folder}/{name}.db" for name in ("few", "many")]
            return asyncio.run(measure(*urls, rounds))
    with postgresql_server(fsync=False) as server:
        return asyncio.run(measure(server.create_database(), server.create_database(), rounds))


def table(results: dict[str, dict[str, list[float]]]) -> Iterator[str]:
    for kind, medians in results.items():
        yield f"{kind + ', microseconds':28}{'few, first':>12}{'many, any':>12}{'ratio':>8}"
        for name, (few, many) in medians.items():
            yield f"{name:28}{few:12.1f}{many:12.1f}{many / few:8.2f}"
        few, many = medians["find_key"]
        verdict = "within" if many / few <= BAR else "beyond"
        yield f"{'the bar of find_key':28}{BAR:24.2f}{verdict:>8}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2_000)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    results: dict[str, dict[str, list[float]]] = {}
    for kind in ("sqlite", "postgresql"):
        try:
            results[kind] = measure_one(kind, arguments.rounds)
        except PostgresqlMissing as missing:
            print(f"skipped: {missing}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"rounds": arguments.rounds, "bar": BAR, "stores": results}))
    else:
        print("\n".join(table(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
