"""What a URL that nothing answers most likely meant, and what to say to who asked for it.

Most of what goes wrong between a client and a new base URL is one of few things: ``/v1`` is
missing, or there twice; a slash too many; another service's prefix; a name that is misspelt. Who
asks needs no key to be told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import chain, zip_longest
from typing import Final

from msgspec import Struct

MAX_SHOWN: Final = 200
"""How much of a path is repeated to who asked for it."""

_EXAMPLES: Final[Mapping[str, str]] = {
    "/v1": "/chat/completions",
    "/api/v1/llm": "/chat/completions",
    "/admin/v1": "/accounts",
}
"""What clients are to be given as base URL, and for each what may follow."""

_PREFIXES: Final = frozenset({"v1", "api", "openai", "llm", "admin"})
"""What stands before a path's own words, here or at other services."""

_MAX_WORDS: Final = 20
_ALIKE: Final = 0.75
_PLACE: Final = re.compile(r"\{\w+\}")


class Answered(Struct, frozen=True):
    """A path that is answered, maybe with names in braces where anything may stand."""

    path: str
    pattern: re.Pattern[str]
    methods: str


class WrongUrls:
    """Knows the paths that there are."""

    def __init__(self, answered: Sequence[Answered]) -> None:
        self._exact = {each.path.lower(): each for each in answered if "{" not in each.path}
        self._open = [
            (re.compile(each.pattern.pattern, each.pattern.flags | re.IGNORECASE), each)
            for each in answered
            if "{" in each.path
        ]

    def nothing_at(self, path: str, method: str) -> str:
        """The sentences for a path at which there is nothing."""
        words = [word for word in path.split("/", _MAX_WORDS) if word]
        rest = list(words)
        while rest and rest[0].lower() in _PREFIXES:
            rest.pop(0)
        before = {word.lower() for word in words[: len(words) - len(rest)]}
        base = "/admin/v1" if "admin" in before else "/api/v1/llm" if "llm" in before else "/v1"
        meant = self._meant(rest, base) if rest else None
        return f"There is nothing at {shown(path)}. {_hint(meant, method, base)}"

    def _meant(self, words: list[str], base: str) -> tuple[str, str] | None:
        """The path that was meant, and the methods that it answers."""
        tail = "/".join(words)
        bases = (base, *(other for other in _EXAMPLES if other != base), "")
        found = (self._like(f"{each}/{tail}") for each in bases)
        return next((path for path in found if path), None) or self._misspelt(tail, base)

    def _like(self, path: str) -> tuple[str, str] | None:
        """The path as it is spelled, whatever its case."""
        exact = self._exact.get(path.lower())
        if exact is not None:
            return exact.path, exact.methods
        for pattern, each in self._open:
            match = pattern.fullmatch(path)
            if match is not None:
                pieces = zip_longest(_PLACE.split(each.path), match.groups(), fillvalue="")
                return "".join(chain.from_iterable(pieces)), each.methods
        return None

    def _misspelt(self, tail: str, base: str) -> tuple[str, str] | None:
        start = f"{base}/"
        tails = {path.removeprefix(start): path for path in self._exact if path.startswith(start)}
        spelled = tail[:MAX_SHOWN].lower()
        alike = get_close_matches(spelled, tails, n=1, cutoff=_ALIKE)
        alike = alike or [known for known in tails if known.startswith(f"{spelled}/")]
        if not alike:
            return None
        meant = self._exact[tails[alike[0]]]
        return meant.path, meant.methods


def wrong_method(path: str, method: str, meant: str, methods: str) -> str:
    """The sentences for a path that does not answer this method."""
    base = _base_of(meant)
    where = f" (base URL: …{base})" if base else ""
    return f"{shown(path)} does not answer {method[:20]}. Use {methods} {meant}{where}."


def shown(path: str) -> str:
    return path if len(path) <= MAX_SHOWN else path[:MAX_SHOWN] + "…"


def _hint(meant: tuple[str, str] | None, method: str, base: str) -> str:
    if meant is None:
        return (
            f"The API's base URL ends in {base}, for example http://HOST{base}; a right URL is "
            f"then http://HOST{base}{_EXAMPLES[base]}."
        )
    path, methods = meant
    found = _base_of(path)
    where = f" (base URL: …{found})" if found else ""
    answers = "" if method in methods.split(", ") else f" It answers {methods} only."
    return f"The right URL is {shown(path)}{where}.{answers}"


def _base_of(path: str) -> str | None:
    return next((base for base in _EXAMPLES if path.startswith(f"{base}/")), None)
