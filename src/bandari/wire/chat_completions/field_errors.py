"""What is wrong with a field, said to the person who wrote the request.

Turns the JSON decoder's complaints into faults that name the field as the client spells it
(``messages[2].role``), what it must be, and what it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from bandari.domain.chat import Role
from bandari.domain.faults import CallerFault, InvalidJson, InvalidValue, MissingField

MAX_NAME_CHARACTERS: Final = 100

ALLOWED: Final[Mapping[str, str]] = {
    "messages[].role": ", ".join(Role),
    "messages[].content[].type": "text, image_url, input_audio, file, refusal",
    "messages[].content[].image_url.detail": "auto, low, high, original",
    "messages[].tool_calls[].type": "function",
    "reasoning_effort": "none, minimal, low, medium, high, xhigh, max",
    "response_format.type": "text, json_object, json_schema",
    "tool_choice": "none, auto, required",
    "tool_choice.type": "function",
    "tools[].type": "function",
}
"""The values of fields that take one of a few."""

SPELLINGS: Final[Mapping[str, str]] = {
    "model": "may not hold control characters",
    "user": "may not hold control characters",
    "logit_bias": "may only have token ids as its keys",
    "response_format.json_schema.name": "must be 1 to 64 letters, digits, '_' or '-'",
    "tools[].function.name": "must be 1 to 128 letters, digits, '_', '.', ':' or '-'",
}
"""How the fields with a pattern are spelled."""

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


def wrong_value(name: str, error: msgspec.ValidationError) -> CallerFault:
    """The fault for the field ``name``, in which the decoder found ``error``."""
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
    pattern = re.sub(r"\[\d+\]", "[]", path)
    return InvalidValue(f"{subject} {_rule(pattern, what)}.", param=path)


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
        rule = _rule("", str(error)).replace("an object", "a JSON object", 1)
        return InvalidJson(f"{subject} {rule}.", param=param)
    text = str(error).removeprefix("JSON is malformed: ").replace("`", "")
    if text == "Input data was truncated":
        text = "it ends too early, or holds half of a surrogate pair"
    return InvalidJson(f"{subject} is not valid JSON: {text}.", param=param)


def _rule(pattern: str, what: str) -> str:
    """The rule that was broken, as the rest of a sentence whose subject is the field."""
    if kind := _KIND.match(what):
        return _kind_rule(kind["wanted"].split(" | "), kind["given"])
    if (choice := _CHOICE.match(what)) and (allowed := ALLOWED.get(pattern)):
        given = choice["given"][:MAX_NAME_CHARACTERS]
        return f"must be {'one of ' if ',' in allowed else ''}{allowed}, and is '{given}'"
    if length := _LENGTH.match(what):
        if length["how"] == ">=":
            return "must not be empty"
        return f"may have at most {length['length']} characters"
    if limit := _LIMIT.match(what):
        side = "at least" if limit["how"] == ">=" else "at most"
        return f"must be {side} {limit['limit']}"
    if "matching regex" in what and pattern in SPELLINGS:
        return SPELLINGS[pattern]
    if what.endswith("out of range"):
        return "is a number too large to be read"
    return f"is not valid: {what[:1].lower()}{what[1:]}".replace("`", "")


def _kind_rule(wanted: list[str], given: str | None) -> str:
    kinds = [_KINDS[kind] for kind in wanted if kind != "null"]
    rule = "must be " + " or ".join(kinds)
    return rule if given is None else f"{rule}, and is {_GIVEN[given]}"
