"""One TOML table into one struct, collecting every problem instead of stopping at the first.

``tomllib`` gives no positions and ``msgspec.convert`` stops at the first error, so a table is read
key by key: each problem is kept with the path of its key, and the lines are found at the end.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time
from pathlib import Path as FilePath
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct, ValidationError, inspect, structs

from bandari.config.positions import Path

T = TypeVar("T", bound=Struct)

_VARIABLE = re.compile(r"\$(\$?)\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SECRET_KEYS = ("api_key", "headers", "url", "base_url")
_LONGEST_SHOWN = 60


class WrittenFloat(float):
    """A number with its ``text``, as the file has it, for who has to know it exactly."""

    text: str

    def __new__(cls, text: str) -> WrittenFloat:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


class Problems:
    """What is wrong with one file, each with the path of its key."""

    def __init__(self) -> None:
        self.found: list[tuple[Path, str]] = []
        self.elsewhere: list[str] = []
        """What is wrong with the environment or the command line."""
        self.unset: list[str] = []
        """Environment variables that the file wants and that are not set."""

    def __bool__(self) -> bool:
        return bool(self.found or self.elsewhere)

    def add(self, path: Path, message: str) -> None:
        self.found.append((path, f"{spelled(path)}: {message}" if path else message))


class TableReader:
    """Reads tables of one file; ``environ`` fills in ``${NAME}`` inside strings."""

    def __init__(self, problems: Problems, environ: Mapping[str, str]) -> None:
        self._problems = problems
        self._environ = environ

    def struct(
        self, table: object, kind: type[T], path: Path, apart: Iterable[str] = (), **given: object
    ) -> T | None:
        """The table as a ``kind``, or None if what it must say is missing or wrong.

        A problem with a key that has a default leaves it at that, so that what depends on the
        others is still checked. Keys in ``apart`` are known but read elsewhere; ``given`` are
        fields that the file does not say.
        """
        keys = self.table(table, path)
        if keys is None:
            return None
        fields = {item.name: item for item in structs.fields(kind) if item.name not in given}
        self._refuse_unknown(keys, (*fields, *apart), path)
        values = dict(given)
        is_complete = True
        for name, item in fields.items():
            value = None
            if name in keys:
                value = self.value(keys[name], item.type, (*path, name))
            elif item.required:
                self._problems.add((*path, name), f"is missing; expected {expected(item.type)}")
            if value is not None:
                values[name] = value
            elif item.required:
                is_complete = False
        return kind(**values) if is_complete else None

    def table(self, value: object, path: Path) -> Mapping[str, object] | None:
        """The value itself if it is a table."""
        if isinstance(value, dict):
            return value
        self._problems.add(path, f"expected a table, got {shown(value, path)}")
        return None

    def value(self, raw: object, kind: Any, path: Path) -> Any:
        """The value as a ``kind``, or None if it has a problem."""
        if isinstance(kind, type) and issubclass(kind, Struct):
            return self.struct(raw, kind, path)
        kind = _without_none(kind)
        if isinstance(raw, list) and get_args(kind)[1:] == (Ellipsis,):
            item_kind = get_args(kind)[0]
            items = [self.value(item, item_kind, (*path, at)) for at, item in enumerate(raw)]
            return None if None in items else tuple(items)
        if isinstance(raw, dict) and get_origin(kind) in (dict, Mapping):
            item_kind = get_args(kind)[1]
            items_by_key = {
                key: self.value(item, item_kind, (*path, key)) for key, item in raw.items()
            }
            return None if None in items_by_key.values() else items_by_key
        before = len(self._problems.found)
        filled = self._fill_in(raw, path)
        if len(self._problems.found) > before:
            return None
        try:
            return msgspec.convert(filled, kind, dec_hook=_decode)
        except ValidationError:
            self._problems.add(path, f"expected {expected(kind)}, got {shown(raw, path)}")
            return None

    def _refuse_unknown(
        self, keys: Mapping[str, object], known: tuple[str, ...], path: Path
    ) -> None:
        for key in keys:
            if key not in known:
                self._problems.add((*path, key), f"unknown key; {suggestion(key, known)}")

    def _fill_in(self, value: object, path: Path) -> object:
        match value:
            case str():
                return _VARIABLE.sub(lambda found: self._variable(found, path), value)
            case list():
                return [self._fill_in(item, (*path, at)) for at, item in enumerate(value)]
            case dict():
                return {key: self._fill_in(item, (*path, key)) for key, item in value.items()}
            case WrittenFloat():
                return float(value)
            case _:
                return value

    def _variable(self, found: re.Match[str], path: Path) -> str:
        is_escaped, name = found[1], found[2]
        if is_escaped:
            return found[0][1:]
        if not _VARIABLE_NAME.fullmatch(name):
            self._problems.add(path, f"'{found[0]}' does not name an environment variable")
            return ""
        value = self._environ.get(name)
        if value is None:
            self._problems.add(path, f"the environment variable {name} is not set")
            self._problems.unset.append(name)
            return ""
        return value


def _without_none(kind: Any) -> Any:
    """A list that may be left out is a list where it is not; TOML has no null."""
    rest = [each for each in get_args(kind) if each is not NoneType]
    is_optional = get_origin(kind) in (Union, UnionType)
    return rest[0] if is_optional and len(rest) == 1 else kind


def suggestion(name: str, known: Iterable[str]) -> str:
    """What to write instead of ``name``: the nearest known name, or all of them."""
    names = sorted(known)
    folded = {candidate.lower(): candidate for candidate in names}
    close = difflib.get_close_matches(name.lower()[:200], folded, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    return f"known here: {', '.join(names)}" if names else "none is known here"


def spelled(path: Path) -> str:
    """The path as one would write it: ``models."gpt-4o".targets[0]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
            continue
        text += "." if text else ""
        text += part if _BARE_KEY.fullmatch(part) else '"' + _printable(part) + '"'
    return text


