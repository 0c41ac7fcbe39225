"""A store that cannot be written: new work is refused, running answers end as errors, nothing is
lost, and service returns by itself.
"""

from __future__ import annotations

import itertools
import resource
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
from tests.support.chat import PATH, user
from tests.support.counting_upstream import PROMPT_TOKENS, CountingUpstream, counting_upstream
from tests.support.cutting_proxy import Cut, cutting_proxy
from tests.support.postgresql import (
    PostgresqlMissing,
    PostgresqlServer,
    Stop,
    postgresql_server,
)
from tests.support.preloaded import compiled_library
from tests.support.server import Bandari, running, wait_until
from tests.support.starved_disk import SOURCE, StarvedDisk, Trouble

CREDIT = 100_000
TOKENS = 50
COMMIT_S = 5.0
CONFIG = """
[providers.counting]
base_url = "{url}/v1"
[models.counted]
targets = ["counting:any"]
"""


@pytest.fixture
def upstream() -> Iterator[CountingUpstream]:
    with counting_upstream() as upstream:
        yield upstream
        upstream.may_go_on.set()


@pytest.fixture(scope="session")
def starved_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_library(SOURCE, tmp_path_factory.mktemp("starved"))


@pytest.fixture
def disk(starved_library: Path, tmp_path: Path) -> StarvedDisk:
    """Of the server whose data directory is ``tmp_path / "data"``."""
    return StarvedDisk(starved_library, tmp_path / "disk", tmp_path / "data")


def body(name: str, *, stream: bool) -> dict[str, Any]:
    return {
        "model": "counted",
        "messages": user("x"),
        "user": name,
        "stream": stream,
        "max_tokens": TOKENS,
    }


def read_until_broken(client: httpx.Client, name: str) -> str:
    """All of a stream that breaks off."""
    text = ""
    with client.stream("POST", PATH, json=body(name, stream=True)) as response:
        try:
            for piece in response.iter_text():
                text += piece
        except httpx.RemoteProtocolError:
            return text
    pytest.fail(f"the stream ended in order: {text[-200:]}")


def refusal(client: httpx.Client, name: str) -> float:
    """The seconds after which a request was refused, as one that the ledger cannot take."""
    began = time.monotonic()
    refused = client.post(PATH, json=body(name, stream=False))
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "store_unavailable"
    assert refused.headers["x-should-retry"] == "true"
    return time.monotonic() - began


def starve(
    server: Bandari, upstream: CountingUpstream, break_it: Callable[[], Callable[[], None]]
) -> None:
    """``break_it`` makes the store unwritable and returns what mends it."""
    key = server.new_key("amina", CREDIT)
    upstream.may_go_on.clear()
    with server.client(key) as client, ThreadPoolExecutor(1) as pool:
        running_answer = pool.submit(read_until_broken, client, "running")
        wait_until(lambda: server.wallet("amina")[1] > 0, what="the hold")
        mend = break_it()
        try:
            refusal(client, "refused")
        finally:
            upstream.may_go_on.set()
            told = running_answer.result(60)
            mend()
        assert '"code":"store_unavailable"' in told
        assert "[DONE]" not in told
        wait_until(
            lambda: client.post(PATH, json=body("again", stream=False)).status_code == 200,
            what="an answer after the store is back",
        )
    wait_until(lambda: server.wallet("amina")[1] == 0, what="the end of every hold")
    rows = server.query("SELECT * FROM receipts ORDER BY id")
    assert {row["end_user"]: row["ending"] for row in rows} == {
        "running": "server_stopped",
        "again": "completed",
    }
    assert {row["amount"] for row in rows} == {PROMPT_TOKENS + TOKENS}
    assert server.wallet("amina") == (CREDIT - 2 * (PROMPT_TOKENS + TOKENS), 0)
    server.verify()


def test_a_locked_file(tmp_path: Path, upstream: CountingUpstream) -> None:
    with (
        running(tmp_path / "data", CONFIG.format(url=upstream.url)) as server,
        closing(sqlite3.connect(server.data / "bandari.db", isolation_level=None)) as other,
    ):

        def lock() -> Callable[[], None]:
            other.execute("BEGIN IMMEDIATE")
            return lambda: other.execute("ROLLBACK") and None

        starve(server, upstream, lock)


