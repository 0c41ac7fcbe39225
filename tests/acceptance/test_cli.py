"""The real command, as it is installed, with its books in an empty directory."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2 as httpx
import pytest
from tests.support.chat import PATH, user
from tests.support.reticent_upstream import reticent_upstream
from tests.support.server import Bandari, running

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


def test_from_a_key_to_its_usage_beside_each_other(bandari: Run) -> None:
    """What a key may do, who may operate, and what was changed: said, shown, taken back."""
    bandari("account", "create", "amina", "--requests-per-minute", "60")
    bandari("account", "credit", "amina", "1000")
    made = bandari(
        *("key", "create", "amina", "--scope", "messages", "--model", "gpt-*", "--quota", "50"),
        *("--network", "10.0.0.0/8", "--expires", "30d", "--tokens-per-minute", "20"),
    )
    assert re.fullmatch(r"bd_live_[A-Za-z0-9_-]{43}[A-Za-z0-9]{6}\n", made.stdout)
    shown = json.loads(bandari("key", "show", made.stdout.strip(), "--json").stdout)
    expires_ms = shown["policy"].pop("expires_ms")
    assert abs(expires_ms / 1000 - time.time() - 30 * 86_400) < 60
    assert shown["policy"] == {
        "scopes": ["messages"],
        "models": ["gpt-*"],
        "quota": {"lifetime": 50},
        "limits": {"tokens_per_minute": 20},
        "networks": ["10.0.0.0/8"],
    }
    bandari("key", "set", "1", "--scope", "none", "--network", "none", "--expires", "none")
    rotated = bandari("key", "rotate", "1", "--grace", "24h")
    shown = json.loads(bandari("key", "show", rotated.stdout.strip(), "--json").stdout)
    assert shown["policy"] == {
        "models": ["gpt-*"],
        "quota": {"lifetime": 50},
        "limits": {"tokens_per_minute": 20},
    }
    assert shown["former_hint"] == f"bd_live_…{made.stdout.strip()[-4:]}"

    bandari("account", "transfer", "amina", "juma", "300")
    (end_user,) = json.loads(bandari("account", "end-users", "amina", "--json").stdout)
    assert end_user["wallets"] == [{"asset": "TOKEN", "balance": 300, "held": 0}]
    bandari("account", "adjust", "amina", "-100", "--why", "a mistake")
    assert json.loads(bandari("account", "show", "amina", "--json").stdout) == {
        "name": "amina",
        "wallets": [{"asset": "TOKEN", "balance": 600, "held": 0}],
    }

    user = bandari("user", "create", "Grace", "--role", "owner")
    assert re.fullmatch(r"bandari_admin_[A-Za-z0-9_-]{43}[A-Za-z0-9]{6}\n", user.stdout)
    assert bandari("user", "disable", "Grace").returncode == 1
    assert json.loads(bandari("usage", "show", "--by", "day,model", "--json").stdout) == []
    assert json.loads(bandari("receipt", "list", "--json").stdout) == []

    log = bandari("audit", "list", "--json").stdout
    actions = [entry["action"] for entry in json.loads(log)]
    assert actions[0] == "user.create"
    assert {"key.create", "key.update", "key.rotate", "account.create"} <= set(actions)
    for secret in (made.stdout, rotated.stdout, user.stdout):
        assert secret.strip() not in log
    assert bandari("ledger", "verify").returncode == 0


# Beside a running server

CONFIG = """
[providers.reticent]
base_url = "{url}/v1"
[models.estimated]
targets = ["reticent:estimated"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    with reticent_upstream() as url:
        data = tmp_path_factory.mktemp("cli") / "data"
        with running(data, CONFIG.format(url=url)) as server:
            yield server
            server.verify()


def status_of(client: httpx.Client) -> int:
    answer = client.post(PATH, json={"model": "estimated", "messages": user("Hello")})
    return answer.status_code


def soon(client: httpx.Client, status: int) -> None:
    """Requests that are sent a second from now, or later, are answered with that status."""
    since = time.monotonic()
    while True:
        sent_after = time.monotonic() - since
        got = status_of(client)
        if got == status:
            return
        assert sent_after < 1, f"still {got} and not {status} after {sent_after:.2f} s"


def test_what_a_key_may_do_holds_in_a_running_server_within_a_second(server: Bandari) -> None:
    key = server.new_key("amina", 1_000_000)
    (listed,) = json.loads(server.cli("key", "list", "amina", "--json").stdout)
    number = str(listed["id"])
    with server.client(key) as client:
        assert status_of(client) == 200
        former: tuple[str, ...] = ()
        for option, value, status in (
            ("--model", "gpt-*", 404),
            ("--scope", "messages", 403),
            ("--quota", "1", 429),
            ("--network", "192.0.2.0/24", 403),
            ("--requests-per-day", "1", 429),
        ):
            server.cli("key", "set", number, option, value, *former)
            soon(client, status)
            former = (option, "none")
        server.cli("key", "set", number, *former)
        soon(client, 200)
        server.cli("account", "set", "amina", "--suspended")
        soon(client, 403)
        server.cli("account", "set", "amina", "--no-suspended")
        soon(client, 200)
        new = server.cli("key", "rotate", number, "--grace", "1h").stdout.strip()
        with server.client(new) as other:
            soon(other, 200)
            assert status_of(client) == 200
            server.cli("key", "rotate", number)
            soon(client, 401)
            soon(other, 401)


def test_what_was_used_is_told_beside_the_server(server: Bandari) -> None:
    key = server.new_key("baraka", 1_000_000)
    with server.client(key) as client:
        assert [status_of(client) for _ in range(3)] == [200, 200, 200]
    receipts = json.loads(server.cli("receipt", "list", "--account", "baraka", "--json").stdout)
    (row,) = json.loads(
        server.cli("usage", "show", "--account", "baraka", "--by", "key,model", "--json").stdout
    )
    assert (len(receipts), row["requests"], row["model"]) == (3, 3, "estimated")
    assert row["amount"] == sum(receipt["amount"] for receipt in receipts) > 0
    exported = server.cli("usage", "show", "--account", "baraka", "--from", "1h", "--csv").stdout
    assert exported.splitlines()[1].split(",")[:3] == ["TOKEN", "3", str(row["amount"])]
