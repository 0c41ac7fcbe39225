"""openai-node, the real package, with Responses and embeddings, against the running server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.acting_upstream import vector
from tests.support.node import seen_by
from tests.support.repertoire import CITIES, act
from tests.support.server import Bandari
from tests.support.stage import Stage, stage


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("responses") / "data", act) as acted:
        yield acted


@pytest.fixture(scope="module")
def seen(bandari: Bandari, key: str, acted: Stage) -> dict[str, Any]:
    """What the script saw."""
    return seen_by(
        "openai_responses.mjs", BANDARI_URL=bandari.url, BANDARI_KEY=key, **acted.variables
    )


def test_a_whole_response_is_kept_until_it_is_deleted(seen: dict[str, Any]) -> None:
    whole = seen["create"]
    assert whole["status"] == "completed"
    assert "Paris" in whole["output_text"]
    assert whole["kept"] == whole["output_text"]
    assert (whole["gone"]["class"], whole["gone"]["status"]) == ("NotFoundError", 404)
    usage = whole["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


def test_a_stream_has_its_events_in_order(seen: dict[str, Any]) -> None:
    stream = seen["stream"]
    assert stream["text"] == seen["create"]["output_text"]
    assert stream["numbers"] == list(range(len(stream["numbers"])))
    assert stream["types"] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_the_helper_puts_the_stream_together(seen: dict[str, Any]) -> None:
    helper = seen["helper"]
    assert helper["text"] == helper["output_text"] == seen["create"]["output_text"]
    assert helper["status"] == "completed"


def test_structured_output_is_parsed(seen: dict[str, Any]) -> None:
    assert set(seen["parse"]) == {"name", "masts"}
    assert isinstance(seen["parse"]["masts"], int)


def test_one_in_the_background_is_polled_to_its_end(seen: dict[str, Any]) -> None:
    background = seen["background"]
    assert background["statuses"][0] in {"queued", "in_progress"}
    assert background["statuses"][-1] == "completed"
    assert background["output_text"] == seen["create"]["output_text"]


def test_tools_there_and_back_by_the_kept_response(seen: dict[str, Any]) -> None:
    assert seen["tools"] == {
        "calls": [["get_weather", {"city": city}] for city in CITIES],
        "told": "Nairobi is sunny and Kisumu is sunny.",
    }


def test_a_stream_that_breaks_is_an_error(seen: dict[str, Any]) -> None:
    assert seen["break"]["class"] == "APIError"
    assert "out of memory" in seen["break"]["message"]


def test_embeddings_come_back_as_numbers(seen: dict[str, Any]) -> None:
    vectors = [vector("one"), vector("three")]
    assert seen["embeddings"] == {
        "vectors": vectors,
        "floats": vectors,
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


def test_errors_have_their_classes(seen: dict[str, Any]) -> None:
    assert seen["errors"] == {
        "bad_request": {"class": "BadRequestError", "status": 400, "param": "temperature"},
        "not_found": {"class": "NotFoundError", "status": 404},
    }
