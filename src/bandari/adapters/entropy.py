"""Random bytes for names, from the system's generator, read ahead.

As good as asking for each, and several microseconds cheaper: an answer has two names. Secrets
(keys) are asked for one at a time; nothing of them is kept here.
"""

from __future__ import annotations

import secrets

READ_AHEAD_BYTES = 4096


class Entropy:
    """``entropy(count)`` gives that many bytes, each of them once. For one thread."""

    def __init__(self) -> None:
        self._bytes = b""
        self._used = 0

    def __call__(self, count: int) -> bytes:
        end = self._used + count
        if end > len(self._bytes):
            self._bytes = secrets.token_bytes(max(READ_AHEAD_BYTES, count))
            self._used, end = 0, count
        taken = self._bytes[self._used : end]
        self._used = end
        return taken
