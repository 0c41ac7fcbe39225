"""A provider whose tokens are two bytes of text each, and that reports its usage when it likes.

It tells its usage unless the prompt contains the word ``silently``. It counts tokens as llama.cpp's
server does, and goes on to ``LONG`` tokens whatever limit it is given if the prompt says ``on``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BYTES_PER_TOKEN = 2
ANSWER = "word" * 250
LONG = 4_000


@contextmanager
def reticent_upstream() -> Iterator[str]:
    """Its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def prompt_tokens(messages: list[dict[str, Any]]) -> int:
    """Of a prompt as this provider counts it: its JSON without blanks."""
    return len(json.dumps(messages, separators=(",", ":"))) // BYTES_PER_TOKEN


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/tokenize":
            self._answer({"tokens": list(range(len(body["content"]) // BYTES_PER_TOKEN))})
        elif self.path == "/v1/chat/completions/input_tokens":
            self._answer({"input_tokens": prompt_tokens(body["messages"])})
        else:
            self._stream(body["messages"])

    def _answer(self, value: object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, messages: list[dict[str, Any]]) -> None:
        words = messages[-1]["content"].split()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            if "on" in words:
                for _ in range(LONG):
                    self._say({"choices": [_choice({"content": "ab"})]})
            else:
                self._say({"choices": [_choice({"content": ANSWER})]})
            self._say({"choices": [_choice({}, "stop")]})
            if "silently" not in words:
                output = len(ANSWER) // BYTES_PER_TOKEN
                usage = {"prompt_tokens": prompt_tokens(messages), "completion_tokens": output}
                self._say({"choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:  # the gateway had enough
            self.close_connection = True

    def _say(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
        return


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}
