"""A TypeScript client whose types are generated from the running server's document."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.node import installed, node
from tests.support.server import Bandari

FOLDER = Path(__file__).parent.parent / "clients" / "typescript"
TIMEOUT_S = 100
PROTOCOLS = ("chat", "typed", "messages", "responses")


def npm_run(script: str, bandari: Bandari, key: str = "") -> subprocess.CompletedProcess[str]:
    """Run one of the folder's scripts."""
    return subprocess.run(
        [node("npm"), "run", "--silent", script],
        cwd=FOLDER,
        env=os.environ | {"BANDARI_URL": bandari.url, "BANDARI_API_KEY": key},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def generated(bandari: Bandari) -> Path:
    """The types, as the generator makes them of what the server says."""
    installed(FOLDER)
    file = FOLDER / "generated" / "api.d.ts"
    file.unlink(missing_ok=True)
    done = npm_run("generate", bandari)
    assert done.returncode == 0, done.stderr
    assert file.exists()
    return file


@pytest.fixture(scope="module")
def seen(bandari: Bandari, key: str, generated: Path) -> dict[str, Any]:
    """What the client saw, when it was compiled and run."""
    built = npm_run("build", bandari)
    assert built.returncode == 0, built.stdout
    done = npm_run("start", bandari, key)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_what_is_wrong_does_not_compile(bandari: Bandari, generated: Path) -> None:
    """A field, a value, a path, an event that is not there; and nothing else is complained of."""
    lines = (FOLDER / "wrong.ts").read_text().splitlines()
    marked = {number for number, line in enumerate(lines, 1) if line.endswith("// wrong")}
    done = npm_run("build-wrong", bandari)
    refused = {int(number) for number in re.findall(r"^wrong\.ts\((\d+),", done.stdout, re.M)}
    assert done.returncode != 0
    assert refused == marked, done.stdout
    assert len(marked) > 15
    assert "'temprature' does not exist" in done.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_streams_the_same_answer(seen: dict[str, Any], protocol: str) -> None:
    read = seen[protocol]
    assert "Paris" in read["text"]
    assert read["text"] == seen["whole"]["text"]
    assert read["tokens"] == seen["whole"]["tokens"]
    assert read["ended"] in ("stop", "end_turn", "completed")


@pytest.mark.parametrize(
    ("protocol", "delta"),
    [
        ("chat", "chat.completion.chunk"),
        ("typed", "message"),
        ("messages", "content_block_delta"),
        ("responses", "response.output_text.delta"),
    ],
)
def test_the_answer_comes_in_pieces(seen: dict[str, Any], protocol: str, delta: str) -> None:
    assert seen[protocol]["seen"][delta] > 3


@pytest.mark.parametrize("protocol", ["chatCall", "messagesCall", "responsesCall"])
def test_every_protocol_asks_for_the_same_call(seen: dict[str, Any], protocol: str) -> None:
    (call,) = seen[protocol]["calls"]
    assert call["name"] == "get_weather"
    assert set(json.loads(call["arguments"])) == {"city"}


def test_an_error_has_the_type_of_its_status(seen: dict[str, Any]) -> None:
    assert seen["refused"]["code"] == "invalid_value"
    assert seen["refused"]["param"] == "temperature"


def test_an_answers_items_are_sent_back_and_found_again(seen: dict[str, Any]) -> None:
    assert seen["second"] == "completed"
    ((message,),) = ([item for item in seen["stored"] if item["type"] == "message"],)
    assert message["content"][0]["text"] == seen["whole"]["text"]


def test_the_models_are_listed(seen: dict[str, Any]) -> None:
    assert seen["models"] == ["bandari-tiny"]
