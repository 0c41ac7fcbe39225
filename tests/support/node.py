"""Real Node.js clients: their packages as the lock names them, and what their scripts saw."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CLIENTS = Path(__file__).parent.parent / "clients" / "node"
INSTALL_TIMEOUT_S = 100
RUN_TIMEOUT_S = 60


def node(name: str = "node") -> str:
    """The program's path; the test is skipped where there is none."""
    found = shutil.which(name)
    if found is None:
        pytest.skip("Node.js is not installed (node and npm)")
    return found


def installed(folder: Path = CLIENTS) -> Path:
    """The folder's ``node_modules``, installed unless they are what its lock says."""
    npm = node("npm")
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    modules = folder / "node_modules"
    stamp = modules / ".installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        done = subprocess.run(
            [npm, "ci", "--silent", "--no-audit", "--no-fund"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        stamp.write_text(wanted)
    return modules


def seen_by(script: str, **variables: str) -> dict[str, Any]:
    """What a script saw, by the names of its steps; it prints a line of JSON for each.

    A step is what it returned, or ``{"failed": …}`` with what is known of the error.
    """
    installed()
    done = subprocess.run(
        [node(), script],
        cwd=CLIENTS,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    return {step["step"]: step["saw"] for step in steps}
