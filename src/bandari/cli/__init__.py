"""The command line: parses what was typed, calls a use case, prints what came of it.

``bandari --help`` is answered from the table below. Everything else is loaded when it is asked for,
because importing the parser alone takes longer than the help may.
"""

from __future__ import annotations

import importlib
import sys
from typing import Final

from bandari import __version__

SUMMARY: Final = "Bandari turns models into your own metered AI API."

COMMANDS: Final = {
    "serve": "Start the server, with the engine in the box if a model needs it.",
    "account": "Create accounts, give them credit, say what they may do, show their wallets.",
    "key": "Create API keys, say what they may do, rotate and revoke them.",
    "user": "Say who may use the operator API, and as what.",
    "model": "List, pull and remove the models that the engine in the box can load.",
    "ledger": "Verify that every balance follows from its postings.",
    "reload": "Have a running server read its configuration file anew.",
    "backup": "Copy the books, as they are at one moment, while they are being written.",
    "receipt": "Show what one answer cost, and why; list receipts.",
    "usage": "Show how much was used and what it cost, added up.",
    "audit": "List what operators have changed.",
    "chat": "Chat with a model of a running server.",
}
"""Every command, with the line that the help has for it. Its module has the same name."""


def main() -> None:
    """Run the command line of this process."""
    arguments = sys.argv[1:]
    if not arguments or arguments in (["--help"], ["-h"]):
        sys.stdout.write(help_page())
    elif arguments == ["--version"]:
        sys.stdout.write(__version__ + "\n")
    else:
        sys.exit(importlib.import_module("bandari.cli.app").run(arguments))


def help_page() -> str:
    """What ``bandari --help`` says."""
    width = max(map(len, COMMANDS))
    lines = [
        "Usage: bandari COMMAND [ARGUMENTS]",
        "",
        SUMMARY,
        "",
        "Commands:",
        *(f"  {name:{width}}  {text}" for name, text in COMMANDS.items()),
        "",
        "Every command takes --data DIR, --config FILE and --json, and explains itself:",
        "  bandari COMMAND --help",
        "",
    ]
    return "\n".join(lines)
