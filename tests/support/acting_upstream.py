"""A provider in the test's own process that plays a part: its answer follows from the question.

It speaks streamed Chat Completions. ``act(body)`` gives the parts of the answer to one request; all
bodies are kept. Usage is told at the end: ``PROMPT_TOKENS`` and one token for each part that says
something. It embeds, too: see ``vector``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

PROMPT_TOKENS = 10


class Say(NamedTuple):
    text: str


class Think(NamedTuple):
    text: str


class Call(NamedTuple):
    """A tool call; its arguments come in two pieces."""

    name: str
    arguments: dict[str, Any]


class Pause(NamedTuple):
    """Without seconds it lasts until the provider ends."""

    seconds: float | None = None


class Break(NamedTuple):
    """The provider says an error in the middle of its answer."""

    message: str


class Until(NamedTuple):
    """It goes on when the test lets it, or the provider ends."""

    gate: threading.Event


class Refuse(NamedTuple):
    """As the first part: there is no answer, but this status."""

    status: int


Part = Say | Think | Call | Pause | Break | Until | Refuse
Act = Callable[[dict[str, Any]], Sequence[Part]]


class ActingUpstream:
    def __init__(self, act: Act) -> None:
        self.act = act
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.over = threading.Event()


@contextmanager
def acting_upstream(act: Act) -> Iterator[ActingUpstream]:
    """Serve on a loopback port until the end."""
    upstream = ActingUpstream(act)

    class Handler(_Handler):
        acting = upstream

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    upstream.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield upstream
    finally:
        upstream.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    acting: ActingUpstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.acting.asked.append(body)
        if self.path.endswith("/embeddings"):
            self._embed(body["input"])
        else:
            self._answer(body)

    def _embed(self, texts: str | list[str]) -> None:
        texts = [texts] if isinstance(texts, str) else texts
        data = [{"index": at, "embedding": vector(text)} for at, text in enumerate(texts)]
        told = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        answer = json.dumps({"object": "list", "data": data, "usage": told}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _answer(self, body: dict[str, Any]) -> None:
        parts = self.acting.act(body)
        if parts and isinstance(parts[0], Refuse):
            self._refuse(parts[0].status)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            self._chunk({"role": "assistant", "content": ""})
            for number, part in enumerate(parts):
                self._play(part, number)
            called = any(isinstance(part, Call) for part in parts)
            self._chunk({}, "tool_calls" if called else "stop")
            tokens = sum(not isinstance(part, Pause | Until) for part in parts)
            self._say({"choices": [], "usage": usage(tokens)})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:  # the gateway left
            return

    def _refuse(self, status: int) -> None:
        told = json.dumps({"error": {"message": "not now"}}).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def _play(self, part: Part, number: int) -> None:
        match part:
            case Say(text):
                self._chunk({"content": text})
            case Think(text):
                self._chunk({"reasoning_content": text})
            case Call(name, arguments):
                written = json.dumps(arguments)
                half = len(written) // 2
                function = {"name": name, "arguments": written[:half]}
                call = {"index": number, "id": f"call_{number}", "type": "function"}
                self._chunk({"tool_calls": [call | {"function": function}]})
                rest = {"index": number, "function": {"arguments": written[half:]}}
                self._chunk({"tool_calls": [rest]})
            case Pause(seconds):
                self.acting.over.wait(seconds)
            case Until(gate):
                while not gate.wait(0.05) and not self.acting.over.is_set():
                    pass
            case Break(message):
                self._say({"error": {"message": message}})

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self._say({"id": "x", "created": 1, "model": "acted", "choices": [choice]})

    def _say(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
        return


def vector(text: str) -> list[float]:
    """What it makes of a text; exact in single precision."""
    return [float(len(text)), 0.5, -0.25]


def usage(tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": tokens,
        "total_tokens": PROMPT_TOKENS + tokens,
    }
