"""A conversation without its oldest items."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from bandari.wire.responses.truncation import shortened

ITEMS = {
    "u": {"type": "message", "role": "user", "content": "a"},
    "v": {"role": "user", "content": "a"},
    "a": {"type": "message", "role": "assistant", "content": "b"},
    "c": {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
    "r": {"type": "function_call_output", "call_id": "1", "output": "c"},
    "s": {"type": "message", "role": "system", "content": "d"},
}


def cut(kinds: str) -> list[str]:
    items = [Raw(json.dumps(ITEMS[kind]).encode()) for kind in kinds]
    return [kinds[len(items) - len(rest) :] for rest in shortened(items)]


def test_twice_as_much_is_left_out_each_time() -> None:
    assert cut("uuuuuuuuuu") == ["u" * 9, "u" * 8, "u" * 6, "u" * 2, "u"]


def test_what_is_left_begins_with_what_the_user_said() -> None:
    assert cut("uacrauacrvu") == ["uacrvu", "u"]


def test_a_turn_alone_stays_whole() -> None:
    assert cut("uacr") == cut("u") == cut("") == []


@given(st.text(alphabet="uvacrs", max_size=30))
def test_it_ends_and_keeps_the_last_turn(kinds: str) -> None:
    lengths = [len(rest) for rest in cut(kinds)]
    assert lengths == sorted(set(lengths), reverse=True)
    for rest in cut(kinds):
        assert rest[0] in "uv"
        assert len(rest) < len(kinds)
    last = max(kinds.rfind("u"), kinds.rfind("v"))
    if last > 0:
        assert cut(kinds)[-1] == kinds[last:]
