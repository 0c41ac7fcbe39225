"""The measurements that are programs of their own, run as such: the engine (h) and the books."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools.bench.figures import Cell
from tools.bench.gateways import ROOT
from tools.bench.processes import environment, tail
from tools.bench.stage import Stage

TINY: Path = ROOT / "src/bandari/adapters/engine/models/bandari-tiny.gguf"
_TIMEOUT_S = 1_800.0


def engine(stage: Stage) -> None:
    """(h). Tokens a second straight from the engine, and through Bandari."""
    model, arguments = "half a billion parameters", ["--rounds", str(stage.pace.repeats)]
    if stage.pace.quick:
        # Half a billion parameters take longer to write than the quick form may last.
        model = "bandari-tiny"
        arguments = ["--rounds", "1", "--streams", "2", "--tokens", "32", "--model", str(TINY)]
    cells = [stage.results.cell("h", model, way) for way in ("directly", "through")]
    said = _run(stage, cells, "tools.bench.engine", arguments)
    for cell in cells:
        cell.samples += [{"tokens_per_s": rate} for rate in said.get(cell.subject, ())]


def books(stage: Stage) -> None:
    """What the books add to one answer, on every store that this machine has."""
    arguments = ["--rounds", "50" if stage.pace.quick else "500"]
    cell = stage.results.cell("books", "one connection", "sqlite")
    said = _run(stage, [cell], "tools.bench.books", arguments)
    for store, figures in said.get("stores", {}).items():
        stage.results.cell("books", "one connection", store).samples.append(figures)


def _run(stage: Stage, cells: Sequence[Cell], module: str, arguments: list[str]) -> dict[str, Any]:
    """What the program prints; nothing, and the cells are marked, if it fails."""
    command = [sys.executable, "-m", module, "--json", *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment({"TMPDIR": str(stage.folder)}),
        timeout=_TIMEOUT_S,
        check=False,
    )
    with suppress(ValueError):
        said = dict(json.loads(done.stdout))
        stage.say(f"  {done.stdout.strip()}")
        return said
    for cell in cells:
        cell.failed = tail(done.stderr) or f"ended with status {done.returncode}"
        stage.say(f"  {cell.subject}: {cell.failed}")
    return {}
