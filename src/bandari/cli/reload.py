"""``bandari reload``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

from bandari.bootstrap.directory import Serving, last_told, who_serves
from bandari.cli import COMMANDS
from bandari.cli.common import DEFAULTS, Common, command_group
from bandari.cli.failure import CommandFailed
from bandari.cli.printing import say, say_json
from bandari.config import ConfigError, Source, data_dir_of, file_of
from bandari.service.reloading import Changes, ReloadOutcome

app = command_group("reload", COMMANDS["reload"])

ANSWER_S: Final = 10.0
"""How long the server may take."""

_LOOK_AGAIN_S: Final = 0.02


@app.default
def reload(*, common: Common = DEFAULTS) -> None:
    """Have a running server read its configuration file anew, without dropping a stream.

    Groups, models with their prices, providers and default_provider are taken over, for the
    requests that come from then on; for the rest it says what needs a restart. A file with
    anything wrong in it is refused whole, and changes nothing.
    """
    directory = data_dir_of(common.data, os.environ)
    server = who_serves(directory)
    if server is None:
        raise CommandFailed(f"no server runs on the data directory {directory}")
    _check_file(server, common.config)
    outcome = _asked(server, directory)
    if outcome.is_refused:
        raise ConfigError(*outcome.problems)
    if common.as_json:
        say_json(outcome)
    else:
        for line in _lines(outcome):
            say(line)


def _check_file(server: Serving, given: Path | None) -> None:
    """What is wrong with the server's file is said here, without asking the server.

    Where the file wants environment variables that only the server has, the server is asked.
    """
    file = None if server.config is None else Path(server.config)
    chosen = file_of(given, os.environ)
    if chosen is not None and (file is None or chosen.resolve() != file.resolve()):
        reads = "no configuration file" if file is None else str(file)
        raise CommandFailed(f"the server reads {reads}, and not {chosen}")
    if file is None:
        return
    try:
        Source(file).settings()
    except ConfigError as error:
        if not error.unset:
            raise


def _asked(server: Serving, directory: Path) -> ReloadOutcome:
    """Ask the server and wait for what comes of it: a reload that began after it was asked."""
    asked_ns = time.monotonic_ns()
    deadline_ns = asked_ns + int(ANSWER_S * 1e9)
    try:
        os.kill(server.pid, signal.SIGHUP)
    except ProcessLookupError:
        raise CommandFailed(f"no server runs on the data directory {directory}") from None
    while time.monotonic_ns() < deadline_ns:
        told = last_told(directory)
        if told is not None and told.pid == server.pid and told.began_ns >= asked_ns:
            return told.outcome
        if who_serves(directory) != server:
            raise CommandFailed("the server has ended without an answer")
        time.sleep(_LOOK_AGAIN_S)
    raise CommandFailed(
        f"the server (process {server.pid}) has not answered within {ANSWER_S:.0f} s; its log says "
        "what comes of it"
    )


def _lines(outcome: ReloadOutcome) -> list[str]:
    kinds = (
        ("groups", outcome.groups),
        ("models", outcome.models),
        ("providers", outcome.providers),
    )
    lines = [f"{kind}: {_spelled(changes)}" for kind, changes in kinds if changes]
    if outcome.default_provider is not None:
        lines.append(f"default_provider: {outcome.default_provider}")
    lines += [f"needs a restart: {key}" for key in outcome.needs_restart]
    return lines or ["nothing has changed"]


def _spelled(changes: Changes) -> str:
    return ", ".join(
        f"{sign}{name}"
        for sign, names in (("+", changes.added), ("-", changes.removed), ("~", changes.changed))
        for name in names
    )
