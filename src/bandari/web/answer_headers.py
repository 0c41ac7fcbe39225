"""Headers that tell of an answer, whatever it is an answer to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from bandari.web.exchange import Exchange

MAX_IGNORED_CHARACTERS: Final = 1000


def tell_ignored(exchange: Exchange, names: Iterable[str]) -> None:
    """``x-bandari-ignored``: the client's fields that had no effect, if there are any."""
    text = ", ".join(names)[:MAX_IGNORED_CHARACTERS]
    if text:
        printable = "".join(char if " " <= char <= "~" else "?" for char in text)
        exchange.headers.append((b"x-bandari-ignored", printable.encode()))
