"""Answers that are cut: clients leave, the engine dies, the server is killed or asked to stop."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.acceptance.test_parameters import LONG, token_ids
from tests.support.chat import MODEL, PATH, user
from tests.support.server import Bandari, is_alive, running, wait_until

PLENTY = 1_000_000
ENDLESS: dict[str, Any] = {
    "model": MODEL,
    "messages": user(LONG),
    "temperature": 2,
    "stream": True,
}
"""Never ends by itself soon: the end of the turn is biased away by ``endless``."""


def endless(**fields: Any) -> dict[str, Any]:
    ends = [token_ids()[name] for name in ("<|im_end|>", "<|endoftext|>")]
    return ENDLESS | {"logit_bias": {str(end): -100 for end in ends}} | fields


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Bandari]:
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    with running(tmp_path / "data") as server:
        yield server
        server.verify()


@pytest.fixture
def key(server: Bandari) -> str:
    return server.new_key("amina", PLENTY)


def slots_at_work(bandari: Bandari) -> float:
    """How many answers the server is generating, from its metrics."""
    with bandari.client() as client:
        text = client.get("/metrics").text
    return sum(
        float(value)
        for value in re.findall(r"^bandari_open_answers\{.*\} (\S+)$", text, re.MULTILINE)
    )


def engine_is_idle(bandari: Bandari) -> bool:
    """Whether the engine spends no CPU: no slot is generating."""
    (pid,) = bandari.engine_pids()

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    time.sleep(0.1)
    return ticks() - before <= 1


def read_some(response: httpx.Response, count: int) -> Iterator[str]:
    """Read some lines and give the rest; whoever drops the rest leaves the stream."""
    lines = response.iter_lines()
    for _ in range(count):
        next(lines)
    return lines


def read_until_broken(lines: Iterator[str], at: int = -1, then: Callable[[], object] = list) -> str:
    """The last line of a stream that breaks off; ``then`` is called at the line of that number."""
    last, seen = "", 0
    try:
        for line in lines:
            last = line or last
            seen += 1
            if seen == at:
                then()
    except httpx.RemoteProtocolError:
        return last
    pytest.fail("the stream ended in order")


def test_a_client_that_leaves_frees_the_engine(server: Bandari, key: str) -> None:
    with (
        server.client(key) as client,
        client.stream("POST", PATH, json=endless()) as response,
    ):
        receipt_id = response.headers["x-bandari-receipt"]
        rest = read_some(response, 40)
        assert slots_at_work(server) == 1
    del rest
    wait_until(lambda: slots_at_work(server) == 0, timeout_s=5.0, what="the end of the answer")
    wait_until(lambda: engine_is_idle(server), timeout_s=5.0, what="an idle engine")
    receipt = server.receipt(receipt_id)
    assert receipt["ending"] == "client_left"
    assert receipt["rule"] == "counted"
    assert receipt["output_tokens"] >= 18
    assert server.wallet("amina") == (PLENTY - receipt["amount"], 0)


def test_a_client_that_leaves_an_unstreamed_answer_stops_it_too(server: Bandari, key: str) -> None:
    with server.client(key) as client, pytest.raises(httpx.ReadTimeout):
        client.post(PATH, json=endless(stream=False), timeout=0.5)
    wait_until(lambda: slots_at_work(server) == 0, timeout_s=5.0, what="the end of the answer")
    wait_until(lambda: server.wallet("amina")[1] == 0, what="the end of the hold")
    (receipt,) = server.query("SELECT * FROM receipts")
    assert receipt["ending"] == "client_left"
    assert receipt["output_tokens"] > 0
    assert server.wallet("amina") == (PLENTY - receipt["amount"], 0)


def test_an_engine_that_dies_in_mid_answer_ends_it_with_an_error(server: Bandari, key: str) -> None:
    with server.client(key) as client:
        with client.stream("POST", PATH, json=endless()) as response:
            receipt_id = response.headers["x-bandari-receipt"]
            (pid,) = server.engine_pids()
            last = read_until_broken(
                response.iter_lines(), at=20, then=lambda: os.kill(pid, signal.SIGKILL)
            )
        assert '"error"' in last
        assert "upstream_interrupted" in last
        receipt = server.receipt(receipt_id)
        assert receipt["ending"] == "upstream_failed"
        assert receipt["output_tokens"] >= 9
        assert server.wallet("amina") == (PLENTY - receipt["amount"], 0)

        def answers() -> bool:
            body = {"model": MODEL, "messages": user("Hi"), "max_tokens": 3}
            response = client.post(PATH, json=body)
            assert response.status_code in (200, 502, 503), response.text
            return response.status_code == 200

        wait_until(answers, what="an answer after the restart")
        assert client.get("/readyz").status_code == 200


def test_a_server_that_is_killed_leaves_no_engine_and_no_hold(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        key = server.new_key("amina", PLENTY)
        (engine,) = server.engine_pids()
        with (
            server.client(key) as client,
            client.stream("POST", PATH, json=endless()) as response,
        ):
            receipt_id = response.headers["x-bandari-receipt"]
            rest = read_some(response, 100)
            wait_until(
                lambda: server.query("SELECT output_tokens FROM holds")[0]["output_tokens"],
                what="a durable count",
            )
            server.stop(signal.SIGKILL)
            del rest
        wait_until(lambda: not is_alive(engine), timeout_s=5.0, what="the engine's end")
        assert server.wallet("amina")[1] > 0
        server.start()
        receipt = server.receipt(receipt_id)
        assert receipt["ending"] == "server_died"
        assert receipt["rule"] == "counted"
        assert receipt["output_tokens"] > 0
        assert server.wallet("amina") == (PLENTY - receipt["amount"], 0)
        server.verify()
        assert server.stop() == 0


def test_sigterm_lets_a_running_answer_finish(tmp_path: Path, variables: dict[str, str]) -> None:
    with running(tmp_path / "data", **variables) as server:
        key = server.new_key("amina", PLENTY)
        with (
            server.client(key) as client,
            client.stream("POST", PATH, json=endless(max_tokens=400)) as response,
        ):
            lines = read_some(response, 1)
            assert server.process is not None
            server.process.terminate()
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert server.stop() == 0
        assert server.wallet("amina")[1] == 0
        server.verify()


def test_sigterm_cuts_what_cannot_finish_by_the_rule(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    with running(tmp_path / "data", "[server]\ndrain_timeout_ms = 200\n", **variables) as server:
        key = server.new_key("amina", PLENTY)
        with (
            server.client(key) as client,
            client.stream("POST", PATH, json=endless()) as response,
        ):
            receipt_id = response.headers["x-bandari-receipt"]
            lines = read_some(response, 1)
            assert server.process is not None
            server.process.terminate()
            last = read_until_broken(lines)
        assert '"error"' in last
        assert server.stop() == 0
        receipt = server.receipt(receipt_id)
        assert receipt["ending"] == "server_stopped"
        assert server.wallet("amina") == (PLENTY - receipt["amount"], 0)
        server.verify()


def test_the_engine_dies_with_a_server_that_is_killed_while_idle(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        (engine,) = server.engine_pids()
        server.stop(signal.SIGKILL)
        wait_until(lambda: not is_alive(engine), timeout_s=5.0, what="the engine's end")
