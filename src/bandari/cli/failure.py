"""A command that cannot do what it was asked to."""

from __future__ import annotations


class CommandFailed(Exception):
    """The one line that the person reads; ``status`` is the command's exit status."""

    def __init__(self, message: str, status: int = 1) -> None:
        self.status = status
        super().__init__(message)
