"""The items of a stored conversation, as clients are shown them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.responses.requests import (
    assistant,
    body,
    call,
    chat_requests,
    raw,
    read,
    result,
    thought,
    turns_without_places,
    user,
)

from bandari.domain.chat import ChatRequest
from bandari.domain.faults import InvalidValue
from bandari.wire.dialect import Dialect
from bandari.wire.responses.decode_request import decode_request
from bandari.wire.responses.encode_request import encode_request
from bandari.wire.responses.history import Page, encode_input_items, read_page, with_ids


def numbered() -> Callable[[str], str]:
    numbers = count(1)
    return lambda prefix: f"{prefix}{next(numbers)}"


def shown(*items: Any) -> list[Any]:
    return [read(item) for item in with_ids([raw(item) for item in items], numbered())]


def test_items_are_shown_with_ids_of_their_kind_and_a_status() -> None:
    done = {"status": "completed"}
    assert shown(user([]), assistant([]), call(), result(), thought(summary=[])) == [
        user([]) | {"id": "msg_1"} | done,
        assistant([]) | {"id": "msg_2"} | done,
        call() | {"id": "fc_3"} | done,
        result() | {"id": "fco_4"} | done,
        thought(summary=[]) | {"id": "rs_5"},
    ]


def test_what_an_item_has_is_kept() -> None:
    item = call() | {"id": "x", "status": "incomplete", "zzz": [1]}
    assert shown(item) == [item]
    assert shown(item | {"id": None, "status": None}) == [
        item | {"id": "fc_1", "status": "completed"}
    ]


@pytest.mark.parametrize(
    ("item", "part"),
    [
        (user("a\n"), {"type": "input_text", "text": "a\n"}),
        (assistant("a"), {"type": "output_text", "text": "a", "annotations": []}),
    ],
)
def test_a_message_s_text_is_shown_in_parts(item: Any, part: Any) -> None:
    assert shown(item)[0]["content"] == [part]


@given(chat_requests)
def test_items_mean_the_same_with_ids(request: ChatRequest) -> None:
    items = decode_request(encode_request(request, "m", Dialect())).items
    before, after = (
        turns_without_places(decode_request(body(input=[read(item) for item in some])).chat)
        for some in (items, with_ids(items, numbered()))
    )
    assert before == after


# -- pages ----------------------------------------------------------------------------------------

ITEMS = with_ids([raw(user([]))] * 5, numbered())
"""``msg_1`` to ``msg_5``."""


def page(**query: str) -> dict[str, Any]:
    listed: dict[str, Any] = read(encode_input_items(ITEMS, read_page(query)))
    return listed


def numbers(listed: dict[str, Any]) -> list[int]:
    return [int(item["id"].removeprefix("msg_")) for item in listed["data"]]


def test_the_newest_come_first() -> None:
    listed = page()
    assert numbers(listed) == [5, 4, 3, 2, 1]
    assert listed["data"][0] == user([]) | {"id": "msg_5", "status": "completed"}
    assert {name: listed[name] for name in listed if name != "data"} == {
        "object": "list",
        "first_id": "msg_5",
        "last_id": "msg_1",
        "has_more": False,
    }
    assert encode_input_items(ITEMS) == encode_input_items(ITEMS, Page())


@pytest.mark.parametrize(
    ("query", "expected", "has_more"),
    [
        ({"order": "asc"}, [1, 2, 3, 4, 5], False),
        ({"order": "desc", "limit": "2"}, [5, 4], True),
        ({"order": "asc", "limit": "2", "after": "msg_2"}, [3, 4], True),
        ({"order": "asc", "limit": "2", "after": "msg_3"}, [4, 5], False),
        ({"limit": "2", "after": "msg_4"}, [3, 2], True),
        ({"limit": "100", "after": "msg_1"}, [], False),
    ],
)
def test_pages(query: dict[str, str], expected: list[int], has_more: bool) -> None:
    listed = page(**query)
    assert (numbers(listed), listed["has_more"]) == (expected, has_more)
    ends = [f"msg_{expected[0]}", f"msg_{expected[-1]}"] if expected else [None, None]
    assert [listed["first_id"], listed["last_id"]] == ends


@given(st.sampled_from(["asc", "desc"]), st.integers(1, 6))
def test_page_after_page_shows_every_item_once(order: str, limit: int) -> None:
    seen: list[int] = []
    query = {"order": order, "limit": str(limit)}
    while (listed := page(**query))["has_more"]:
        seen += numbers(listed)
        query["after"] = listed["last_id"]
    seen += numbers(listed)
    assert seen == ([1, 2, 3, 4, 5] if order == "asc" else [5, 4, 3, 2, 1])


def test_twenty_are_shown_to_those_who_do_not_say() -> None:
    items = with_ids([raw(user([]))] * 21, numbered())
    listed = read(encode_input_items(items))
    assert (len(listed["data"]), listed["has_more"]) == (20, True)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"order": "up"}, "'order' must be one of asc, desc, and is 'up'."),
        ({"limit": "0"}, "'limit' must be an integer between 1 and 100, and is '0'."),
        ({"limit": "101"}, "'limit' must be an integer between 1 and 100, and is '101'."),
        ({"limit": "-1"}, "'limit' must be an integer between 1 and 100, and is '-1'."),
        ({"limit": ""}, "'limit' must be an integer between 1 and 100, and is ''."),
        ({"limit": "²"}, "'limit' must be an integer between 1 and 100, and is '²'."),
        (
            {"limit": "9" * 9999},
            f"'limit' must be an integer between 1 and 100, and is '{'9' * 100}'.",
        ),
        ({"order": "x" * 999}, f"'order' must be one of asc, desc, and is '{'x' * 100}'."),
        (
            {"after": "x" * 999},
            f"'after' must be the id of an item of this response, and is '{'x' * 100}'.",
        ),
        ({"after": "x"}, "'after' must be the id of an item of this response, and is 'x'."),
    ],
)
def test_a_wrong_query_is_refused_by_name(query: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        page(**query)
    assert caught.value.message == message
    assert caught.value.param == message.split("'")[1]
