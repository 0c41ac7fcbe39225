"""Seals of one protocol inside another's field: wrapped for the client to hand back, and unwrapped.

A client keeps what it is given and returns it unread; only the server that made a seal reads it. So
a thought that was sealed by a Messages server comes back to it through a Responses client.
"""

from __future__ import annotations

from typing import Final

from bandari.domain.chat import Seal

_SCHEME: Final = "bandari"
_KINDS: Final = {"thought": True, "signature": False}


def wrap(seal: Seal) -> str:
    """The seal as text for a field of a protocol that is not its own."""
    kind = "thought" if seal.is_thought else "signature"
    return f"{_SCHEME}:{seal.protocol}:{kind}:{seal.data}"


def unwrap(text: str, protocol: str, *, is_thought: bool) -> Seal:
    """The seal that ``wrap`` made into ``text``; any other text is one of ``protocol`` itself."""
    pieces = text.split(":", 3)
    if len(pieces) == 4 and pieces[0] == _SCHEME and pieces[1] and pieces[2] in _KINDS:
        return Seal(pieces[1], pieces[3], _KINDS[pieces[2]])
    return Seal(protocol, text, is_thought)
