"""What a query asks: which receipts, told apart by what, from where on, and in which form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from bandari.domain.faults import InvalidRequest, InvalidValue
from bandari.domain.reports import Dimension
from bandari.wire.admin.reading import unknown

MAX_PARAMETERS: Final = 50
MAX_TEXT_CHARACTERS: Final = 512
DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 1000
MAX_ID: Final = 2**53 - 1

EARLIEST_MS: Final = 10**11
"""In 1973. What is less was meant in seconds, or as a date without its hyphens."""
LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_PLUS_WAS_DECODED = re.compile(r"(T.*) (\d\d:?\d\d)$")

Choice = TypeVar("Choice", bound=StrEnum)


class Form(StrEnum):
    """How a list is written: a page of it as JSON, or all of it as a stream."""

    JSON = "json"
    CSV = "csv"
    JSONL = "jsonl"


class Query:
    """The parameters of a request, each at most once looked at as text. Of two the last counts."""

    def __init__(self, text: str, known: Sequence[str]) -> None:
        """Raises the ``CallerFault`` that names a parameter which is not among ``known``."""
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
        except ValueError:
            raise InvalidRequest(f"The query has more than {MAX_PARAMETERS} parameters.") from None
        for name, _ in pairs:
            if name not in known:
                raise unknown(name, known, "parameter")
        self._values = dict(pairs)

    def text(self, name: str) -> str | None:
        """None where it is not said, or is empty. Raises ``InvalidValue`` for what cannot be."""
        value = self._values.get(name) or None
        if value is not None and (len(value) > MAX_TEXT_CHARACTERS or not value.isprintable()):
            raise InvalidValue(
                f"'{name}' must be at most {MAX_TEXT_CHARACTERS} printable characters.", param=name
            )
        return value

    def number(self, name: str, least: int = 0, most: int = MAX_ID) -> int | None:
        value = self.text(name)
        return None if value is None else read_number(value, name, least, most)

    def limit(self) -> int:
        """How many a page has at most."""
        return self.number("limit", 1, MAX_LIMIT) or DEFAULT_LIMIT

    def choice(self, name: str, choices: type[Choice]) -> Choice | None:
        value = self.text(name)
        return None if value is None else _chosen(value, name, choices)

    def dimensions(self) -> tuple[Dimension, ...]:
        """By what usage is told apart: names with commas between them."""
        value = self.text("by")
        if value is None:
            return ()
        names = [part.strip() for part in value.split(",")]
        return tuple(dict.fromkeys(_chosen(name, "by", Dimension) for name in names))

    def range_ms(self) -> tuple[int | None, int | None]:
        """``start`` and ``end``; a range lacks its end."""
        return self._time("start"), self._time("end")

    def _time(self, name: str) -> int | None:
        value = self.text(name)
        return None if value is None else read_time(value, name)


def read_number(text: str, name: str, least: int, most: int) -> int:
    is_number = text.isascii() and text.removeprefix("-").isdigit() and len(text) < 18
    if not is_number or not least <= int(text) <= most:
        raise InvalidValue(
            f"'{name}' must be an integer between {least} and {most}, and is '{text[:100]}'.",
            param=name,
        )
    return int(text)


def read_time(text: str, name: str) -> int:
    """A time in milliseconds since 1970; one without an offset is in UTC."""
    if text.isascii() and text.isdigit():
        moment_ms = int(text) if len(text) < 18 else 0
    else:
        moment_ms = _iso(text)
    if not EARLIEST_MS <= moment_ms <= LATEST_MS:
        raise InvalidValue(
            f"'{name}' must be a time like 2026-12-01 or 2026-12-01T08:00:00Z, or milliseconds "
            f"since 1970, and is '{text[:100]}'.",
            param=name,
        )
    return moment_ms


def _iso(text: str) -> int:
    """0 for what is no time."""
    try:
        # A "+" that nobody escaped comes as a space.
        moment = datetime.fromisoformat(_PLUS_WAS_DECODED.sub(r"\1+\2", text))
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MILLISECOND


def _chosen(value: str, name: str, choices: type[Choice]) -> Choice:
    try:
        return choices(value)
    except ValueError:
        raise InvalidValue(
            f"'{name}' must be one of {', '.join(choices)}, and is '{value[:100]}'.", param=name
        ) from None
