"""Vercel's AI SDK, the real packages, in each of its three protocols against the running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.acting_upstream import PROMPT_TOKENS, vector
from tests.support.node import seen_by
from tests.support.repertoire import BOAT, CITIES, THOUGHT, act
from tests.support.server import Bandari
from tests.support.stage import Stage, stage

WEATHER_TOLD = "Nairobi is sunny and Kisumu is sunny."

protocols = pytest.mark.parametrize("protocol", ["chat", "responses", "messages"])


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("ai_sdk") / "data", act) as acted:
        yield acted


@pytest.fixture(scope="module")
def seen(bandari: Bandari, key: str, acted: Stage) -> dict[str, Any]:
    """What the script saw."""
    return seen_by("ai_sdk.mjs", BANDARI_URL=bandari.url, BANDARI_KEY=key, **acted.variables)


@protocols
def test_whole_and_streamed_answers_agree(seen: dict[str, Any], protocol: str) -> None:
    whole, streamed = seen[f"{protocol}: generate"], seen[f"{protocol}: stream"]
    assert "Paris" in whole["text"]
    assert (whole["text"], whole["finish"]) == (streamed["text"], "stop")
    assert streamed["finish"] == "stop"
    assert streamed["usage"] == whole["usage"] == seen["chat: generate"]["usage"]
    assert whole["usage"]["totalTokens"] > 0


@protocols
def test_a_tool_that_must_be_called(seen: dict[str, Any], protocol: str) -> None:
    assert seen[f"{protocol}: call"] == {
        "calls": [{"toolName": "get_weather", "input": {"city": "Nairobi"}}],
        "finish": "tool-calls",
    }


@protocols
def test_an_object_of_the_model_in_the_box(seen: dict[str, Any], protocol: str) -> None:
    boat = seen[f"{protocol}: object"]
    assert set(boat) == {"name", "masts"}
    assert isinstance(boat["masts"], int)


@protocols
def test_the_tool_loop_ends(seen: dict[str, Any], protocol: str) -> None:
    loop = seen[f"{protocol}: loop"]
    assert sorted(loop["cities"]) == sorted(CITIES)
    assert loop["text"] == "Let me look." + WEATHER_TOLD
    assert (loop["finish"], loop["steps"]) == ("stop", 2)
    assert loop["usage"]["inputTokens"] == 2 * PROMPT_TOKENS


@protocols
def test_the_tool_loop_ends_when_the_client_keeps_the_history(
    seen: dict[str, Any], protocol: str
) -> None:
    assert seen[f"{protocol}: loop without store"] == {"text": WEATHER_TOLD, "steps": 2}


@protocols
def test_a_long_object_whole_and_streamed(seen: dict[str, Any], protocol: str) -> None:
    assert seen[f"{protocol}: output"] == BOAT
    streamed = seen[f"{protocol}: streamed object"]
    assert streamed["object"] == BOAT
    assert streamed["partial"] > 1


@protocols
def test_thoughts_are_told_apart_from_the_answer(seen: dict[str, Any], protocol: str) -> None:
    thinking = seen[f"{protocol}: thinking"]
    assert thinking["text"] == "Forty-two."
    # It reads no thoughts from Chat Completions, which has no official field for them.
    assert thinking.get("thought") == (None if protocol == "chat" else THOUGHT)


@protocols
def test_a_stream_that_breaks_is_an_error(seen: dict[str, Any], protocol: str) -> None:
    broken = seen[f"{protocol}: break"]
    assert broken["text"] == "It was a dark"
    assert any("out of memory" in error for error in broken["errors"])
    assert broken["finish"] in {None, "error"}


@protocols
def test_a_model_that_does_not_exist(seen: dict[str, Any], protocol: str) -> None:
    assert seen[f"{protocol}: not found"] == {
        "class": "APICallError",
        "statusCode": 404,
        "isRetryable": False,
    }


def test_embeddings(seen: dict[str, Any]) -> None:
    embedded = seen["embeddings"]
    assert embedded["embeddings"] == [vector("one"), vector("three")]
    assert embedded["usage"]["tokens"] == 2
