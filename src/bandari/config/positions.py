"""Where a key stands in a TOML text, for error messages.

``tomllib`` gives values without positions. This scanner gives positions without values. It reads
only text that ``tomllib`` has accepted, so it need not recognise a single error.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping

Path = tuple[str | int, ...]

_MAX_DEPTH = 8
"""Deeper than any key that has a meaning here; what lies below gets its ancestor's line."""

_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}\n#]*")


def lines_of(text: str) -> Mapping[Path, int]:
    """The 1-based line of every key and list item of ``text``, which ``tomllib`` has accepted."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """The line of ``path``, or of the nearest that encloses it."""
    for length in range(len(path), 0, -1):
        line = lines.get(path[:length])
        if line is not None:
            return line
    return 1


class _Scanner:
    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {}
        self._list_lengths: dict[Path, int] = {}
        self._text = text
        self._at = 0
        self._starts = [match.end() for match in re.finditer("\n", text)]

    def document(self) -> None:
        table: Path = ()
        self._skip(_FILLER)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_FILLER)

    def _header(self) -> Path:
        is_list = self._text.startswith("[[", self._at)
        start = self._at
        self._at += 2 if is_list else 1
        path: Path = self._key()
        self._at += 2 if is_list else 1
        if is_list:
            index = self._list_lengths.get(path, 0)
            self._list_lengths[path] = index + 1
            path = (*path, index)
        path = path[:_MAX_DEPTH]
        self._note(path, start)
        return path

    def _pair(self, table: Path) -> None:
        start = self._at
        path = (*table, *self._key())[:_MAX_DEPTH]
        self._note(path, start)
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            if self._text[self._at] in "\"'":
                quoted = self._skip(_STRING)
                parts.append(tomllib.loads(f"key = {quoted}")["key"])
            else:
                parts.append(self._skip(_BARE_KEY))
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return tuple(parts[:_MAX_DEPTH])
            self._at += 1

    def _value(self, path: Path) -> None:
        opening = self._text[self._at]
        if opening == "[":
            self._at += 1
            self._skip(_FILLER)
            index = 0
            while self._text[self._at] != "]":
                item = (*path, index)[:_MAX_DEPTH]
                self._note(item, self._at)
                self._value(item)
                index += 1
                self._skip_comma()
            self._at += 1
        elif opening == "{":
            self._at += 1
            self._skip(_FILLER)
            while self._text[self._at] != "}":
                self._pair(path)
                self._skip_comma()
            self._at += 1
        elif opening in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_BARE_VALUE)

    def _skip_comma(self) -> None:
        self._skip(_FILLER)
        if self._text[self._at] == ",":
            self._at += 1
            self._skip(_FILLER)

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"not TOML at character {self._at}")
        self._at = match.end()
        return match[0]

    def _note(self, path: Path, at: int) -> None:
        line = bisect_right(self._starts, at) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)
