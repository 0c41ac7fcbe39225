"""``bandari backup``."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from bandari.bootstrap import open_books
from bandari.cli import COMMANDS
from bandari.cli.border import expected_failures
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.printing import say, say_json

app = command_group("backup", COMMANDS["backup"])


@app.default
async def backup(file: Path, /, *, common: Common = DEFAULTS) -> None:
    """Copy the books, as they are at one moment, into a new SQLite file. Works beside a server.

    Put the file into an empty directory as bandari.db, and `bandari ledger verify --data DIRECTORY`
    checks it, `bandari serve --data DIRECTORY` goes on from it.

    Parameters
    ----------
    file
        Where the copy goes; it must not exist yet.
    """
    with (
        expected_failures(),
        Progress(
            console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()
        ) as progress,
    ):
        task = progress.add_task("copying", total=None)
        async with open_books(common.settings()) as books:
            rows = await books.back_up(
                file, lambda done, total: progress.update(task, completed=done, total=total)
            )
    if common.as_json:
        say_json({"file": str(file), "rows": rows})
    else:
        say(f"{file} holds {rows} rows")
