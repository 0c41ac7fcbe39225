"""llama.cpp's own server with the model in the box: a provider that speaks all three protocols."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bandari.adapters.engine.settings import EngineSettings
from bandari.adapters.engine.supervisor import EngineSupervisor
from bandari.bootstrap.engines import PACKAGED_MODEL

START_TIMEOUT_S = 60.0


class LlamaCpp:
    """``base_url`` ends with ``/v1``; ``api_key`` opens it."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self.base_url = base_url
        self.api_key = api_key


@contextmanager
def llama_cpp() -> Iterator[LlamaCpp]:
    """It runs while the context is open, kept by a thread with a loop of its own."""
    found: list[LlamaCpp] = []
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def keep() -> None:
        engine = EngineSupervisor(EngineSettings(model_path=PACKAGED_MODEL, threads=1))
        try:
            await engine.start()
            found.append(LlamaCpp(engine.base_url, engine.api_key))
            started.set()
            await stop.wait()
        finally:
            await engine.stop()
            started.set()

    thread = threading.Thread(target=loop.run_until_complete, args=(keep(),), name="llama.cpp")
    thread.start()
    try:
        if not started.wait(START_TIMEOUT_S) or not found:
            raise RuntimeError("llama.cpp did not start")
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(START_TIMEOUT_S)
        loop.close()
