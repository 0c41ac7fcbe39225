"""Runs a GGUF file in the real engine: llama.cpp's server, inside this process."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from xllamacpp import CommonParams, Server

SLOTS = 2
CONTEXT_PER_SLOT = 8192


class Engine:
    """A running server with one model; use it in a `with` block."""

    def __init__(self, model: Path, threads: int = 2) -> None:
        parameters = CommonParams()
        parameters.model.path = str(model)
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.n_parallel = SLOTS
        parameters.n_ctx = SLOTS * CONTEXT_PER_SLOT
        parameters.cpuparams.n_threads = threads
        parameters.use_jinja = True
        parameters.verbosity = 0
        self._server = Server(parameters)
        self._client = httpx.Client(base_url=self._server.listening_address, timeout=120)

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return the reply; an error reply raises."""
        reply = self._client.post(path, json=body)
        if reply.is_error:
            raise RuntimeError(f"{path} answered {reply.status_code}: {reply.text}")
        result: dict[str, Any] = reply.json()
        return result

    def chat(self, messages: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
        """A chat completion."""
        return self.post("/v1/chat/completions", {"messages": messages, **options})

    def tokens(self, text: str) -> list[int]:
        """The engine's own tokens for a text."""
        numbers: list[int] = self.post("/tokenize", {"content": text, "parse_special": True})[
            "tokens"
        ]
        return numbers
