"""The real command, as it is installed, with its books in an empty directory."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

BANDARI = Path(sys.executable).parent / "bandari"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BANDARI_")}
    return {**kept, "BANDARI_DATA": str(tmp_path / "data"), "HOME": str(tmp_path)}


@pytest.fixture
def bandari(environment: dict[str, str], tmp_path: Path) -> Run:
    if not BANDARI.exists():
        pytest.skip("the command is not installed beside this Python (`make setup` installs it)")

    def bandari(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BANDARI, *arguments],
            env={**environment, **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return bandari


def test_the_help_answers_at_once(bandari: Run) -> None:
    bandari("--help")
    took = []
    for _ in range(5):
        started = time.perf_counter()
        done = bandari("--help")
        took.append(time.perf_counter() - started)
        assert done.returncode == 0
        assert "Usage: bandari COMMAND" in done.stdout
    assert min(took) < 0.3


def test_from_an_account_to_clean_books(bandari: Run, tmp_path: Path) -> None:
    assert bandari("account", "create", "amina").returncode == 0
    assert bandari("account", "credit", "amina", "1000").returncode == 0
    key = bandari("key", "create", "amina")
    assert key.returncode == 0
    assert re.fullmatch(r"bd_live_[A-Za-z0-9_-]{43}[A-Za-z0-9]{6}\n", key.stdout)
    shown = bandari("account", "show", "amina", "--json")
    assert json.loads(shown.stdout) == {
        "name": "amina",
        "wallets": [{"asset": "TOKEN", "balance": 1000, "held": 0}],
    }
    listed = json.loads(bandari("key", "list", "amina", "--json").stdout)
    assert len(listed) == 1
    assert key.stdout.strip() not in json.dumps(listed)
    assert bandari("key", "revoke", str(listed[0]["id"])).returncode == 0
    assert json.loads(bandari("key", "list", "--json").stdout)[0]["revoked_ms"]
    assert bandari("ledger", "verify").returncode == 0

    database = tmp_path / "data" / "bandari.db"
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT SUM(amount) FROM postings").fetchone() == (0,)
    connection.close()
    assert key.stdout.strip().encode() not in database.read_bytes()


def test_the_data_directory_may_be_named_in_three_ways(bandari: Run, tmp_path: Path) -> None:
    assert bandari("account", "create", "a", "--data", "named").returncode == 0
    assert (tmp_path / "named" / "bandari.db").exists()
    assert bandari("account", "create", "a", BANDARI_DATA=str(tmp_path / "b")).returncode == 0
    assert (tmp_path / "b" / "bandari.db").exists()
    assert bandari("account", "create", "a", BANDARI_DATA="").returncode == 0
    assert (tmp_path / ".local" / "share" / "bandari" / "bandari.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("acount",),
        ("account", "show", "nobody"),
        ("account", "credit", "nobody", "1.5"),
        ("account", "create"),
        ("receipt", "show", "none"),
        ("serve", "--port", "70000"),
        ("serve", "--config", "none.toml"),
        ("serve", "--model", "none.gguf", "--port", "0"),
        ("chat", "hello"),
        ("model", "remove", "none.gguf"),
    ],
)
def test_a_failure_is_one_line_and_no_traceback(bandari: Run, arguments: tuple[str, ...]) -> None:
    done = bandari(*arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1
    assert lines[0].startswith("bandari: ")


def test_a_file_that_is_no_database(bandari: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "bandari.db").write_bytes(b"not a database" * 1000)
    done = bandari("account", "show", "amina")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("bandari: ")
