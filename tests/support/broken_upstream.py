"""A provider that breaks in every way that `docs/billing.md` names.

What it does is the model's name: the first column of the table, then ``with counts`` where it tells
its usage with every token.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS = 10
PROMPT_TOKENS = 10


@contextmanager
def broken_upstream() -> Iterator[str]:
    """Its URL. Whoever waits for ever is let go at the end."""
    over = threading.Event()

    class Handler(_Handler):
        is_over = over

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    is_over: threading.Event

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        what = body["model"].removesuffix(" with counts")
        has_counts = what != body["model"]
        self.close_connection = True
        if what == "fails before the first token":
            self._fail()
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for number in range(1, TOKENS + 1):
            usage = {"usage": _usage(number)} if has_counts else {}
            self._say({"choices": [_choice({"content": "word "})], **usage})
        getattr(self, "_" + what.replace(", ", "_").replace(" ", "_"))(body)

    def _completes(self, _: Any) -> None:
        self._finish(_usage(TOKENS))

    def _completes_two_usage_blocks(self, _: Any) -> None:
        self._finish(_usage(7), _usage(TOKENS))

    def _completes_no_usage(self, _: Any) -> None:
        self._finish()

    def _completes_usage_of_no_output(self, _: Any) -> None:
        self._finish(_usage(0))

    def _completes_usage_of_ten_times_the_text(self, _: Any) -> None:
        self._finish(_usage(10 * TOKENS))

    def _completes_usage_of_less_than_the_text(self, _: Any) -> None:
        self._finish(_usage(3))

    def _resets_the_connection(self, _: Any) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()

    def _ends_the_body_early(self, _: Any) -> None:
        self._end()

    def _says_an_error(self, _: Any) -> None:
        self._say({"error": {"message": "out of memory"}})
        self._end()

    def _sends_what_is_not_JSON(self, _: Any) -> None:  # noqa: N802 - named in the table
        self._send(b"data: {not json\n\n")
        self._end()

    def _stalls(self, _: Any) -> None:
        self.is_over.wait()

    def _waits_for_ever(self, _: Any) -> None:
        self.is_over.wait()

    def _fail(self) -> None:
        self.send_response(500)
        self.send_header("content-length", "0")
        self.end_headers()

    def _finish(self, *usages: dict[str, int]) -> None:
        self._say({"choices": [_choice({}, "stop")]})
        for usage in usages:
            self._say({"choices": [], "usage": usage})
        self._send(b"data: [DONE]\n\n")
        self._end()

    def _say(self, chunk: dict[str, Any]) -> None:
        self._send(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _send(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name
        return


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish}


def _usage(output: int) -> dict[str, int]:
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": output,
        "total_tokens": PROMPT_TOKENS + output,
    }
