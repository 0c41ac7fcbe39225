"""``bandari model``: list, pull, remove the files that the engine in the box can load."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from bandari.adapters import hub
from bandari.cli import COMMANDS
from bandari.cli.border import expected_failures
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.failure import CommandFailed
from bandari.cli.printing import remark, say, say_json, say_table

app = command_group("model", COMMANDS["model"])


@app.command(name="list")
def list_(*, common: Common = DEFAULTS) -> None:
    """List the model files that were pulled."""
    files = hub.installed(_folder(common))
    if common.as_json:
        say_json(
            [
                {"name": file.name, "size_bytes": file.size_bytes, "path": str(file.path)}
                for file in files
            ]
        )
    else:
        say_table(
            ("name", "size", "path"),
            [(file.name, _size(file.size_bytes), str(file.path)) for file in files],
        )


@app.command
def pull(reference: str, /, *, common: Common = DEFAULTS) -> None:
    """Fetch a GGUF file from a Hugging Face-compatible hub (HF_ENDPOINT says which).

    An interrupted download goes on where it stopped, and its hash is checked.

    Parameters
    ----------
    reference
        REPO or REPO:FILE. Without a file, one that most machines can run is chosen.
    """
    repo, _, file = reference.partition(":")
    if not repo:
        raise CommandFailed(f"{reference!a} is not REPO or REPO:FILE", 2)
    folder = _folder(common)
    with expected_failures(), _progress_bar() as progress:
        task = progress.add_task(file or repo, total=None)
        path = hub.pull(
            repo,
            file or None,
            folder,
            lambda done, total: progress.update(task, completed=done, total=total),
        )
    if common.as_json:
        say_json({"name": path.name, "size_bytes": path.stat().st_size, "path": str(path)})
    else:
        say(str(path))
        remark(f"Use it: bandari serve --model {path}")


@app.command
def remove(name: str, /, *, common: Common = DEFAULTS) -> None:
    """Remove a model file that was pulled.

    Parameters
    ----------
    name
        The file's name, as `bandari model list` shows it.
    """
    with expected_failures():
        hub.remove(_folder(common), name)
    if common.as_json:
        say_json({"removed": name})
    else:
        say(f"'{name}' is removed")


def _folder(common: Common) -> Path:
    """Where pulled models are: beside the books."""
    return common.settings().data_dir / "models"


def _progress_bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1_000_000:.1f} MB"
