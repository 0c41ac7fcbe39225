"""Putting the house together: what a signal does while a big model is being loaded."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from bandari.adapters import logs
from bandari.adapters.engine.errors import ModelFileMissing
from bandari.bootstrap import serving
from bandari.config import Overrides, load


class SlowEngine:
    """Loads for ever; meanwhile the process is asked to stop."""

    stops = 0

    def __init__(self, _settings: object) -> None:
        pass

    async def start(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    async def stop(self) -> None:
        SlowEngine.stops += 1


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "set_up", lambda: None)


def test_sigterm_is_heeded_while_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "EngineSupervisor", SlowEngine)
    SlowEngine.stops = 0

    async def never(_: object) -> None:
        pytest.fail("it must not have begun to serve")

    serving.serve(load(None, Overrides(data_dir=tmp_path, port=0), {}), never)
    assert SlowEngine.stops == 1


def test_an_engine_that_cannot_start_keeps_the_server_from_starting(tmp_path: Path) -> None:
    missing = Overrides(data_dir=tmp_path, port=0, model=tmp_path / "missing.gguf")
    with pytest.raises(ModelFileMissing):
        serving.serve(load(None, missing, {}))
