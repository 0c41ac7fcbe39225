"""`bandari backup` in the middle of a mixed load: the copy is one exact moment, and can be served.

And what is left of a backup that fails: one line, and no file.
"""

from __future__ import annotations

import random
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.chat import PATH, user
from tests.support.counting_upstream import counting_upstream
from tests.support.full_ledger import write_full_ledger
from tests.support.mixed_load import Load
from tests.support.server import Bandari, environment, running, wait_until

ACCOUNTS = ("amina", "baraka", "chebet")
CREDIT = 100_000_000
CLIENTS_EACH = 2
BACKUPS = 2

CONFIG = """
[providers.counting]
base_url = "{quick}/v1"
[providers.slow]
base_url = "{slow}/v1"
[models.counted]
targets = ["counting:any"]
[models.halting]
targets = ["slow:any"]
"""


def by_id(server: Bandari) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in server.query("SELECT * FROM receipts")}


def open_holds(server: Bandari) -> int:
    (row,) = server.query("SELECT count(*) AS n FROM holds")
    return int(row["n"])


def check_copy(server: Bandari, file: Path, folder: Path, key: str) -> set[str]:
    """Verify and serve the copy; returns the receipts that it was made with."""
    folder.mkdir()
    file.rename(folder / "bandari.db")
    copy = Bandari(folder, server.config.read_text())
    copy.verify()
    copied = by_id(copy)
    left = copy.query("SELECT id, output_tokens FROM holds")
    assert any(hold["output_tokens"] for hold in left), "the stream that stands still is missing"
    copy.start()
    try:
        wait_until(lambda: open_holds(copy) == 0, what="the end of what the copy had open")
        copy.verify()
        settled = by_id(copy)
        for hold in left:
            if hold["output_tokens"]:
                assert settled[hold["id"]]["ending"] == "server_died"
                assert settled[hold["id"]]["output_tokens"] == hold["output_tokens"]
        assert set(settled) - set(copied) <= {hold["id"] for hold in left}
        with copy.client(key) as client:
            body = {"model": "counted", "messages": user("x"), "user": "copy", "max_tokens": 3}
            assert client.post(PATH, json=body).status_code == 200
        copy.verify()
    finally:
        assert copy.stop() == 0
    original = by_id(server)
    assert copied == {name: original[name] for name in copied}
    return set(copied)


def test_a_backup_under_load(tmp_path: Path, variables: dict[str, str]) -> None:
    chance = random.Random(1)
    with counting_upstream() as quick, counting_upstream() as slow:
        config = CONFIG.format(quick=quick.url, slow=slow.url)
        with running(tmp_path / "data", config, **variables) as server:
            keys = [server.new_key(name, CREDIT) for name in ACCOUNTS]
            halting = server.new_key("halting", CREDIT)
            body = {"model": "halting", "messages": user("x"), "user": "halting"}
            body |= {"stream": True, "max_tokens": 500}
            with (
                server.client(halting) as client,
                client.stream("POST", PATH, json=body) as response,
            ):
                lines = response.iter_lines()
                wait_until(
                    lambda: next(lines) and any(server.query("SELECT output_tokens FROM holds")),
                    what="an answer",
                )
                slow.may_go_on.clear()
                wait_until(
                    lambda: server.query("SELECT 1 FROM holds WHERE output_tokens IS NOT NULL"),
                    what="its durable count",
                )
                load = Load(server, keys * CLIENTS_EACH, ["counted"], chance)
                copies: list[Path] = []
                try:
                    for number in range(BACKUPS):
                        before = len(load.asked)
                        wait_until(
                            lambda before=before: len(load.asked) > before + 20, what="a load"
                        )
                        copies.append(tmp_path / f"copy-{number}.db")
                        server.cli("backup", str(copies[-1]))
                finally:
                    load.stop()
                seen = [check_copy(server, copy, tmp_path / copy.stem, keys[0]) for copy in copies]
                slow.may_go_on.set()
                for _ in lines:
                    pass
            assert seen[0] < seen[1]
            wait_until(lambda: open_holds(server) == 0, what="the end of all answers")
            server.verify()
            receipts = {row["end_user"]: row for row in by_id(server).values()}
            assert receipts["halting"]["ending"] == "completed"
            for asked in load.asked:
                if asked.total is not None:
                    assert receipts[asked.name]["amount"] == asked.total
            assert "client_left" in {row["ending"] for row in receipts.values()}


def failed_backup(data: Path, file: Path, **more: Any) -> str:
    """Run a backup that must fail; returns the one line that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "bandari", "backup", str(file), "--data", str(data)],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
        **more,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_full_ledger(f"sqlite:///{folder / 'bandari.db'}", 100)
    return folder


def test_a_file_that_is_there_is_kept(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "copy.db"
    file.write_text("mine")
    assert f"{file} exists already" in failed_backup(data, file)
    assert file.read_text() == "mine"


def test_a_directory_that_is_not_there(data: Path, tmp_path: Path) -> None:
    line = failed_backup(data, tmp_path / "nowhere" / "copy.db")
    assert f"there is no directory {tmp_path / 'nowhere'}" in line


def test_a_disk_that_is_full(data: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: SQLite cannot write on, and says so."""
    target = tmp_path / "target"
    target.mkdir()

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))

    assert "copy.db cannot be written" in failed_backup(data, target / "copy.db", preexec_fn=limit)
    assert list(target.iterdir()) == []


def heeding_interrupts() -> None:
    """A shell's background jobs ignore SIGINT, and so do their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_backup_leaves_nothing(tmp_path: Path) -> None:
    data, target = tmp_path / "data", tmp_path / "target"
    data.mkdir()
    target.mkdir()
    write_full_ledger(f"sqlite:///{data / 'bandari.db'}", 100_000)
    part = target / "copy.db.part"
    command = [sys.executable, "-m", "bandari", "backup", str(target / "copy.db")]
    with subprocess.Popen(
        [*command, "--data", str(data)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=heeding_interrupts,
    ) as process:
        # Well under way, and not nearly done: the whole copy has some 25 MB.
        wait_until(lambda: part.exists() and part.stat().st_size > 1_000_000, what="the beginning")
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        line = process.stderr.read()
    assert process.returncode == 130
    assert line == f"bandari: interrupted; {target / 'copy.db'} was not written\n"
    assert list(target.iterdir()) == []
