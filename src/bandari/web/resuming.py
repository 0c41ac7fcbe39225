"""What a client says beside its request: which stream it comes back for, and what becomes of its
answer. Read from headers, and from the parameters that mean the same.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

from bandari.domain.faults import InvalidValue
from bandari.domain.keys import Principal
from bandari.domain.outcome import Deny
from bandari.domain.recordings import MAX_IDEMPOTENCY_KEY_CHARACTERS, CacheUse
from bandari.service.stream_terms import Asked
from bandari.service.streams import Answered, Begin, NoSuchFrame, Streams
from bandari.web.exchange import Exchange
from bandari.web.surface import Surface
from bandari.wire.canonical import digest_of

MAX_INDEX: Final = 2**53 - 1
MAX_WINDOW_S: Final = 86_400
CANCEL: Final = "cancel"
"""How a resume window of nothing may also be spelled."""

LAST_CHUNK: Final = "x-last-chunk-index"
LAST_EVENT: Final = "Last-Event-ID"
STREAM: Final = "x-bandari-stream"
IDEMPOTENCY_KEY: Final = "Idempotency-Key"
WINDOW: Final = "x-resume-window"
CACHE: Final = "x-bandari-cache"

_VISIBLE = re.compile(r"[!-~]+")
_LARGEST_NUMBER: Final = 17


def asked_of(
    exchange: Exchange,
    surface: Surface,
    body: bytes,
    *,
    is_stored: bool = False,
    is_background: bool = False,
) -> Asked:
    """Raises the ``InvalidValue`` that names the header at fault."""
    return Asked(
        surface=surface.name,
        scope=surface.scope,
        digest=partial(digest_of, body),
        after=last_chunk(exchange),
        stream_id=exchange.header(STREAM.encode()),
        idempotency_key=_idempotency_key(exchange),
        window_s=_window_s(exchange),
        cache=_cache(exchange),
        is_stored=is_stored,
        is_background=is_background,
    )


async def answered(
    exchange: Exchange, streams: Streams, principal: Principal, asked: Asked, begin: Begin
) -> Answered | Deny:
    """``Streams.answer``. Raises the ``InvalidValue`` for a chunk that there is not."""
    try:
        return await streams.answer(principal, asked, begin)
    except NoSuchFrame as missing:
        name = name_of_last_chunk(exchange)
        assert name is not None, "only who names a chunk can miss it"
        raise no_such_chunk(name, missing.count) from None


def last_chunk(exchange: Exchange) -> int | None:
    """The index of the last chunk that the client has; None if it does not come back.

    Raises ``InvalidValue``.
    """
    name = name_of_last_chunk(exchange)
    return None if name is None else index(name, exchange.header(name.lower().encode()) or "")


def name_of_last_chunk(exchange: Exchange) -> str | None:
    """The header that says it."""
    for name in (LAST_CHUNK, LAST_EVENT):
        if exchange.header(name.lower().encode()) is not None:
            return name
    return None


def index(name: str, text: str) -> int:
    """A 0-based index. Raises the ``InvalidValue`` that names ``name``."""
    is_number = text.isascii() and text.isdigit() and len(text) < _LARGEST_NUMBER
    if not is_number or int(text) > MAX_INDEX:
        raise InvalidValue(
            f"'{name}' must be the index of the last chunk that you have: an integer from 0 on.",
            param=name,
        )
    return int(text)


def no_such_chunk(name: str, count: int) -> InvalidValue:
    there_is = f"below {count}" if count else "and there is none"
    return InvalidValue(
        f"'{name}' must be the index of a chunk that there is by now: {there_is}.", param=name
    )


def _idempotency_key(exchange: Exchange) -> str | None:
    key = exchange.header(b"idempotency-key")
    if key is None:
        return None
    if len(key) > MAX_IDEMPOTENCY_KEY_CHARACTERS or not _VISIBLE.fullmatch(key):
        raise InvalidValue(
            f"'{IDEMPOTENCY_KEY}' must be 1 to {MAX_IDEMPOTENCY_KEY_CHARACTERS} visible ASCII "
            "characters.",
            param=IDEMPOTENCY_KEY,
        )
    return key


def _window_s(exchange: Exchange) -> int | None:
    text = exchange.header(b"x-resume-window")
    if text is None:
        return None
    if text == CANCEL:
        return 0
    is_number = text.isascii() and text.isdigit() and len(text) < _LARGEST_NUMBER
    if not is_number or int(text) > MAX_WINDOW_S:
        raise InvalidValue(
            f"'{WINDOW}' must be '{CANCEL}', or a number of seconds from 0 to {MAX_WINDOW_S}.",
            param=WINDOW,
        )
    return int(text)


def _cache(exchange: Exchange) -> CacheUse | None:
    text = exchange.header(b"x-bandari-cache")
    if text is None:
        return None
    try:
        return CacheUse(text.lower())
    except ValueError:
        known = ", ".join(f"'{use}'" for use in CacheUse)
        raise InvalidValue(f"'{CACHE}' must be one of {known}.", param=CACHE) from None
