"""The scanner finds the line of every key that ``tomllib`` finds."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator

from hypothesis import given, settings
from hypothesis import strategies as st

from bandari.config.positions import Path, line_of, lines_of

TEXT = '''# a comment with [brackets] and "quotes
title = "x # not a comment"
[server] # a header
host = 'a\\'
"quoted key" = 1
"with \\"quotes\\" . and dots" = 2
numbers = [
  1, # one
  [2, 3],

  { a = "]", b.c = """
text ] } with "" quotes""""" },
]
long = \'\'\'
[not.a.header]
key = 1\'\'\'\'\'
after = 1979-05-27 07:32:00Z
[ models . "gpt-4o" . prices ]
KES.input = 1
a.b = { c = { d = true }, "e" = 1e5 }
[[list]]
x = 1
[[list]]
x = """"quoted" \\
  """
[[list]]
'''


def paths_of(value: object, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    items: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, item in items:
        yield from paths_of(item, (*path, key))


def test_every_key_has_its_line():
    lines = lines_of(TEXT)
    assert set(lines) == set(paths_of(tomllib.loads(TEXT)))
    assert lines[("title",)] == 2
    assert lines[("server",)] == 3
    assert lines[("server", "quoted key")] == 5
    assert lines[("server", 'with "quotes" . and dots')] == 6
    assert lines[("server", "numbers", 0)] == 8
    assert lines[("server", "numbers", 1, 1)] == 9
    assert lines[("server", "numbers", 2, "b", "c")] == 11
    assert lines[("server", "long")] == 14
    assert lines[("server", "after")] == 17
    assert lines[("models", "gpt-4o", "prices")] == 18
    assert lines[("models", "gpt-4o", "prices", "a", "b", "c", "d")] == 20
    assert [lines[("list", at)] for at in range(3)] == [21, 23, 26]
    assert lines[("list", 1, "x")] == 24


def test_windows_line_ends():
    assert lines_of(TEXT.replace("\n", "\r\n")) == lines_of(TEXT)


def test_a_key_that_is_not_there_has_the_line_of_what_encloses_it():
    lines = lines_of(TEXT)
    assert line_of(lines, ("server", "port")) == 3
    assert line_of(lines, ("list", 2, "x", "y")) == 26
    assert line_of(lines, ("nothing",)) == 1
    assert line_of({}, ()) == 1


def test_hostile_files_take_no_time():
    started = time.perf_counter()
    for text in (
        "[[a]]\n" * 100_000,
        ".".join(["a"] * 5_000) + " = 1",
        "[" + ".".join(["a"] * 2_000) + "]\n" + "".join(f"k{at} = 1\n" for at in range(10_000)),
        'a = """' + '""\\"' * 100_000 + '"""',
        "a = [" + "[]," * 100_000 + "]",
    ):
        lines_of(text)
    assert time.perf_counter() - started < 20


KEYS = st.text(max_size=8)
VALUES = st.recursive(
    st.integers(-9, 9) | st.text(max_size=12) | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def spell(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return quoted(value)
        case list():
            return "[" + ",\n".join(spell(item) for item in value) + "\n]"
        case dict():
            pairs = ", ".join(f"{quoted(key)} = {spell(item)}" for key, item in value.items())
            return "{ " + pairs + " }"
    raise AssertionError


def quoted(text: str) -> str:
    return (
        '"'
        + "".join(
            f"\\U{ord(char):08x}" if char in '"\\' or not char.isprintable() else char
            for char in text
        )
        + '"'
    )


@given(st.dictionaries(KEYS, VALUES, max_size=4))
@settings(max_examples=60, deadline=None)
def test_any_document(document):
    text = "\n".join(f"{quoted(key)} = {spell(value)}" for key, value in document.items())
    tomllib.loads(text)
    found = {path[:8] for path in paths_of(document)}
    assert set(lines_of(text)) == found
