"""The real program for acceptance tests: ``bandari serve`` in a process of its own, and the CLI."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
from psycopg.rows import dict_row

from bandari.bootstrap.books import open_books
from bandari.cli.books import administration_of
from bandari.config import Overrides, load
from bandari.domain.audit_log import Actor
from bandari.domain.catalogue import DEFAULT_GROUP
from bandari.domain.keys import KeyPolicy
from bandari.domain.pricing import TOKEN

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


def environment(**more: str) -> dict[str, str]:
    """This process's, without what would configure Bandari."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BANDARI_")}
    return kept | more


class Bandari:
    """One data directory and, while it runs, one server on a port of its own.

    The engine gets one thread: the machines that run tests have few cores, and llama.cpp's threads
    wait for each other by spinning.
    """

    def __init__(self, data: Path, config: str = "", **variables: str) -> None:
        """``variables`` are environment variables that the configuration uses."""
        self.data = data
        self.variables = variables
        self.config = data.parent / f"{data.name}.toml"
        self.config.write_text(config if "[engine]" in config else ENGINE + config)
        self.url = ""
        self.first_key: str | None = None
        self.process: subprocess.Popen[str] | None = None
        self.log: list[str] = []
        self._reader: threading.Thread | None = None

    def start(self) -> Bandari:
        """Start serving; returns when it answers. Raises if it ends instead, with its log."""
        process = self.process = subprocess.Popen(
            [sys.executable, "-m", "bandari", "serve", "--port", "0", "--json", *self._where()],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**self.variables),
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self._reader = threading.Thread(
            target=lambda lines: self.log.extend(lines), args=(process.stderr,), daemon=True
        )
        self._reader.start()
        timer = threading.Timer(START_TIMEOUT_S, process.kill)
        timer.start()
        greeting = process.stdout.readline()
        timer.cancel()
        if not greeting:
            process.wait()
            self._reader.join()
            raise RuntimeError("the server did not start:\n" + "".join(self.log))
        told = json.loads(greeting)
        self.url = told["url"]
        self.first_key = told["key"] or self.first_key
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(STOP_TIMEOUT_S)
        assert self._reader is not None
        self._reader.join(STOP_TIMEOUT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process = None
        return status

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one command of the CLI on the same data directory."""
        done = subprocess.run(
            [sys.executable, "-m", "bandari", *arguments, *self._where()],
            capture_output=True,
            text=True,
            env=environment(**self.variables),
            timeout=60,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"bandari {' '.join(arguments)}: {done.stderr}")
        return done

    def new_key(
        self,
        account: str,
        amount: int = 0,
        asset: str = TOKEN,
        group: str = DEFAULT_GROUP,
        policy: KeyPolicy | None = None,
    ) -> str:
        """A key of a new account with that much in its wallet, made beside the server."""

        async def make() -> str:
            overrides = Overrides(data_dir=self.data)
            settings = load(self.config, overrides, self.variables)
            async with open_books(settings) as store:
                admin = administration_of(store, settings)
                by = Actor("test")
                await admin.create_account(account, by)
                if amount:
                    await admin.credit(account, amount, asset, why="test", by=by)
                made = await admin.create_key(
                    account, group=group, policy=policy or KeyPolicy(), by=by
                )
                return made.text

        return asyncio.run(make())

    def wallet(self, account: str, asset: str = "TOKEN") -> tuple[int, int]:
        """Balance and held, read from the database; (0, 0) where there is no wallet."""
        rows = self.query(
            "SELECT balance, held FROM wallets JOIN accounts ON accounts.id = account_id "
            "WHERE name = ? AND asset = ?",
            account,
            asset,
        )
        return (rows[0]["balance"], rows[0]["held"]) if rows else (0, 0)

    def receipt(self, receipt_id: str) -> dict[str, Any]:
        """The receipt's row."""
        (row,) = self.query("SELECT * FROM receipts WHERE id = ?", receipt_id)
        return row

    def receipts(self, account: str) -> list[dict[str, Any]]:
        """All of an account, the oldest first."""
        return self.query(
            "SELECT receipts.* FROM receipts JOIN wallets ON wallets.id = wallet_id "
            "JOIN accounts ON accounts.id = account_id WHERE accounts.name = ? ORDER BY ended_ms",
            account,
        )

    def query(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Rows of the database, as a reader beside the server sees them."""
        url = self.variables.get("BANDARI_DATABASE_URL")
        if url is not None:
            with psycopg.connect(url, row_factory=dict_row) as connection:
                return connection.execute(sql.replace("?", "%s").encode(), values).fetchall()
        with closing(sqlite3.connect(f"file:{self.data}/bandari.db?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(sql, values)]

    def change(self, sql: str, *values: object) -> None:
        """Tamper with the database, beside the server."""
        url = self.variables.get("BANDARI_DATABASE_URL")
        if url is not None:
            with psycopg.connect(url) as connection:
                connection.execute(sql.replace("?", "%s").encode(), values)
            return
        with closing(sqlite3.connect(self.data / "bandari.db", timeout=30)) as database, database:
            database.execute(sql, values)

    def verify(self) -> None:
        """Fail with the differences unless the books balance."""
        self.cli("ledger", "verify")

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def engine_pids(self) -> list[int]:
        """The engine's processes that are children of the server."""
        assert self.process is not None
        return [
            pid
            for pid in children_of(self.process.pid)
            if "engine" in Path(f"/proc/{pid}/cmdline").read_text()
        ]

    def _where(self) -> list[str]:
        return ["--data", str(self.data), "--config", str(self.config)]


def metric(server: Bandari, name: str) -> float:
    """The sum of those whose name and labels begin so."""
    with server.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


ENGINE = "[engine]\nthreads = 1\n"


@contextmanager
def running(data: Path, config: str = "", **variables: str) -> Iterator[Bandari]:
    """A server that is stopped at the end, and must have stopped in order.

    A test may stop it itself, with whatever signal, and start it again.
    """
    server = Bandari(data, config, **variables).start()
    try:
        yield server
    except BaseException:
        if server.process is not None:
            server.stop(signal.SIGKILL)
        raise
    if server.process is not None:
        status = server.stop()
        assert status == 0, "".join(server.log)


def children_of(parent: int) -> list[int]:
    """Direct children of a process, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent:
                found.append(int(entry.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Any, timeout_s: float = 30.0, what: str = "the condition") -> None:
    """Poll until ``condition()`` is true; fail after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {timeout_s} s"
        time.sleep(0.01)
