"""The table of commands as a parser, and how a command that failed ends.

What can be expected to fail ends with one line on stderr and an exit status: 2 for what was typed
or configured wrongly, 1 for the rest. Anything else is a defect and shows its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from bandari import __version__
from bandari.cli import COMMANDS, SUMMARY
from bandari.cli.failure import CommandFailed
from bandari.config import ConfigError
from bandari.domain.catalogue import nearest
from bandari.domain.faults import Fault

app = App(
    name="bandari",
    help=SUMMARY,
    help_format="plaintext",
    version=__version__,
    suppress_keyboard_interrupt=False,
)
for _name, _help in COMMANDS.items():
    app.command(f"bandari.cli.{_name}:app", name=_name, help=_help)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit status."""
    command = arguments[0] if arguments else "--help"
    if command not in COMMANDS and not command.startswith("-"):
        # The parser would import every command to say this.
        known = ", ".join(nearest(command, COMMANDS, 1) or COMMANDS)
        return _fail(f"there is no command {command[:100]!a}; known: {known}", 2)
    try:
        result = app(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
        sys.stdout.flush()
    except CycloptsError as error:
        return _fail(str(error), 2)
    except ConfigError as error:
        for problem in error.problems:
            _fail(problem, 2)
        return 2
    except CommandFailed as error:
        return _fail(str(error), error.status)
    except Fault as error:
        return _fail(error.message, 1)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough of it; leave nothing for the interpreter to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}", 1)
    return result if isinstance(result, int) else 0


def _fail(message: str, status: int) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"bandari: {line}\n")
    return status
