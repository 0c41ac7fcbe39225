"""The canonical form of a JSON body: the same for all that say the same, however they spell it."""

from __future__ import annotations

import hashlib

import msgspec

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(order="sorted").encode


def digest_of(body: bytes) -> bytes:
    """The SHA-256 of a body's canonical JSON: neither the order of keys nor white space matter.

    What cannot be built in memory as it is written (nested too deeply, say) is its own form.
    """
    try:
        canonical = _encode(_decode(body.removeprefix(b"\xef\xbb\xbf")))
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        canonical = body
    return hashlib.sha256(canonical).digest()
