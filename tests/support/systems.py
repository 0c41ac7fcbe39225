"""The five systems: Bandari started with one of the files in ``examples``, and asked with curl."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from tests.support.server import ENGINE, Bandari, running

EXAMPLES = Path(__file__).parents[2] / "examples"
CURL_TIMEOUT_S = 60


@contextmanager
def system(name: str, directory: Path) -> Iterator[Bandari]:
    """A server with that example's file, of which only the engine's threads are another's.

    Its books must balance at the end, with nothing left held.
    """
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    config = (EXAMPLES / f"{name}.toml").read_text()
    assert "[engine]" not in config
    with running(directory / name, f"{config}\n{ENGINE}") as server:
        yield server
        server.verify()
        assert server.query("SELECT count(*) AS open FROM holds") == [{"open": 0}]


class Answer(Struct, frozen=True):
    """What curl was answered. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[str]:
        """The stream's blocks."""
        return [block for block in self.text.split("\n\n") if block]

    @property
    def chunks(self) -> list[Any]:
        """The JSON of a stream's ``data:`` lines, without ``[DONE]``."""
        lines = [line for block in self.events for line in block.split("\n")]
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(text) for text in data if text != "[DONE]"]


def curl(url: str, *arguments: str) -> Answer:
    """Run curl as a documentation's line says it."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    done = subprocess.run(
        [program, "-sS", "-N", "-i", "--http1.1", url, *arguments],
        capture_output=True,
        text=True,
        timeout=CURL_TIMEOUT_S,
        check=True,
    )
    head, _, text = done.stdout.replace("\r\n", "\n").partition("\n\n")
    status, *lines = head.split("\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(status.split()[1]), headers, text)


def text_of(chunks: list[Any]) -> str:
    """What the chunks of a stream of Chat Completions add up to."""
    return "".join(
        choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]
    )
