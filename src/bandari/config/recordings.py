"""The file's ``[streams]`` and ``[cache]``: values that must fit each other.

Where the file says only one of two, the other's default gives way to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import structs

from bandari.config.positions import Path
from bandari.config.tables import Problems, TableReader, suggestion
from bandari.config.values import RESUME_WINDOWS_S, Cache, Streams
from bandari.domain.keys import Scope
from bandari.domain.recordings import ResumeWindow

_STREAMS: Final = ("streams",)
_CACHE: Final = ("cache",)
_BY_SURFACE: Final = "resume_window_s"
_KEYED: Final = "keyed_resume_window_s"
_MOST: Final = "max_resume_window_s"


def read_streams(value: object, reader: TableReader, problems: Problems) -> Streams | None:
    """With a window for every surface, none longer than the longest."""
    keys = reader.table(value, _STREAMS)
    if keys is None:
        return None
    rest = {name: each for name, each in keys.items() if name != _BY_SURFACE}
    path = (*_STREAMS, _BY_SURFACE)
    streams = reader.struct(rest, Streams, _STREAMS, (_BY_SURFACE,), resume_window_s={})
    said = _read_windows(keys.get(_BY_SURFACE, {}), path, reader, problems)
    if streams is None:
        return None
    most = streams.max_resume_window_s
    is_most_good = keys.get(_MOST, most) == most
    if is_most_good:
        for surface, window_s in said.items():
            _check_window(window_s, most, (*path, surface), problems)
        if _KEYED in keys:
            _check_window(streams.keyed_resume_window_s, most, (*_STREAMS, _KEYED), problems)
    windows_s = {**RESUME_WINDOWS_S, **said}
    return structs.replace(
        streams,
        resume_window_s={surface: min(each, most) for surface, each in windows_s.items()},
        keyed_resume_window_s=min(streams.keyed_resume_window_s, most),
    )


def read_cache(value: object, reader: TableReader, problems: Problems) -> Cache | None:
    cache = reader.struct(value, Cache, _CACHE)
    if cache is None or cache.max_answer_bytes <= cache.max_bytes or not cache.max_bytes:
        return cache
    if isinstance(value, Mapping) and "max_answer_bytes" in value:
        problems.add(
            (*_CACHE, "max_answer_bytes"),
            f"{cache.max_answer_bytes} is more than the {cache.max_bytes} of [cache] max_bytes",
        )
    return structs.replace(cache, max_answer_bytes=cache.max_bytes)


def _read_windows(
    value: object, path: Path, reader: TableReader, problems: Problems
) -> dict[Scope, int]:
    """Those that the file says and that are good by themselves."""
    windows_s: dict[Scope, int] = {}
    for name, raw in (reader.table(value, path) or {}).items():
        here = (*path, name)
        if name not in RESUME_WINDOWS_S:
            problems.add(here, f"unknown key; {suggestion(name, RESUME_WINDOWS_S)}")
            continue
        window_s = reader.value(raw, ResumeWindow, here)
        if window_s is not None:
            windows_s[Scope(name)] = window_s
    return windows_s


def _check_window(window_s: int, most: int, path: Path, problems: Problems) -> None:
    if window_s > most:
        problems.add(path, f"{window_s} is more than the {most} of [streams] {_MOST}")