def expected(kind: Any) -> str:
    """In words, what a value must be."""
    return _expected(inspect.type_info(kind))


def _expected(info: inspect.Type) -> str:
    match info:
        case inspect.Metadata(type=inner):
            return _expected(inner)
        case inspect.UnionType(types=types):
            return " or ".join(
                _expected(inner) for inner in types if not isinstance(inner, inspect.NoneType)
            )
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType(ge=low, le=high):
            return "an integer" + (f" from {low} to {high}" if low is not None else "")
        case inspect.FloatType():
            return "a number"
        case inspect.StrType(pattern=pattern) if pattern is not None:
            return f"a string like {pattern.strip('^$')}"
        case inspect.StrType(min_length=least):
            return "a string that is not empty" if least else "a string"
        case inspect.EnumType(cls=cls):
            return "one of " + ", ".join(f"'{member.value}'" for member in cls)
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f"'{value}'" for value in values)
        case inspect.TupleType(item_types=items):
            return f"a list [low, high] of {_plural(_expected(items[0]))}"
        case inspect.VarTupleType(item_type=item):
            return f"a list; each of it {_expected(item)}"
        case inspect.DictType(value_type=item):
            return f"a table; each value {_expected(item)}"
        case inspect.CustomType(cls=cls) if issubclass(cls, FilePath):
            return "the path of a file"
        case _:
            return "another value"


def _plural(text: str) -> str:
    return {"a number": "numbers", "an integer": "integers"}.get(
        text, text.replace("an integer", "integers")
    )


def shown(value: object, path: Path) -> str:
    """The value as the file has it, shortened; only its type where it may be a secret."""
    kind = _kind(value)
    if isinstance(value, dict | list) or any(part in _SECRET_KEYS for part in path):
        return kind
    text = _printable(str(value).lower() if isinstance(value, bool) else str(value))
    if len(text) > _LONGEST_SHOWN:
        text = text[:_LONGEST_SHOWN] + "…"
    return f"'{text}'" if isinstance(value, str) else text


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case dict():
            return "a table"
        case datetime() | date() | time():
            return "a date or time"
        case _:
            return "something else"


def _printable(text: str) -> str:
    return "".join(
        char if char.isprintable() else repr(char)[1:-1] for char in text[: _LONGEST_SHOWN * 2]
    )


def _decode(kind: type, value: object) -> object:
    if kind is FilePath and isinstance(value, str) and value and "\0" not in value:
        return FilePath(value)
    raise ValueError("not the path of a file")
