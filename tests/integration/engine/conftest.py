"""Real engine processes. What they need and what a test may ask of them."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from bandari.adapters import engine
from bandari.adapters.engine.settings import EngineSettings
from bandari.adapters.engine.status import Status
from bandari.adapters.engine.supervisor import EngineSupervisor

DEADLINE_S = 30.0

_S = TypeVar("_S")


@pytest.fixture(scope="session")
def model_path() -> Path:
    """The model in the box, or the one that ``BANDARI_TEST_MODEL`` names."""
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("the engine is not installed: no xllamacpp (pip install 'bandari[engine]')")
    boxed = Path(engine.__path__[0]) / "models" / "bandari-tiny.gguf"
    path = Path(os.environ.get("BANDARI_TEST_MODEL", boxed))
    if not path.is_file():
        pytest.skip(f"no model to test with: {path} does not exist")
    return path


class States:
    """Every state that a supervisor went through, in order."""

    def __init__(self) -> None:
        self.seen: list[Status] = []
        self._queue: asyncio.Queue[Status] = asyncio.Queue()

    def __call__(self, status: Status) -> None:
        self.seen.append(status)
        self._queue.put_nowait(status)

    async def until(self, kind: type[_S]) -> _S:
        async with asyncio.timeout(DEADLINE_S):
            while True:
                status = await self._queue.get()
                if isinstance(status, kind):
                    return status


class Engine:
    """A supervisor under test, with the requests that tests make."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.states = States()
        self.supervisor = EngineSupervisor(settings, on_state_change=self.states)

    @property
    def pid(self) -> int:
        pid = self.supervisor.pid
        assert pid is not None
        return pid

    def _connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self.supervisor.base_url)
        assert url.hostname is not None
        return http.client.HTTPConnection(url.hostname, url.port, timeout=DEADLINE_S)

    def headers(self) -> dict[str, str]:
        return {
            "authorization": f"Bearer {self.supervisor.api_key}",
            "content-type": "application/json",
        }

    async def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        chosen = self.headers() if headers is None else headers

        def call() -> tuple[int, Any]:
            with contextlib.closing(self._connection()) as connection:
                connection.request("GET", path, headers=chosen)
                response = connection.getresponse()
                return response.status, json.loads(response.read())

        return await asyncio.to_thread(call)

    async def chat(self, **fields: Any) -> tuple[int, Any]:
        def call() -> tuple[int, Any]:
            with contextlib.closing(self._connection()) as connection:
                connection.request("POST", "/v1/chat/completions", _body(fields), self.headers())
                response = connection.getresponse()
                return response.status, json.loads(response.read())

        return await asyncio.to_thread(call)

    async def stream(self, **fields: Any) -> Stream:
        """An answer that has begun and goes on to the end of the context."""
        connection = self._connection()

        def call() -> http.client.HTTPResponse:
            body = _body({"stream": True, "ignore_eos": True, **fields})
            connection.request("POST", "/v1/chat/completions", body, self.headers())
            response = connection.getresponse()
            assert response.status == 200
            assert response.readline().startswith(b"data: ")
            return response

        return Stream(connection, await asyncio.to_thread(call))

    async def send_stream(self) -> asyncio.StreamWriter:
        """Ask for a stream, and do not wait for anything."""
        url = urlsplit(self.supervisor.base_url)
        _, writer = await asyncio.open_connection(url.hostname, url.port)
        body = _body({"stream": True, "ignore_eos": True})
        lines = [
            "POST /v1/chat/completions HTTP/1.1",
            "host: engine",
            f"content-length: {len(body)}",
        ]
        lines += [f"{name}: {value}" for name, value in self.headers().items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        return writer

    async def metric(self, name: str) -> float:
        text = await asyncio.to_thread(self._text, "/metrics")
        line = next(each for each in text.splitlines() if each.startswith(f"llamacpp:{name} "))
        return float(line.split()[1])

    def _text(self, path: str) -> str:
        with contextlib.closing(self._connection()) as connection:
            connection.request("GET", path, headers=self.headers())
            return connection.getresponse().read().decode()

    async def busy_slots(self) -> int:
        _, slots = await self.get("/slots")
        return sum(slot["is_processing"] for slot in slots)


class Stream:
    def __init__(
        self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse
    ) -> None:
        self._connection = connection
        self._response = response

    async def rest(self) -> bytes:
        """All that still comes, until its end or its breaking."""

        def call() -> bytes:
            received = bytearray()
            with contextlib.suppress(OSError, http.client.HTTPException):
                while data := self._response.read1(65_536):
                    received += data
            return bytes(received)

        return await asyncio.to_thread(call)

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def _body(fields: dict[str, Any]) -> bytes:
    chat = {"model": "local", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return json.dumps(chat).encode()


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not await condition():
        assert time.monotonic() < end, f"still not true: {what}"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return True


@pytest.fixture
async def engines() -> AsyncIterator[Callable[[EngineSettings], Engine]]:
    """Make engines; those that still run at the end of the test are stopped."""
    made: list[Engine] = []

    def make(settings: EngineSettings) -> Engine:
        made.append(Engine(settings))
        return made[-1]

    yield make
    for each in made:
        await each.supervisor.stop()


@pytest.fixture
async def engine_in_box(model_path: Path, engines: Callable[[EngineSettings], Engine]) -> Engine:
    """Started and ready, with two slots."""
    made = engines(EngineSettings(model_path=model_path, slots=2, context_window=4096, threads=1))
    await made.supervisor.start()
    return made


@pytest.fixture
def open_files() -> Iterator[None]:
    """Fail the test if it leaves files or pipes open."""
    directory = Path("/dev/fd")
    before = len(list(directory.iterdir()))
    yield
    assert len(list(directory.iterdir())) <= before
