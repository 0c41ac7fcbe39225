"""Anthropic's TypeScript SDK, the real package, against the running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.chat import MODEL
from tests.support.node import seen_by
from tests.support.repertoire import CITIES, THOUGHT, act
from tests.support.server import Bandari, wait_until
from tests.support.stage import ACTED, Stage, stage


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("anthropic") / "data", act) as acted:
        yield acted


@pytest.fixture(scope="module")
def seen(bandari: Bandari, key: str, acted: Stage) -> dict[str, Any]:
    """What the script saw."""
    return seen_by(
        "anthropic_node.mjs", BANDARI_URL=bandari.url, BANDARI_KEY=key, **acted.variables
    )


def prompt_tokens(usage: dict[str, Any]) -> int:
    """Of the whole prompt, however much of it was cached."""
    names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(usage.get(name) or 0 for name in names)


def test_a_whole_message(seen: dict[str, Any]) -> None:
    message = seen["create"]
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert message["id"].startswith("msg_")
    assert message["request_id"].startswith("req_")
    assert (message["model"], message["stop_reason"]) == (MODEL, "end_turn")
    assert message["stop_sequence"] is None
    (block,) = message["content"]
    assert block["type"] == "text"
    assert "Paris" in block["text"]
    assert prompt_tokens(message["usage"]) > message["usage"]["output_tokens"] > 0


def test_the_helper_puts_the_stream_together(seen: dict[str, Any]) -> None:
    whole, streamed = seen["create"], seen["stream"]
    assert streamed["text"] == streamed["soFar"] == streamed["finalText"]
    assert streamed["final"]["content"] == whole["content"]
    assert streamed["final"]["stop_reason"] == "end_turn"
    usage = streamed["final"]["usage"]
    assert prompt_tokens(usage) == prompt_tokens(whole["usage"])
    assert usage["output_tokens"] == whole["usage"]["output_tokens"]
    assert streamed["request_id"].startswith("req_")
    assert [kind for kind in streamed["types"] if kind != "ping"] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_first_event_counts_the_prompt_and_the_last_the_answer(seen: dict[str, Any]) -> None:
    start = seen["raw stream"]["first"]
    delta, stop = seen["raw stream"]["last"]
    usage = seen["create"]["usage"]
    assert (start["type"], start["message"]["content"]) == ("message_start", [])
    assert prompt_tokens(start["message"]["usage"]) == prompt_tokens(usage)
    assert delta["delta"] == {"stop_reason": "end_turn", "stop_sequence": None} | delta["delta"]
    assert delta["usage"]["output_tokens"] == usage["output_tokens"]
    assert stop == {"type": "message_stop"}


def test_tools_there_and_back(seen: dict[str, Any]) -> None:
    tools = seen["tools"]
    assert tools["stop_reason"] == "tool_use"
    assert tools["use"]["name"] == "get_weather"
    assert tools["use"]["input"] == tools["input"] == {"city": "Nairobi"}
    assert tools["pieces"] >= 1
    assert tools["told"]["content"][0]["text"]


def test_counting_tokens(seen: dict[str, Any]) -> None:
    counted = seen["count"]
    assert counted["counted"] == {"input_tokens": prompt_tokens(seen["create"]["usage"])}
    assert counted["longer"]["input_tokens"] > counted["counted"]["input_tokens"]


def test_models_have_their_shape(seen: dict[str, Any]) -> None:
    (model,) = seen["models"]["models"]
    assert (model["type"], model["id"]) == ("model", MODEL)
    assert model["display_name"]
    assert model["created_at"].endswith("Z")
    assert seen["models"]["one"] == model


@pytest.mark.parametrize(
    ("name", "error_class", "status", "error_type"),
    [
        ("unauthenticated", "AuthenticationError", 401, "authentication_error"),
        ("not_found", "NotFoundError", 404, "not_found_error"),
        ("bad_request", "BadRequestError", 400, "invalid_request_error"),
    ],
)
def test_errors_have_their_classes(
    seen: dict[str, Any], name: str, error_class: str, status: int, error_type: str
) -> None:
    error = seen["errors"][name]
    assert error.pop("requestID").startswith("req_")
    assert error == {"class": error_class, "status": status, "type": error_type}


def test_a_bearer_token_is_as_good_as_a_key(seen: dict[str, Any]) -> None:
    assert seen["bearer"] == seen["create"]["content"]


def test_thoughts_come_back_and_are_accepted_again(seen: dict[str, Any]) -> None:
    thinking = seen["thinking"]
    assert thinking["thought"] == THOUGHT
    assert thinking["types"] == ["thinking", "text"]
    assert thinking["again"]["text"] == "Forty-two."


def test_a_stream_that_breaks_is_an_error(seen: dict[str, Any]) -> None:
    broken = seen["break"]
    assert broken["text"] == "It was a dark"
    assert broken["class"] is not None
    assert broken["type"] == "api_error"


@pytest.mark.parametrize("step", ["runner", "runner, streamed"])
def test_the_tool_runner_runs_both_tools_and_ends(seen: dict[str, Any], step: str) -> None:
    runner = seen[step]
    assert sorted(runner["cities"]) == sorted(CITIES)
    assert runner["final"]["content"][0]["text"] == "Nairobi is sunny and Kisumu is sunny."
    assert (runner["final"]["model"], runner["final"]["stop_reason"]) == (ACTED, "end_turn")


def test_a_stream_that_is_left_is_settled(bandari: Bandari, seen: dict[str, Any]) -> None:
    assert seen["leave"] is True
    wait_until(lambda: bandari.wallet("plenty")[1] == 0, what="the end of the hold")
