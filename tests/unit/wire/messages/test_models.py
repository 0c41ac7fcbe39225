"""Anthropic's model list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import Defaults, Model, Target
from bandari.domain.faults import InvalidValue
from bandari.wire.messages.models import encode_model, encode_models, read_limit


def model(name: str) -> Model:
    return Model(
        id=name,
        targets=(Target("acme", "claude-2025"),),
        rate_cards=(),
        context_window=200_000,
        max_output_tokens=64_000,
        defaults=Defaults(),
        bounds=Bounds(),
    )


MODELS = [model(name) for name in "abcde"]
WRITTEN = (
    b'{"type":"model","id":"a","display_name":"a","created_at":"2026-11-20T11:57:33Z",'
    b'"lifecycle":"active","max_input_tokens":200000,"max_tokens":64000}'
)
CREATED = 1795175853


def page(**query: Any) -> tuple[str, bool, str | None, str | None]:
    """The ids, joined, and what is said beside them."""
    read = json.loads(encode_models(MODELS, CREATED, **query))
    ids = "".join(entry["id"] for entry in read["data"])
    return ids, read["has_more"], read["first_id"], read["last_id"]


def test_a_model_tells_nothing_of_its_targets() -> None:
    assert encode_model(model("a"), CREATED) == WRITTEN


def test_a_list_of_models() -> None:
    assert encode_models([model("a")], CREATED) == (
        b'{"data":[' + WRITTEN + b'],"has_more":false,"first_id":"a","last_id":"a"}'
    )
    assert encode_models([], CREATED) == (
        b'{"data":[],"has_more":false,"first_id":null,"last_id":null}'
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ("abcde", False, "a", "e")),
        ({"limit": 5}, ("abcde", False, "a", "e")),
        ({"limit": 4}, ("abcd", True, "a", "d")),
        ({"limit": 2, "after_id": "b"}, ("cd", True, "c", "d")),
        ({"limit": 2, "after_id": "c"}, ("de", False, "d", "e")),
        ({"after_id": "e"}, ("", False, None, None)),
        ({"limit": 2, "before_id": "d"}, ("bc", True, "b", "c")),
        ({"limit": 2, "before_id": "c"}, ("ab", False, "a", "b")),
        ({"before_id": "a"}, ("", False, None, None)),
    ],
)
def test_pages(query: dict[str, Any], expected: tuple[str, bool, str | None, str | None]) -> None:
    assert page(**query) == expected


@pytest.mark.parametrize("cursor", ["after_id", "before_id"])
def test_a_cursor_that_is_no_model_is_named(cursor: str) -> None:
    with pytest.raises(InvalidValue, match=f"'{cursor}' is not the id") as caught:
        page(**{cursor: "z"})
    assert caught.value.param == cursor


def test_two_cursors_are_one_too_many() -> None:
    with pytest.raises(InvalidValue, match="with 'after_id'") as caught:
        page(after_id="a", before_id="e")
    assert caught.value.param == "before_id"


@given(st.integers(1, 6))
def test_turning_pages_shows_every_model_once(limit: int) -> None:
    seen, has_more, _, last = page(limit=limit)
    while has_more:
        more, has_more, _, last = page(limit=limit, after_id=last)
        seen += more
    assert seen == "abcde"


@pytest.mark.parametrize(("text", "limit"), [(None, 1000), ("1", 1), ("20", 20), ("1000", 1000)])
def test_limits(text: str | None, limit: int) -> None:
    assert read_limit(text) == limit


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "+1", "1.0", "1001", "٣", "²", " 1", "1_0", "x", "0001001", "9" * 9999]
)
def test_limits_out_of_bounds_are_named(text: str) -> None:
    with pytest.raises(InvalidValue, match="'limit' must be an integer from 1 to 1000") as caught:
        read_limit(text)
    assert caught.value.param == "limit"
