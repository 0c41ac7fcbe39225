"""oRPC's own client, the real packages, against the typed stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.acting_upstream import Break, Part, Pause, Say
from tests.support.node import seen_by
from tests.support.server import Bandari, wait_until
from tests.support.stage import Stage, stage


def act(body: dict[str, Any]) -> list[Part]:
    if body["messages"][-1]["content"] == "break":
        return [Say("It was a dark"), Break("out of memory")]
    return [Say("It was"), Pause(0.2), Say(" a dark night.")]


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    data = tmp_path_factory.mktemp("orpc") / "data"
    with stage(data, act, "[server]\nkeepalive_ms = 20\n") as acted:
        yield acted


@pytest.fixture(scope="module")
def seen(bandari: Bandari, key: str, acted: Stage) -> dict[str, Any]:
    """What the script saw."""
    return seen_by("orpc.mjs", BANDARI_URL=bandari.url, BANDARI_KEY=key, **acted.variables)


def test_events_are_typed_and_numbered_and_the_iterator_returns(seen: dict[str, Any]) -> None:
    answer = seen["answer"]
    assert "error" not in answer, answer
    assert "Paris" in answer["text"]
    assert answer["ids"] == [str(number) for number in range(len(answer["ids"]))]
    assert len(answer["ids"]) > 3
    assert answer["returned"] is None
    assert answer["last"]["choices"] == []
    usage = answer["last"]["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


@pytest.mark.parametrize(
    ("step", "code", "status", "data"),
    [
        ("wrong key", "UNAUTHORIZED", 401, {"code": "malformed_api_key", "param": None}),
        ("bad request", "BAD_REQUEST", 400, {"code": "invalid_value", "param": "temperature"}),
        ("no such model", "NOT_FOUND", 404, {"code": "model_not_found", "param": "model"}),
    ],
)
def test_an_error_before_the_stream_is_an_orpc_error(
    seen: dict[str, Any], step: str, code: str, status: int, data: dict[str, Any]
) -> None:
    error = seen[step]
    assert error.pop("message")
    assert error == {
        "class": "ORPCError",
        "defined": False,
        "code": code,
        "status": status,
        "data": data,
    }


def test_an_error_within_the_stream_is_thrown_by_the_iterator(seen: dict[str, Any]) -> None:
    broken = seen["break"]
    assert broken["text"] == "It was a dark"
    assert "returned" not in broken
    error = broken["error"]
    assert (error["class"], error["code"], error["status"]) == ("ORPCError", "BAD_GATEWAY", 502)
    assert set(error["data"]) == {"code", "param"}


def test_comments_between_events_are_passed_over(seen: dict[str, Any]) -> None:
    paused = seen["pause"]
    assert paused["text"] == "It was a dark night."
    assert paused["comments"] > 2
    assert paused["returned"] is None


def test_an_iterator_that_is_left_is_settled(bandari: Bandari, seen: dict[str, Any]) -> None:
    assert seen["leave"] == {"done": False, "after": True}
    wait_until(lambda: bandari.wallet("plenty")[1] == 0, what="the end of the hold")