def test_a_disk_that_is_full(tmp_path: Path, upstream: CountingUpstream) -> None:
    """Played by a limit on the size of the files that the process may write."""
    with running(tmp_path / "data", CONFIG.format(url=upstream.url)) as server:
        assert server.process is not None
        pid = server.process.pid

        def fill() -> Callable[[], None]:
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            return lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, before) and None

        starve(server, upstream, fill)


@pytest.mark.postgresql
def test_a_database_that_takes_no_connections(
    tmp_path: Path, upstream: CountingUpstream, postgresql: PostgresqlServer
) -> None:
    url = postgresql.create_database()
    name = url.rpartition("/")[2]
    config = CONFIG.format(url=upstream.url)
    with running(tmp_path / "data", config, BANDARI_DATABASE_URL=url) as server:

        def shut() -> Callable[[], None]:
            postgresql.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            postgresql.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
            )
            return lambda: postgresql.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

        starve(server, upstream, shut)


def receipts_of(server: Bandari) -> dict[str, dict[str, Any]]:
    """By the end user of the request. Fails where somebody was charged twice."""
    rows = server.query("SELECT * FROM receipts ORDER BY id")
    found = {row["end_user"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def stall(
    server: Bandari,
    upstream: CountingUpstream,
    hang: Callable[[], None],
    is_hanging: Callable[[], bool],
    go_on: Callable[[], None],
) -> None:
    """One commit takes five seconds. ``hang`` makes every commit hang until ``go_on``."""
    key = server.new_key("amina", CREDIT)
    upstream.may_go_on.clear()
    with (
        server.client(key) as client,
        ThreadPoolExecutor(3) as pool,
        ExitStack() as whatever_happens,
    ):
        whatever_happens.callback(go_on)
        whatever_happens.callback(upstream.may_go_on.set)
        running_answer = pool.submit(read_until_broken, client, "running")
        wait_until(lambda: server.wallet("amina")[1] > 0, what="the hold")
        hang()
        began = time.monotonic()
        inside = pool.submit(client.post, PATH, json=body("inside", stream=False))
        wait_until(is_hanging, what="a commit that hangs")

        # While the commit is young, others wait for the next; and not for long.
        waited = refusal(client, "waited")
        assert waited < 3
        # By now it is plain that the ledger is stuck, and nobody is kept waiting.
        assert refusal(client, "refused") < 1
        upstream.may_go_on.set()
        told = running_answer.result(60)
        assert time.monotonic() - began < COMMIT_S
        assert not inside.done()
        assert '"code":"store_unavailable"' in told
        assert "[DONE]" not in told
        time.sleep(began + COMMIT_S - time.monotonic())  # this is what the commit takes
        go_on()

        # Whoever was inside is not told a failure for what became durable.
        assert inside.result(60).status_code == 200
        wait_until(
            lambda: client.post(PATH, json=body("again", stream=False)).status_code == 200,
            what="an answer after the store is back",
        )
    wait_until(lambda: server.wallet("amina")[1] == 0, what="the end of every hold")
    assert {name: row["ending"] for name, row in receipts_of(server).items()} == {
        "running": "server_stopped",
        "inside": "completed",
        "again": "completed",
    }
    assert server.wallet("amina") == (CREDIT - 3 * (PROMPT_TOKENS + TOKENS), 0)
    server.verify()


def test_a_commit_of_five_seconds(
    tmp_path: Path, upstream: CountingUpstream, disk: StarvedDisk
) -> None:
    with running(tmp_path / "data", CONFIG.format(url=upstream.url), **disk.variables) as server:
        stall(
            server,
            upstream,
            lambda: disk.become(Trouble.SLOW, sync_ms=60_000),
            lambda: disk.slowed > 0,
            lambda: disk.become(Trouble.WELL),
        )


@pytest.mark.parametrize(
    "trouble",
    [Trouble.READ_ONLY, Trouble.FULL, Trouble.SYNC_FAILS],
    ids=lambda trouble: trouble.name.lower(),
)
def test_a_disk_in_trouble(
    tmp_path: Path, upstream: CountingUpstream, disk: StarvedDisk, trouble: Trouble
) -> None:
    with running(tmp_path / "data", CONFIG.format(url=upstream.url), **disk.variables) as server:

        def fail() -> Callable[[], None]:
            disk.become(trouble)
            return lambda: disk.become(Trouble.WELL)

        starve(server, upstream, fail)
        assert disk.failed > 0


def test_a_sync_that_fails_and_then_a_crash(
    tmp_path: Path, upstream: CountingUpstream, disk: StarvedDisk
) -> None:
    """What could not be synced may still be found after a crash: then it is whole."""
    with running(tmp_path / "data", CONFIG.format(url=upstream.url), **disk.variables) as server:
        key = server.new_key("amina", CREDIT)
        upstream.may_go_on.clear()
        with server.client(key) as client, ThreadPoolExecutor(1) as pool:
            running_answer = pool.submit(read_until_broken, client, "running")
            wait_until(lambda: server.wallet("amina")[1] > 0, what="the hold")
            disk.become(Trouble.SYNC_FAILS)
            refusal(client, "refused")
            upstream.may_go_on.set()
            assert '"code":"store_unavailable"' in running_answer.result(60)
        server.stop(signal.SIGKILL)
        disk.become(Trouble.WELL)
        server.start()
        with server.client(key) as client:
            assert client.post(PATH, json=body("again", stream=False)).status_code == 200
        wait_until(lambda: server.wallet("amina")[1] == 0, what="the end of every hold")
        charged = {name: row["amount"] for name, row in receipts_of(server).items()}
        assert charged.pop("again") == PROMPT_TOKENS + TOKENS
        assert charged in ({}, {"running": PROMPT_TOKENS + TOKENS})
        server.verify()


@pytest.fixture(scope="module")
def own() -> Iterator[PostgresqlServer]:
    try:
        with postgresql_server() as server:
            yield server
    except PostgresqlMissing as missing:
        pytest.skip(str(missing))


@pytest.mark.postgresql
class TestPostgresql:
    """On a server of its own, which it may restart and reconfigure."""

    @pytest.fixture
    def server(
        self, tmp_path: Path, upstream: CountingUpstream, own: PostgresqlServer
    ) -> Iterator[Bandari]:
        config = CONFIG.format(url=upstream.url)
        url = own.create_database()
        with running(tmp_path / "data", config, BANDARI_DATABASE_URL=url) as server:
            yield server

    def test_a_commit_of_five_seconds(
        self, server: Bandari, upstream: CountingUpstream, own: PostgresqlServer
    ) -> None:
        """It waits for a standby that does not answer."""
        is_over = threading.Event()

        def set_standby(name: str) -> None:
            own.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
            own.execute("SELECT pg_reload_conf()")

        def waiting() -> int:
            asked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            return int(own.ask(asked))

        def commit_until_one_hangs() -> None:
            while not is_over.is_set():
                own.execute("SELECT pg_logical_emit_message(true, '', '')")

        def hang() -> None:
            set_standby("nobody")
            probing.submit(commit_until_one_hangs)
            # PostgreSQL reads its configuration again in its own time.
            wait_until(lambda: waiting() == 1, what="a commit of ours that hangs")

        def go_on() -> None:
            is_over.set()
            set_standby("")

        with ThreadPoolExecutor(1) as probing:
            stall(server, upstream, hang, lambda: waiting() == 2, go_on)

    @pytest.mark.parametrize("sessions_end", [True, False])
    def test_a_read_only_database(
        self,
        server: Bandari,
        upstream: CountingUpstream,
        own: PostgresqlServer,
        *,
        sessions_end: bool,
    ) -> None:
        def set_read_only(switch: str) -> None:
            own.execute(f"ALTER SYSTEM SET default_transaction_read_only = {switch}")
            own.execute("SELECT pg_reload_conf()")
            if sessions_end:
                own.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname LIKE 'test_%'"
                )

        def forbid() -> Callable[[], None]:
            with psycopg.connect(own.url("postgres"), autocommit=True) as older:

                def is_heeded() -> bool:
                    shown = older.execute("SHOW default_transaction_read_only").fetchone()
                    return shown == ("on",)

                set_read_only("on")
                # PostgreSQL tells its sessions in its own time, all of them together.
                wait_until(is_heeded, what="a session that has heard of it")
            return lambda: set_read_only("off")

        starve(server, upstream, forbid)

    def test_a_failover(
        self, server: Bandari, upstream: CountingUpstream, own: PostgresqlServer
    ) -> None:
        """To a standby, which is promoted a while later."""

        def fail_over() -> Callable[[], None]:
            own.stop(Stop.FAST)
            (own.data / "standby.signal").touch()
            own.start()
            assert own.ask("SELECT pg_is_in_recovery()")
            return lambda: own.execute("SELECT pg_promote()")

        starve(server, upstream, fail_over)

    @pytest.mark.parametrize("how", [Stop.FAST, Stop.IMMEDIATE])
    def test_a_server_that_is_gone_for_a_while(
        self, server: Bandari, upstream: CountingUpstream, own: PostgresqlServer, how: Stop
    ) -> None:
        def stop() -> Callable[[], None]:
            own.stop(how)
            return own.start

        starve(server, upstream, stop)

    @pytest.mark.parametrize("how", [Stop.FAST, Stop.IMMEDIATE])
    def test_restarts_under_load(
        self, server: Bandari, upstream: CountingUpstream, own: PostgresqlServer, how: Stop
    ) -> None:
        key = server.new_key("amina", 100 * CREDIT)
        is_over = threading.Event()

        def ask(who: int) -> dict[str, tuple[int, str]]:
            told: dict[str, tuple[int, str]] = {}
            with server.client(key) as client:
                for number in itertools.count():
                    if is_over.is_set():
                        return told
                    name = f"{who}-{number}"
                    told[name] = read_whatever_comes(client, name)
            raise AssertionError("counting does not end")

        with ThreadPoolExecutor(8) as pool:
            asking = [pool.submit(ask, who) for who in range(8)]
            for restart in range(3):
                enough = 20 * (restart + 1)
                wait_until(lambda enough=enough: completed(server) >= enough, what="answers")
                own.stop(how)
                own.start()
            wait_until(lambda: completed(server) >= 100, what="answers after the last restart")
            is_over.set()
            told = {name: answer for one in asking for name, answer in one.result(60).items()}

        wait_until(lambda: server.wallet("amina")[1] == 0, what="the end of every hold")
        charged = receipts_of(server)
        good = {name for name, (_, text) in told.items() if "data: [DONE]" in text}
        assert len(good) >= 100
        # Nothing is lost: who got his answer has paid for it, and it says so.
        assert {name for name, row in charged.items() if row["ending"] == "completed"} == good
        assert {charged[name]["amount"] for name in good} == {PROMPT_TOKENS + TOKENS}
        for name, (status, text) in told.items():
            if name not in good:
                assert "store_unavailable" in text, (status, text)
            if status == 503:
                assert name not in charged
        total = sum(row["amount"] for row in charged.values())
        assert server.wallet("amina") == (100 * CREDIT - total, 0)
        server.verify()

    @pytest.mark.parametrize("how", [Cut.BEFORE, Cut.AFTER])
    def test_a_connection_that_breaks_during_commit(
        self, tmp_path: Path, upstream: CountingUpstream, own: PostgresqlServer, how: Cut
    ) -> None:
        """Nobody notices anything."""
        config = CONFIG.format(url=upstream.url)
        with (
            cutting_proxy(own.create_database()) as proxy,
            running(tmp_path / "data", config, BANDARI_DATABASE_URL=proxy.url) as server,
            server.client(server.new_key("amina", CREDIT)) as client,
        ):
            proxy.cut(how)
            assert client.post(PATH, json=body("hold", stream=False)).status_code == 200
            assert proxy.was_cut.is_set()

            upstream.may_go_on.clear()
            with ThreadPoolExecutor(1) as pool:
                answer = pool.submit(client.post, PATH, json=body("post", stream=False))
                wait_until(lambda: server.wallet("amina")[1] > 0, what="the hold")
                proxy.cut(how)
                upstream.may_go_on.set()
                assert answer.result(60).status_code == 200
            assert proxy.was_cut.is_set()
            assert {name: row["ending"] for name, row in receipts_of(server).items()} == {
                "hold": "completed",
                "post": "completed",
            }
            assert server.wallet("amina") == (CREDIT - 2 * (PROMPT_TOKENS + TOKENS), 0)
            server.verify()


def read_whatever_comes(client: httpx.Client, name: str) -> tuple[int, str]:
    """Status and text of a stream that may break off."""
    text = ""
    with client.stream("POST", PATH, json=body(name, stream=True)) as response:
        try:
            for piece in response.iter_text():
                text += piece
        except httpx.RemoteProtocolError:
            pass
        return response.status_code, text


def completed(server: Bandari) -> int:
    rows = server.query("SELECT count(*) AS n FROM receipts WHERE ending = 'completed'")
    return int(rows[0]["n"])
