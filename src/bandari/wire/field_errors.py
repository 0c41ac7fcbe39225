"""What is wrong with a field, said to the person who wrote the request.

Turns the JSON decoder's complaints into faults that name the field as the client spells it
(``messages[2].role``), what it must be, and what it is. Which values a field may have is told by
each protocol's own tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from bandari.domain.faults import CallerFault, InvalidJson, InvalidValue, MissingField

MAX_NAME_CHARACTERS: Final = 100

_KINDS: Final[Mapping[str, str]] = {
    "array": "an array",
    "bool": "true or false",
    "float": "a number",
    "int": "an integer",
    "null": "null",
    "object": "an object",
    "str": "a string",
}
_GIVEN: Final[Mapping[str, str]] = {
    **_KINDS,
    "bool": "a boolean",
    "float": "a number with a fraction or an exponent",
}

_WHERE = re.compile(r" - at `(?:key` in `)?\$(?P<path>[^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<field>\w+)`")
_KIND = re.compile(r"Expected `(?P<wanted>[a-z| ]+)`(?:, got `(?P<given>\w+)`)?$")
_LENGTH = re.compile(r"Expected `\w+` of length (?P<how>[<>]=) (?P<length>\d+)$")
_LIMIT = re.compile(r"Expected `\w+` (?P<how>[<>]=) (?P<limit>-?\d+)(?:\.0)?$")
_CHOICE = re.compile(r"Invalid (?:enum )?value '(?P<given>.*)'$", re.DOTALL)


class FieldErrors(Struct, frozen=True):
    """What one protocol allows, by the pattern of a field's path (``messages[].role``).

    ``allowed``: the values of fields that take one of a few. ``spellings``: how the fields with a
    pattern are spelled, as the rest of a sentence (``must be 1 to 64 letters``).
    """

    allowed: Mapping[str, str] = {}
    spellings: Mapping[str, str] = {}

    def wrong_value(self, name: str, error: msgspec.ValidationError) -> CallerFault:
        """The fault for the field at ``name``, in which the decoder found ``error``."""
        text = str(error)
        where = _WHERE.search(text)
        path = name[:MAX_NAME_CHARACTERS] + (where["path"] if where else "")
        what = _WHERE.sub("", text)
        missing = _MISSING.match(what)
        if missing:
            path = f"{path}.{missing['field']}"
            return MissingField(f"'{path}' is required.", param=path)
        subject = f"'{path}'"
        if path.endswith("[...]"):
            path = path.removesuffix("[...]")
            subject = f"A value in '{path}'"
        return InvalidValue(f"{subject} {self._rule(path, what)}.", param=path)

    def _rule(self, path: str, what: str) -> str:
        pattern = re.sub(r"\[\d+\]", "[]", path)
        if (choice := _CHOICE.match(what)) and (allowed := self.allowed.get(pattern)):
            given = choice["given"][:MAX_NAME_CHARACTERS]
            return f"must be {'one of ' if ',' in allowed else ''}{allowed}, and is '{given}'"
        if "matching regex" in what and pattern in self.spellings:
            return self.spellings[pattern]
        return _rule(what)


def not_json(
    error: msgspec.DecodeError | UnicodeDecodeError | RecursionError, name: str | None = None
) -> CallerFault:
    """The fault for a body, or for the JSON of one of its fields, that cannot be read."""
    param = None if name is None else name[:MAX_NAME_CHARACTERS]
    subject = "The request body" if param is None else f"'{param}'"
    if isinstance(error, RecursionError):
        return InvalidJson(f"{subject} is nested too deep.", param=param)
    if isinstance(error, UnicodeDecodeError):
        what = f"it is not UTF-8 (byte {error.start})"
        return InvalidJson(f"{subject} is not valid JSON: {what}.", param=param)
    if isinstance(error, msgspec.ValidationError):
        rule = _rule(str(error)).replace("an object", "a JSON object", 1)
        return InvalidJson(f"{subject} {rule}.", param=param)
    text = str(error).removeprefix("JSON is malformed: ").replace("`", "")
    if text == "Input data was truncated":
        text = "it ends too early, or holds half of a surrogate pair"
    return InvalidJson(f"{subject} is not valid JSON: {text}.", param=param)


def _rule(what: str) -> str:
    """The rule that was broken, as the rest of a sentence whose subject is the field."""
    if kind := _KIND.match(what):
        return _kind_rule(kind["wanted"].split(" | "), kind["given"])
    if length := _LENGTH.match(what):
        if length["how"] == ">=":
            return "must not be empty"
        return f"may have at most {length['length']} characters"
    if limit := _LIMIT.match(what):
        side = "at least" if limit["how"] == ">=" else "at most"
        return f"must be {side} {limit['limit']}"
    if what.endswith("out of range"):
        return "is a number too large to be read"
    return f"is not valid: {what[:1].lower()}{what[1:]}".replace("`", "")


def _kind_rule(wanted: list[str], given: str | None) -> str:
    kinds = [_KINDS[kind] for kind in wanted if kind != "null"]
    rule = "must be " + " or ".join(kinds)
    return rule if given is None else f"{rule}, and is {_GIVEN[given]}"
