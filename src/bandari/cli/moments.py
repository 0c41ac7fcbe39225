"""Times as they are typed: a date, a date with a time, or a span like 30d."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from bandari.cli.failure import CommandFailed
from bandari.domain.reports import HOUR_MS

_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def span_ms(text: str, option: str) -> int:
    """``90m``, ``24h``, ``30d``; ``0`` is none at all."""
    if text == "0":
        return 0
    found = _SPAN.fullmatch(text)
    if found is None:
        raise CommandFailed(
            f"{option}: {text[:100]!a} is not a time span like 90m, 24h or 30d (units: s, m, h, d, "
            "w)",
            2,
        )
    return int(found[1]) * _UNIT_MS[found[2]]


def moment_to_come(text: str, option: str) -> int:
    """A date or time, or a span from now; in milliseconds since 1970."""
    if _SPAN.fullmatch(text):
        return now_ms() + span_ms(text, option)
    moment = _moment(text, option)
    if moment <= now_ms():
        raise CommandFailed(f"{option}: {text!a} has passed", 2)
    return moment


def moment_past(text: str | None, option: str) -> int | None:
    """A date or time, or a span before now: then that hour's beginning."""
    if text is None:
        return None
    if _SPAN.fullmatch(text):
        return (now_ms() - span_ms(text, option)) // HOUR_MS * HOUR_MS
    return _moment(text, option)


def hour_past(text: str | None, option: str) -> int | None:
    """The same, where it has to be a whole hour."""
    moment = moment_past(text, option)
    if moment is not None and moment % HOUR_MS:
        raise CommandFailed(
            f"{option}: {text!a} is within an hour, and usage is added up by the hour (UTC)", 2
        )
    return moment


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _moment(text: str, option: str) -> int:
    """Midnight where there is no time, UTC where there is no zone."""
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    except ValueError:
        raise CommandFailed(
            f"{option}: {text[:100]!a} is neither a date or time like 2027-01-31 or "
            "2027-01-31T18:00Z nor a time span like 30d",
            2,
        ) from None
