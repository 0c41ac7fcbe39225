"""An engine that makes vectors: what it was seen to do, and what Bandari relies on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.engine.conftest import Engine
from tests.support import embedding_gguf
from tests.support.embedding_gguf import ADDED, CONTEXT, WIDTH

from bandari.adapters.engine.settings import EngineSettings

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def embedding_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    return embedding_gguf.write(tmp_path_factory.mktemp("models") / "bert.gguf")


@pytest.fixture
async def started(engines: Callable[[EngineSettings], Engine], embedding_model: Path) -> Engine:
    made = engines(settings(embedding_model))
    await made.supervisor.start()
    return made


def settings(path: Path) -> EngineSettings:
    return EngineSettings(model_path=path, embeds=True, slots=2, context_window=4096, threads=1)


async def embed(engine: Engine, given: object, **fields: Any) -> tuple[int, Any]:
    def call() -> tuple[int, Any]:
        with contextlib.closing(engine._connection()) as connection:
            body = json.dumps({"input": given, **fields}).encode()
            connection.request("POST", "/v1/embeddings", body, engine.headers())
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    return await asyncio.to_thread(call)


def vectors(answer: Any) -> list[list[float]]:
    return [entry["embedding"] for entry in answer["data"]]


async def test_a_text_becomes_a_unit_vector(started: Engine) -> None:
    status, answer = await embed(started, "Hello world")
    assert status == 200
    (vector,) = vectors(answer)
    assert len(vector) == WIDTH
    assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)
    assert answer["usage"] == {"prompt_tokens": 2 + ADDED, "total_tokens": 2 + ADDED}


async def test_base64_is_little_endian_float32(started: Engine) -> None:
    _, plain = await embed(started, "Hello world")
    _, packed = await embed(started, "Hello world", encoding_format="base64")
    numbers = array("f", base64.b64decode(packed["data"][0]["embedding"]))
    assert numbers.tolist() == pytest.approx(vectors(plain)[0], abs=1e-6)


async def test_many_inputs_come_back_in_their_order_and_add_up(started: Engine) -> None:
    words = ["hello", "world", "the", "port", "ship"] * 20
    status, answer = await embed(started, words)
    assert status == 200
    assert [entry["index"] for entry in answer["data"]] == list(range(100))
    assert answer["usage"]["prompt_tokens"] == 100 * (1 + ADDED)
    alone = vectors((await embed(started, "port"))[1])[0]
    assert vectors(answer)[3] == pytest.approx(alone, abs=1e-5)


async def test_tokens_are_taken_as_they_are(started: Engine) -> None:
    status, answer = await embed(started, [[2, 5, 3], [2, 5, 6, 3]])
    assert status == 200
    assert answer["usage"]["prompt_tokens"] == 7
    _, text = await embed(started, "hello")
    assert vectors(answer)[0] == pytest.approx(vectors(text)[0], abs=1e-5)


async def test_an_input_fills_the_window_and_not_more(started: Engine) -> None:
    assert started.supervisor.context_window == CONTEXT
    status, answer = await embed(started, "x " * (CONTEXT - ADDED))
    assert (status, answer["usage"]["prompt_tokens"]) == (200, CONTEXT)
    status, answer = await embed(started, "x " * (CONTEXT - ADDED + 1))
    assert status == 500
    assert answer["error"]["message"].startswith(
        f"input ({CONTEXT + 1} tokens) is too large to process"
    )


async def test_dimensions_are_ignored_so_they_have_to_be_refused_before(started: Engine) -> None:
    status, answer = await embed(started, "hello", dimensions=8)
    assert (status, len(vectors(answer)[0])) == (200, WIDTH)


async def test_it_does_not_write(started: Engine) -> None:
    status, _ = await started.chat()
    assert status == 500


async def test_a_model_that_does_not_say_how_is_pooled_by_the_mean(
    engines: Callable[[EngineSettings], Engine], started: Engine, tmp_path: Path
) -> None:
    silent = engines(settings(embedding_gguf.write(tmp_path / "silent.gguf", pooling=None)))
    await silent.supervisor.start()
    status, answer = await embed(silent, "Hello world")
    assert status == 200
    _, told = await embed(started, "Hello world")
    assert vectors(answer)[0] == pytest.approx(vectors(told)[0], abs=1e-5)
