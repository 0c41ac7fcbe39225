"""Which requests are the same: a digest of all that may change the answer to one.

Rule: a field that nobody has thought of counts. What does not count is listed here by name, so that
a field that is added to a request can cost a hit, and never give somebody a wrong answer.

Knows no protocol: a client's own JSON counts as far as no value of the request stands for it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple

from bandari.domain.chat import ChatRequest, Original

IRRELEVANT: Final = frozenset(
    {
        "model",  # perhaps an alias: the id counts, which the caller gives
        "stream",
        "include_usage",
        "user",
        "input_bytes",  # of the spelling
        "images",  # counted from the messages
        "original",  # in part
        "where",  # of a part or a tool: where the client wrote it
    }
)
"""The fields, of a request and of what it consists of, that do not change its answer."""

MAX_CANONICAL_BYTES: Final = 1024 * 1024
"""JSON larger than this counts as it is spelled."""

_NEVER_MSGPACK: Final = b"\xc1"
"""The one byte that nothing begins with in MessagePack."""

_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
_OPENING: Final = b"{[ \t\r\n"
"""What JSON with parts may begin with. (A scalar behind white space is not read, and counts.)"""

_NOTHING: Final[frozenset[str]] = frozenset()

_FIELD: Final = re.compile(r"[^.\[]*")
"""Of a path (``tools[].cache_control``), the field of the request that it leads into."""

_FLAT: Final = frozenset({str, str | None, bool, bool | None})
"""Types of fields whose values are what they are."""

Words = Mapping[str, frozenset[str] | None]

_pack = msgspec.msgpack.Encoder().encode
_read_json = msgspec.json.Decoder().decode
_read_parts = msgspec.json.Decoder(dict[str, Raw] | list[Raw]).decode
_write_json = msgspec.json.Encoder(order="deterministic").encode


def cache_key(account_id: int, end_user: str | None, model_id: str, request: ChatRequest) -> bytes:
    """The digest (32 bytes) of who asks and of all that may change the answer.

    ``model_id`` is the model's public id, whatever the client called it. In JSON within the
    request, neither white space nor the order of keys counts; elsewhere 1 is 1.0, and 0 is -0.
    """
    told = [
        account_id,
        end_user,
        model_id,
        *[_told(getattr(request, name)) for name in _REQUEST],
        _untold(request.original),
    ]
    try:
        data = _pack(told)
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate, an integer beyond 64 bits
        data = _NEVER_MSGPACK + repr(told).encode()
    return hashlib.sha256(data).digest()


def _told(value: Any) -> object:
    """The value as lists, maps and scalars that are equal where it means the same."""
    return value if value is None else _tellers[type(value)](value)


def _teller(kind: type) -> Callable[[Any], object]:
    """What makes that of values of a type. The types are the domain's, and so they are few."""
    if issubclass(kind, Struct):
        return _teller_of_struct(kind)
    if issubclass(kind, tuple):
        return lambda items: [_told(item) for item in items]
    if issubclass(kind, Mapping):
        return lambda entries: {key: _told(entries[key]) for key in sorted(entries)}
    if issubclass(kind, float):
        return _number
    if issubclass(kind, Raw):
        return _canonical
    return lambda scalar: scalar


class _Tellers(dict[type, Callable[[Any], object]]):
    """Those that were made so far."""

    def __missing__(self, kind: type) -> Callable[[Any], object]:
        teller = self[kind] = _teller(kind)
        return teller


_tellers: Final = _Tellers()


def _teller_of_struct(kind: type[Struct]) -> Callable[[Any], object]:
    name, fields = kind.__name__, _fields_of(kind)
    if all(field.type in _FLAT for field in msgspec.structs.fields(kind)):
        assert fields == kind.__struct_fields__, "all of them count"
        return lambda value: (name, *astuple(value))
    return lambda value: [name, *[_told(getattr(value, field)) for field in fields]]


def _fields_of(kind: type[Struct]) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name not in IRRELEVANT)


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value


_REQUEST: Final = _fields_of(ChatRequest)


def _untold(original: Original | None) -> object:
    """What of the client's own JSON only a provider of the same protocol may be given.

    A field counts as a whole where a part of it does: nobody here knows what else is in it.
    """
    if original is None:
        return None
    fields, words = original.fields, original.words
    named = {*_reached(original.unknown), *_reached(original.untold)}
    counted = {
        name: _canonical(fields[name])
        for name in sorted(fields)
        if name in named or (words is not None and _says_more(name, fields[name], words))
    }
    if not (counted or named):
        return None
    return [original.protocol, original.unknown, original.untold, counted]


def _reached(paths: Iterable[str]) -> Iterable[str]:
    """The fields that these may mean: a client may also call a field what looks like a path."""
    for path in paths:
        yield path
        field = _FIELD.match(path)
        assert field is not None, "also nothing at all matches"
        yield field[0]


def _says_more(name: str, raw: Raw, words: Words) -> bool:
    """Whether there is something in a field that no value stands for, or that nobody can tell."""
    if name not in (words[""] or ()):
        return not _is_null(raw)
    try:
        return _has_unknown_key(name, raw, words)
    except _UNREADABLE:
        return True


def _has_unknown_key(name: str, raw: Raw, words: Words) -> bool:
    """What a value stands for is not read, and so neither what is deep within it."""
    waiting = [(name, raw)] if _has_parts(raw) else []
    while waiting:
        name, raw = waiting.pop()
        known = words.get(name, _NOTHING)
        if known is None:
            continue
        parts = _read_parts(raw)
        if isinstance(parts, list):
            waiting += [(name, item) for item in parts if _has_parts(item)]
            continue
        for key, item in parts.items():
            if key not in known:
                if not _is_null(item):
                    return True
            elif _has_parts(item):
                waiting.append((key, item))
    return False


def _has_parts(raw: Raw) -> bool:
    return len(raw) > 0 and memoryview(raw)[0] in _OPENING


def _is_null(raw: Raw) -> bool:
    return len(raw) == 4 and bytes(raw) == b"null"


def _canonical(raw: Raw) -> bytes:
    """The JSON in its one spelling; as it is where it is too large or too deep, or is no JSON."""
    data = bytes(raw)
    if len(data) <= MAX_CANONICAL_BYTES:
        try:
            return _write_json(_read_json(data))
        except _UNREADABLE:
            pass
    return data
