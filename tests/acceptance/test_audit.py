"""`bandari ledger verify` on a ledger that has been in use for long, beside a server that serves.

20,000 charges, 1,000,000 in `make soak`, which also says what the audit costs those who are served.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.full_ledger import HOLDS, WALLETS, write_full_ledger
from tests.support.instant_upstream import instant_upstream
from tests.support.plain_client import PlainClient
from tests.support.server import Bandari, environment, running, wait_until

CLIENTS = 4
CONFIG = """
[providers.instant]
base_url = "{url}/v1"
[models.m]
targets = ["instant:any"]
[groups.default]
limits = {{ requests_per_minute = 100000000 }}
"""
MAX_SECONDS = 60
MAX_BYTES = 500 * 1024 * 1024


@dataclass
class Load:
    """Clients that ask one after the other; ``took_s`` of each answer, in the order they came."""

    server: Bandari
    key: str
    took_s: list[float] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[Load]:
        stopped = threading.Event()
        failures: list[Exception] = []

        def ask_on() -> None:
            body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
            try:
                with PlainClient(self.server.url, self.key, body) as client:
                    while not stopped.is_set():
                        began = time.perf_counter()
                        client.ask()
                        self.took_s.append(time.perf_counter() - began)
            except (OSError, RuntimeError) as error:  # told below, in the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=ask_on) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            stopped.set()
            for thread in threads:
                thread.join()
        assert not failures, failures

    def percentiles_ms(self, since: int, until: int) -> tuple[float, float]:
        """Median and 99th of a stretch of the answers."""
        hundredths = statistics.quantiles(self.took_s[since:until], n=100)
        return hundredths[49] * 1000, hundredths[98] * 1000


@dataclass
class Audit:
    """One run of the command, and what it took."""

    status: int
    out: str
    seconds: float
    max_bytes: int
    max_log_bytes: int


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had; 0 once it has ended.

    What ``wait4`` says would count ours too: a child begins as a copy.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def audit(server: Bandari, *arguments: str) -> Audit:
    log = server.data / "bandari.db-wal"
    max_log_bytes = max_bytes = 0
    began = time.perf_counter()
    command = [sys.executable, "-m", "bandari", "ledger", "verify", *arguments]
    where = ["--data", str(server.data), "--config", str(server.config)]
    with subprocess.Popen(
        [*command, *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**server.variables),
    ) as process:
        while process.poll() is None:
            max_bytes = max(max_bytes, peak_bytes(process.pid))
            if log.exists():
                max_log_bytes = max(max_log_bytes, log.stat().st_size)
            time.sleep(0.02)
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
    seconds = time.perf_counter() - began
    assert "\x1b" not in err
    assert "verifying" not in err, "a bar, and nobody at a terminal"
    return Audit(process.returncode, out, seconds, max_bytes, max_log_bytes)


@contextmanager
def served(data: Path, charges: int, variables: dict[str, str]) -> Iterator[tuple[Bandari, str]]:
    """A server on books with that many charges and no hold, and a key to ask it with."""
    data.mkdir()
    url = variables.get("BANDARI_DATABASE_URL", f"sqlite:///{data / 'bandari.db'}")
    write_full_ledger(url, charges)
    with (
        instant_upstream() as upstream,
        running(data, CONFIG.format(url=upstream), **variables) as server,
    ):
        key = server.new_key("amina", 10**12)
        wait_until(
            lambda: server.query("SELECT count(*) AS n FROM holds") == [{"n": 0}],
            what="the end of the holds that were left",
        )
        yield server, key


def plant_difference(server: Bandari) -> str:
    """Change one receipt in the middle by one; returns what the audit must say."""
    (row,) = server.query(
        "SELECT id, amount FROM receipts WHERE transaction_id >="
        " (SELECT max(transaction_id) / 2 FROM receipts) ORDER BY transaction_id LIMIT 1"
    )
    server.change("UPDATE receipts SET amount = amount + 1 WHERE id = ?", row["id"])
    amount = row["amount"]
    return f"receipt {row['id']}: amount: the books say {amount + 1}, the postings {amount}\n"


def test_a_full_ledger_is_verified_while_it_is_written(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with served(tmp_path / "data", 20_000, variables) as (server, key):
        with Load(server, key).running() as load:
            wait_until(lambda: len(load.took_s) > 10, what="a load")
            before = len(load.took_s)
            done = audit(server, "--json")
            assert len(load.took_s) > before, "nobody was served meanwhile"
            assert done.status == 0, done.out
            told = json.loads(done.out)
            assert told["clean"] is True
            assert told["verification"]["wallets"] == WALLETS + 1
            assert told["verification"]["receipts"] > 20_000 + before
            line = plant_difference(server)
            found = audit(server)
        assert (found.status, found.out) == (1, line)


def test_the_holds_of_a_dead_server_are_audited_too(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    url = variables.get("BANDARI_DATABASE_URL", f"sqlite:///{tmp_path / 'bandari.db'}")
    write_full_ledger(url, 1_000)
    done = audit(Bandari(tmp_path, **variables), "--json")
    assert done.status == 0
    assert json.loads(done.out)["verification"]["open_holds"] == HOLDS


@pytest.mark.soak
def test_a_million_charges_while_serving(
    tmp_path: Path, variables: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        served(tmp_path / "data", 1_000_000, variables) as (server, key),
        Load(server, key).running() as load,
    ):
        wait_until(lambda: len(load.took_s) > 200, what="a load")
        warm = len(load.took_s)
        time.sleep(10)  # what serving costs without an audit is what is being measured
        quiet = len(load.took_s)
        done = audit(server, "--json")
        audited = len(load.took_s)
        line = plant_difference(server)
        found = audit(server)
        alone, beside = load.percentiles_ms(warm, quiet), load.percentiles_ms(quiet, audited)
    with capsys.disabled():
        print(
            f"\n{done.seconds:.1f} s, {done.max_bytes / 1e6:.0f} MB,"
            f" SQLite's log at most {done.max_log_bytes / 1e6:.0f} MB;"
            f" served: {(quiet - warm) / 10:.0f}/s before, median {alone[0]:.1f} ms,"
            f" p99 {alone[1]:.1f} ms;"
            f" {(audited - quiet) / done.seconds:.0f}/s meanwhile, median {beside[0]:.1f} ms,"
            f" p99 {beside[1]:.1f} ms"
        )
    assert json.loads(done.out)["clean"] is True
    assert (found.status, found.out) == (1, line)
    assert done.seconds < MAX_SECONDS
    assert done.max_bytes < MAX_BYTES
