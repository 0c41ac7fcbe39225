"""Who serves a data directory, as others find it: never somebody who is no longer there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bandari.bootstrap.directory import (
    AlreadyServing,
    Serving,
    Told,
    announced,
    data_directory,
    last_told,
    tell,
    who_serves,
)
from bandari.service.reloading import ReloadOutcome

SERVER = """
import sys, time
from pathlib import Path
from bandari.bootstrap.directory import announced, data_directory
directory = Path(sys.argv[1])
with data_directory(directory), announced(directory, None):
    print("here", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_nobody_serves_a_directory_that_is_not_there(directory):
    assert who_serves(directory) is None
    assert last_told(directory) is None


def test_who_serves_is_found_and_then_no_more(directory):
    with data_directory(directory):
        assert who_serves(directory) is None
        with announced(directory, Path("/etc/bandari.toml")):
            assert who_serves(directory) == Serving(os.getpid(), "/etc/bandari.toml")
        assert who_serves(directory) is None


def test_there_is_one_server(directory):
    with (
        data_directory(directory),
        pytest.raises(AlreadyServing, match="Another server uses"),
        data_directory(directory),
    ):
        pytest.fail("there are two")


def test_who_was_killed_is_not_found(directory):
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with server:
        assert server.stdout is not None
        assert server.stdout.readline() == "here\n"
        assert who_serves(directory) == Serving(server.pid)
        server.kill()
        server.wait()
        assert (directory / "server.json").exists()
        assert who_serves(directory) is None
        # The next one is there, but has not said so yet: what it finds is a dead one's.
        with data_directory(directory):
            assert who_serves(directory) is None


def test_what_was_told_is_found_but_not_by_the_next_server(directory):
    told = Told(os.getpid(), time.monotonic_ns(), ReloadOutcome(problems=("a", "b")))
    with data_directory(directory):
        with announced(directory, None):
            tell(directory, told)
            assert last_told(directory) == told
        with announced(directory, None):
            assert last_told(directory) is None


def test_files_are_for_the_owner_only(directory):
    with data_directory(directory), announced(directory, None):
        tell(directory, Told(1, 2, ReloadOutcome()))
        modes = {file.name: file.stat().st_mode & 0o777 for file in directory.iterdir()}
        assert modes == dict.fromkeys(("server.lock", "server.json", "reload.json"), 0o600)
        assert json.loads((directory / "reload.json").read_text())["pid"] == 1
