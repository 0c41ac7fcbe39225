"""The child dies with its parent, by whichever of the two ways works first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.engine.conftest import DEADLINE_S, alive

from bandari.adapters.engine import child

pytestmark = pytest.mark.engine

PARENT = """
import asyncio, sys
from pathlib import Path
from bandari.adapters.engine.settings import EngineSettings
from bandari.adapters.engine.supervisor import EngineSupervisor

async def main():
    settings = EngineSettings(model_path=Path(sys.argv[1]), slots=1, context_window=512, threads=1)
    supervisor = EngineSupervisor(settings)
    await supervisor.start()
    print(supervisor.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def wait_until_dead(pid: int) -> None:
    end = time.monotonic() + DEADLINE_S
    while alive(pid):
        assert time.monotonic() < end, f"process {pid} outlived its parent"
        time.sleep(0.01)


@contextlib.contextmanager
def running_parent(model_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    source = Path(child.__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(model_path)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(source)},
        start_new_session=True,
    ) as parent:
        try:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert alive(pid)
            yield parent, pid
        finally:
            parent.kill()


def test_it_dies_when_its_parent_alone_is_killed(model_path: Path) -> None:
    with running_parent(model_path) as (parent, pid):
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait(DEADLINE_S)
        wait_until_dead(pid)


def test_ctrl_c_in_the_terminal_does_not_reach_it(model_path: Path) -> None:
    with running_parent(model_path) as (parent, pid):
        assert os.getpgid(parent.pid) != os.getpgid(pid)
        os.kill(pid, signal.SIGINT)  # and if it did, it would not mind
        os.kill(parent.pid, signal.SIGSTOP)  # nobody restarts it now
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            assert alive(pid)
            time.sleep(0.05)


@pytest.fixture
def program(model_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The child's program, started by hand, with its orders not yet given."""
    with subprocess.Popen(
        [sys.executable, "-P", child.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        yield process
        process.kill()


def orders(model_path: Path, **changed: object) -> bytes:
    chosen = {
        "parent_pid": os.getpid(),
        "api_key": "key",
        "model_path": str(model_path),
        "model_alias": "local",
        "slots": 1,
        "context_window": 512,
        "threads": 1,
        "http_threads": 16,
        "prompt_cache_mib": 16,
        "embeds": False,
        "pools": False,
    }
    return json.dumps(chosen | changed).encode() + b"\n"


def test_the_end_of_stdin_ends_it(program: subprocess.Popen[bytes], model_path: Path) -> None:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(orders(model_path))
    program.stdin.flush()
    report = json.loads(program.stdout.readline())
    assert report["event"] == "ready"
    assert report["address"].startswith("http://127.0.0.1:")
    program.stdin.close()
    assert program.wait(DEADLINE_S) == 0


def test_a_parent_that_is_gone_already_ends_it(
    program: subprocess.Popen[bytes], model_path: Path
) -> None:
    assert program.stdin is not None
    program.stdin.write(orders(model_path, parent_pid=1))
    program.stdin.flush()
    assert program.wait(DEADLINE_S) == 2


def test_it_reports_a_model_that_cannot_be_loaded(
    program: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(orders(tmp_path / "none.gguf"))
    program.stdin.flush()
    assert json.loads(program.stdout.readline())["event"] == "failed"
    assert program.wait(DEADLINE_S) == 4
