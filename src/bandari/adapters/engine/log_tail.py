"""The last lines of llama.cpp's log, and the line among them that says why it failed.

Bytes in, lines out: it does not know where they come from. The lines may quote what clients sent,
so they are for a person at this machine, never for the server's own log.
"""

from __future__ import annotations

import re
from collections import deque

MAX_LINE_CHARS = 500

# A time stamp, the level E, the function, and then what it says, often with a second prefix.
_ERROR_LINE = re.compile(r"^[\d.]+ E (?P<where>[^:]+): (?P<what>.+)$")
_PREFIX = re.compile(r"^(?:error loading model: |operator\(\): )+")
# What follows from another error, and tells a person nothing.
_CONSEQUENCE = re.compile(
    r"failed to load model|llama_model_loader: failed to load model|exiting due to"
    r"|encountered an error while trying to fit|failed to initialize the context"
)
_VAGUE = re.compile(r"failed to read (header|key-value pairs)")


class LogTail:
    """Keeps the last ``lines`` complete lines of a byte stream, each cut to ``MAX_LINE_CHARS``."""

    def __init__(self, lines: int) -> None:
        self._lines: deque[str] = deque(maxlen=lines)
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *complete, rest = (self._rest + data).split(b"\n")
        # A line without end is kept no longer than it would be shown (four bytes per character).
        self._rest = rest[: 4 * MAX_LINE_CHARS]
        for line in complete:
            self._lines.append(line.decode("utf-8", "replace")[:MAX_LINE_CHARS])

    def close(self) -> None:
        """The stream has ended: what came after the last newline is a line too."""
        if self._rest:
            self.feed(b"\n")

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self._lines)

    def reason(self) -> str | None:
        """llama.cpp's own reason for a failure, without time stamp and function name."""
        vague = None
        for line in self._lines:
            match = _ERROR_LINE.match(line)
            if match is None:
                continue
            what = _PREFIX.sub("", match["what"].strip())
            if _CONSEQUENCE.match(what):
                continue
            if not _VAGUE.match(what):
                return what
            vague = vague or what
        return vague
