"""What Bandari adds to one answer, and how much of it is waiting for the disk.

Starts an upstream that answers at once and the real server, then takes turns in one run: the same
question straight to the upstream, through Bandari, and one commit on the same disk by the same
means. Two of a charged answer's commits must be waited for (its hold, its charge), so the bar is on
what is added beyond twice the median commit. On SQLite, and on PostgreSQL where it is installed.

    python -m tools.bench.books [--rounds 500] [--json]

A store beyond the bar is said to be so and is no failure: the times are the machine's too. TMPDIR
says which disk is measured.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
from tests.support.instant_upstream import instant_upstream
from tests.support.plain_client import PlainClient
from tests.support.postgresql import PostgresqlMissing, postgresql_server
from tests.support.server import running

BAR_MS = 1.5
WARM_UP = 100
PLENTY = 10**12
CONFIG = """
[providers.instant]
base_url = "{url}/v1"
[models.bench]
targets = ["instant:any"]
[groups.default]
limits = {{ requests_per_minute = 1000000000 }}
"""

Way = Callable[[], object]


@contextmanager
def sqlite_commit(folder: Path) -> Iterator[Way]:
    """One row changed and committed, in a file of its own beside the server's."""
    with closing(sqlite3.connect(folder / "commit.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, number INTEGER)")
        connection.execute("INSERT INTO rows VALUES (1, 0)")

        def commit() -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE rows SET number = number + 1 WHERE id = 1")
            connection.execute("COMMIT")

        yield commit


@contextmanager
def postgresql_commit(url: str) -> Iterator[Way]:
    """One row changed and committed, in a table of its own on the server's database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE rows (id bigint PRIMARY KEY, number bigint)")
        connection.execute("INSERT INTO rows VALUES (1, 0)")

        def commit() -> None:
            connection.execute("UPDATE rows SET number = number + 1 WHERE id = 1")

        yield commit


def take_turns(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each way, after a warm-up; who begins changes from round to round."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-WARM_UP, rounds):
        order = list(ways) if number % 2 == 0 else list(reversed(ways))
        for name in order:
            began = time.perf_counter()
            ways[name]()
            if number >= 0:
                took[name].append((time.perf_counter() - began) * 1000)
    return took


def figures(took: dict[str, list[float]]) -> dict[str, float]:
    """Milliseconds: medians and ninetieth percentiles, and what follows from the medians."""
    median = {name: statistics.median(times) for name, times in took.items()}
    p90 = {f"{name}_p90": statistics.quantiles(times, n=10)[-1] for name, times in took.items()}
    added = median["through"] - median["direct"]
    return median | p90 | {"added": added, "beyond": added - 2 * median["commit"]}


def measure(store: str, folder: Path, rounds: int) -> dict[str, float]:
    """One store. Raises ``PostgresqlMissing``."""
    body = {"model": "bench", "messages": [{"role": "user", "content": "Good morning"}]}
    with ExitStack() as stack:
        variables = {}
        if store == "postgresql":
            database = stack.enter_context(postgresql_server(fsync=True)).create_database()
            variables["BANDARI_DATABASE_URL"] = database
        upstream = stack.enter_context(instant_upstream())
        config = CONFIG.format(url=upstream)
        server = stack.enter_context(running(folder / "data", config, **variables))
        key = server.new_key("bench", PLENTY)
        commit = sqlite_commit(server.data) if store == "sqlite" else postgresql_commit(database)
        ways: dict[str, Way] = {
            "direct": stack.enter_context(PlainClient(upstream, "none", body)).ask,
            "through": stack.enter_context(PlainClient(server.url, key, body)).ask,
            "commit": stack.enter_context(commit),
        }
        took = take_turns(ways, rounds)
        (row,) = server.query("SELECT count(*) AS n FROM receipts")
        assert row["n"] == rounds + WARM_UP, "an answer was not charged"
        return figures(took)


def table(results: dict[str, dict[str, float]]) -> Iterator[str]:
    yield f"{'milliseconds':14}" + "".join(f"{store:>24}" for store in results)
    yield f"{'':14}" + f"{'median':>14}{'p90':>10}" * len(results)
    for name in ("direct", "through", "commit"):
        cells = (f"{one[name]:14.3f}{one[name + '_p90']:10.3f}" for one in results.values())
        yield f"{name:14}" + "".join(cells)
    for name, says in (("added", "through - direct"), ("beyond", "added - 2 x commit")):
        cells = (f"{one[name]:14.3f}{'':10}" for one in results.values())
        yield f"{name:14}" + "".join(cells) + f"   {says}"
    verdicts = ("within" if one["beyond"] <= BAR_MS else "beyond" for one in results.values())
    cells = (f"{verdict:>14}{'':10}" for verdict in verdicts)
    yield f"{f'bar {BAR_MS} ms':14}" + "".join(cells)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    arguments = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    for store in ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory(prefix="bandari-bench-") as folder:
            try:
                results[store] = measure(store, Path(folder), arguments.rounds)
            except PostgresqlMissing as missing:
                print(f"skipped: {missing}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"rounds": arguments.rounds, "bar_ms": BAR_MS, "stores": results}))
    else:
        print("\n".join(table(results)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
