"""A provider in the test's own process that counts what it sends, request by request.

It streams one token a chunk, each with the usage so far, and remembers by the request's ``user``
how many it has sent: the most that an answer can be charged for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROMPT_TOKENS = 10
PACE_S = 0.002
LONG = 3000
"""Tokens of an answer without a limit."""


class _Server(ThreadingHTTPServer):
    # Who is not accepted at once waits for the kernel to try again: seconds, then a minute.
    request_queue_size = 1024


class CountingUpstream:
    """``sent[user]`` is how many output tokens were handed to the network for that request.

    ``may_go_on`` is set; while a test has it cleared, answers stand still.
    """

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.sent: dict[str, int] = {}
        self.url = ""


@contextmanager
def counting_upstream() -> Iterator[CountingUpstream]:
    """Serve on a loopback port until the end. An answer has ``max_tokens`` tokens, or ``LONG``."""
    upstream = CountingUpstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            try:
                length = body.get("max_tokens", LONG)
                for number in range(1, min(length, LONG) + 1):
                    upstream.may_go_on.wait()
                    upstream.sent[body["user"]] = number
                    self._say(_chunk(number, {"content": f"{number} "}))
                    pause.wait(PACE_S)
                self._say(_chunk(number, {}, "length" if number == length else "stop"))
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                return

        def _say(self, chunk: dict[str, Any]) -> None:
            self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
            return

    pause = threading.Event()
    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    # Idle threads of answers that stand still must not keep the test from ending.
    server.block_on_close = False
    upstream.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield upstream
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _chunk(number: int, delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": number,
        "total_tokens": PROMPT_TOKENS + number,
    }
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"choices": [choice], "usage": usage}
