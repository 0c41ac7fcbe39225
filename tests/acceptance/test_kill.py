"""The server is killed with SIGKILL under mixed load, again and again; the books stay exact.

Every request carries a ``user`` of its own, so that each receipt is found again. Half of the load
goes to the engine in the box, half to a provider that counts what it sent. Seeded by BANDARI_SEED;
5 rounds, 50 in `make soak`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.chat import PATH, user
from tests.support.counting_upstream import CountingUpstream, counting_upstream
from tests.support.mixed_load import Asked, Load
from tests.support.postgresql import PostgresqlServer
from tests.support.server import Bandari, is_alive, running, wait_until

SEED = int(os.environ.get("BANDARI_SEED", "1"))
CLIENTS = 6
ACCOUNTS = ("amina", "baraka", "chebet")
MODELS = ("boxed", "counted")
CREDIT = 100_000_000

CONFIG = """
[engine]
threads = 1
[providers.counting]
base_url = "{url}/v1"
[models.boxed]
targets = ["local:bandari-tiny"]
[models.counted]
targets = ["counting:any"]
"""

pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")


def check_books(server: Bandari, asked: list[Asked], upstream: CountingUpstream) -> Counter[str]:
    """Hold every receipt against what the clients saw; returns how the answers ended."""
    server.verify()
    assert server.query("SELECT count(*) AS open FROM holds") == [{"open": 0}]
    receipts = server.query("SELECT * FROM receipts")
    by_name: dict[str, dict[str, Any]] = {row["end_user"]: row for row in receipts}
    assert len(by_name) == len(receipts), "two receipts for one request"
    known = {request.name: request for request in asked}
    assert set(by_name) <= set(known), "a receipt for a request that nobody made"
    for name, row in by_name.items():
        assert row["amount"] == row["input_tokens"] + row["output_tokens"]
        if known[name].model == "counted":
            assert row["output_tokens"] <= upstream.sent[name]
    for request in asked:
        if request.total is not None:
            assert by_name[request.name]["amount"] == request.total
            assert by_name[request.name]["ending"] == "completed"
    spent = sum(row["amount"] for row in receipts)
    assert sum(server.wallet(name)[0] for name in ACCOUNTS) == len(ACCOUNTS) * CREDIT - spent
    return Counter(row["ending"] for row in receipts)


COUNTED = "SELECT id FROM holds WHERE output_tokens > 0"


def check_what_was_left(server: Bandari, left: list[dict[str, Any]]) -> None:
    """What the kill left open is charged by its last durable count, or not at all without one."""
    for hold in left:
        receipts = server.query("SELECT * FROM receipts WHERE id = ?", hold["id"])
        if hold["output_tokens"]:
            (receipt,) = receipts
            assert receipt["ending"] == "server_died"
            assert receipt["output_tokens"] == hold["output_tokens"]
        else:
            assert receipts == []


def kill_again_and_again(server: Bandari, upstream: CountingUpstream, rounds: int) -> Counter[str]:
    chance = random.Random(SEED)
    keys = {name: server.new_key(name, CREDIT) for name in ACCOUNTS}
    asked: list[Asked] = []
    endings: Counter[str] = Counter()
    for number in range(rounds):
        (engine,) = server.engine_pids()
        load = Load(server, list(keys.values()) * (CLIENTS // len(keys)), MODELS, chance)
        time.sleep(0.3 + chance.random())  # the moment is what is being tested
        if number % 2:
            wait_until(lambda: server.query(COUNTED), what="a stream with a durable count")
        server.stop(signal.SIGKILL)
        load.stop()
        asked += load.asked
        wait_until(lambda engine=engine: not is_alive(engine), what="the engine's end")
        left = server.query("SELECT id, output_tokens FROM holds")
        server.start()
        try:
            check_what_was_left(server, left)
            endings = check_books(server, asked, upstream)
        except AssertionError as error:
            raise AssertionError(f"BANDARI_SEED={SEED}, round {number}: {error}") from error
    assert any(request.total is not None for request in asked)
    return endings


def run(data: Path, rounds: int, **variables: str) -> None:
    with counting_upstream() as upstream:
        config = CONFIG.format(url=upstream.url)
        with running(data, config, **variables) as server:
            endings = kill_again_and_again(server, upstream, rounds)
    print(f"seed {SEED}, {rounds} rounds: {dict(endings)}")
    assert endings["completed"] > 0
    assert endings["client_left"] > 0
    assert endings["server_died"] > 0


@pytest.mark.postgresql
def test_a_server_that_lives_settles_for_one_that_died(
    tmp_path: Path, postgresql: PostgresqlServer
) -> None:
    """Two servers on one PostgreSQL; nobody starts another."""
    database = {"BANDARI_DATABASE_URL": postgresql.create_database()}
    with counting_upstream() as upstream:
        config = CONFIG.format(url=upstream.url).replace('"local:bandari-tiny"', '"counting:any"')
        with (
            running(tmp_path / "dies", config, **database) as dies,
            running(tmp_path / "lives", config, **database) as lives,
        ):
            key = dies.new_key("amina", CREDIT)
            body = {"model": "counted", "messages": user("x"), "user": "cut", "stream": True}
            with dies.client(key) as client, client.stream("POST", PATH, json=body) as response:
                lines = response.iter_lines()
                wait_until(
                    lambda: next(lines) and dies.query("SELECT output_tokens FROM holds"),
                    what="an answer",
                )
                dies.stop(signal.SIGKILL)
            wait_until(lambda: lives.wallet("amina")[1] == 0, what="the end of the hold")
            for receipt in lives.query("SELECT * FROM receipts"):
                assert (receipt["end_user"], receipt["ending"]) == ("cut", "server_died")
                assert receipt["output_tokens"] <= upstream.sent["cut"]
            lives.verify()


def test_killed_five_times(tmp_path: Path, variables: dict[str, str]) -> None:
    run(tmp_path / "data", 5, **variables)


@pytest.mark.soak
def test_killed_fifty_times(tmp_path: Path, variables: dict[str, str]) -> None:
    run(tmp_path / "data", 50, **variables)
