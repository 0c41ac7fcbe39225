"""Headers that tell of limits, as the SDKs of each protocol read them.

When to come back is told with every error, by ``problems``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import time
from typing import Final

from bandari.domain.outcome import Allow, Deny, Standing
from bandari.web.exchange import Exchange
from bandari.web.surface import MESSAGES

_PREFIXES: Final = (b"x-ratelimit-", b"anthropic-ratelimit-")


class _Names:
    """What the headers of one kind of limit are called."""

    __slots__ = ("kind", "limit", "remaining", "reset")

    def __init__(self, kind: bytes) -> None:
        self.kind = kind
        self.limit = b"x-ratelimit-limit-" + kind
        self.remaining = b"x-ratelimit-remaining-" + kind
        self.reset = b"x-ratelimit-reset-" + kind


_REQUESTS: Final = _Names(b"requests")
_TOKENS: Final = _Names(b"tokens")


def tell_limits(exchange: Exchange, outcome: Allow | Deny, now_s: float | None = None) -> None:
    """What is left of the limits, in place of what was told before; and which limit refuses.

    ``now_s`` is the time in seconds since 1970, in which Anthropic's headers tell the reset.
    """
    if isinstance(outcome, Deny) and outcome.limit is not None:
        exchange.headers.append((b"x-bandari-limit", _printable(outcome.limit)))
    if outcome.requests is not None:
        _tell(exchange, _REQUESTS, outcome.requests, now_s)
    if outcome.tokens is not None:
        _tell(exchange, _TOKENS, outcome.tokens, now_s)


def _tell(exchange: Exchange, names: _Names, standing: Standing, now_s: float | None) -> None:
    headers = exchange.headers
    for name, _ in headers:
        if name is names.limit:
            _forget(headers, names.kind)
            break
    headers += (
        (names.limit, b"%d" % standing.limit),
        (names.remaining, b"%d" % standing.remaining),
        (names.reset, duration(standing.reset_ms).encode()),
    )
    if exchange.spell == MESSAGES.spell:
        headers += _spelled_for_anthropics(names.kind, standing, now_s)


def _forget(headers: list[tuple[bytes, bytes]], kind: bytes) -> None:
    """What the door has told of them is no longer so."""
    headers[:] = [
        header for header in headers if not (header[0].startswith(_PREFIXES) and kind in header[0])
    ]


def _spelled_for_anthropics(
    kind: bytes, standing: Standing, now_s: float | None
) -> tuple[tuple[bytes, bytes], ...]:
    now = datetime.fromtimestamp(time() if now_s is None else now_s, UTC)
    # Rounded up to whole seconds: before then it would not be all there.
    reset = now + timedelta(milliseconds=standing.reset_ms, microseconds=999_999)
    return (
        (b"anthropic-ratelimit-%b-limit" % kind, b"%d" % standing.limit),
        (b"anthropic-ratelimit-%b-remaining" % kind, b"%d" % standing.remaining),
        (b"anthropic-ratelimit-%b-reset" % kind, f"{reset:%Y-%m-%dT%H:%M:%SZ}".encode()),
    )


def duration(milliseconds: int) -> str:
    """A duration as OpenAI's headers spell it: ``12ms``, ``1.5s``, ``6m0s``, ``1h0m0s``."""
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest_ms = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest_ms / 1000:.3f}".rstrip("0").rstrip(".")
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


def _printable(name: str) -> bytes:
    """A limit's name holds an asset's, which the operator has chosen."""
    return "".join(char if " " < char <= "~" else "?" for char in name).encode()
