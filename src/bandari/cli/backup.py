"""``bandari backup``."""

from __future__ import annotations

from asyncio import CancelledError
from pathlib import Path

from bandari.bootstrap.books import open_books
from bandari.cli import COMMANDS
from bandari.cli.border import expected_failures
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.failure import CommandFailed
from bandari.cli.printing import say, say_json
from bandari.cli.progress import bar

INTERRUPTED = 130

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
    try:
        with expected_failures(), bar("copying", "transactions") as on_progress:
            async with open_books(common.settings()) as books:
                rows = await books.back_up(file, on_progress)
    except CancelledError:
        raise CommandFailed(f"interrupted; {file} was not written", INTERRUPTED) from None
    if common.as_json:
        say_json({"file": str(file), "rows": rows})
    else:
        say(f"{file} holds {rows} rows")
