"""openai-node, the real package, against the running server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.server import Bandari, wait_until

CLIENTS = Path(__file__).parent.parent / "clients" / "node"


@pytest.fixture(scope="module")
def seen(bandari: Bandari, key: str) -> dict[str, Any]:
    """What the script saw."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("Node.js is not installed (node and npm)")
    subprocess.run(
        [npm, "ci", "--silent", "--no-audit", "--no-fund"], cwd=CLIENTS, check=True, timeout=100
    )
    done = subprocess.run(
        [node, "openai.mjs"],
        cwd=CLIENTS,
        env=os.environ | {"BANDARI_URL": bandari.url, "BANDARI_KEY": key},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_whole_and_streamed_answers_agree(seen: dict[str, Any]) -> None:
    assert "Paris" in seen["whole"]["text"]
    assert seen["streamed"]["text"] == seen["whole"]["text"] == seen["helper"]
    assert seen["streamed"]["chunks"] > 3
    assert seen["streamed"]["usage"]["total_tokens"] == seen["whole"]["usage"]["total_tokens"]


def test_tool_call(seen: dict[str, Any]) -> None:
    assert seen["call"]["name"] == "get_weather"
    assert set(json.loads(seen["call"]["arguments"])) == {"city"}


def test_models(seen: dict[str, Any]) -> None:
    assert seen["models"] == ["bandari-tiny"]


def test_errors_have_their_classes(seen: dict[str, Any]) -> None:
    errors = seen["errors"]
    assert errors["bad_request"] == {
        "class": "BadRequestError",
        "status": 400,
        "code": "invalid_value",
        "param": "temperature",
    }
    assert errors["not_found"]["class"] == "NotFoundError"
    assert errors["unauthenticated"]["class"] == "AuthenticationError"


def test_a_stream_that_is_left_is_settled(bandari: Bandari, seen: dict[str, Any]) -> None:
    assert seen["left"]
    wait_until(lambda: bandari.wallet("plenty")[1] == 0, what="the end of the hold")
