"""Logs as JSON lines on stderr. No line carries a prompt, an answer or a secret.

Only the fields named here are written: what a caller puts into ``extra`` under another name is
lost, so that nothing slips into the log by accident. Lines below a warning are written together,
a tenth of a second late at most; only a process that is killed loses them.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import TextIO

import msgspec
from msgspec import Struct

from bandari.service.tracing import request_id

FIELDS = (
    "account",
    "attempts",
    "code",
    "detail",
    "duration_ms",
    "ending",
    "key_id",
    "method",
    "model",
    "path",
    "pid",
    "port",
    "receipt",
    "refused",
    "settled",
    "source",
    "status",
    "target",
)

LATEST_S = 0.1
MAX_LINES = 1_000
"""Lines that wait to be written; more than that are written at once."""

_encode = msgspec.json.Encoder().encode


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{_text_of(int(record.created))}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if request := request_id.get():
            line["request_id"] = request
        values = record.__dict__
        for name in FIELDS:
            if name in values:
                line[name] = values[name]
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line).decode()


class GatheringHandler(logging.Handler):
    """Writes lines together. A warning, and whatever waits before it, is written at once."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []
        self._gathered = threading.Event()
        self._writer: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.gather(self.format(record))
            if record.levelno >= logging.WARNING:
                self.flush()
        except Exception:  # noqa: BLE001 - as logging does it: what cannot be logged breaks nothing
            self.handleError(record)

    def gather(self, line: str) -> None:
        """Have a line written soon."""
        self._lines.append(line)
        if len(self._lines) >= MAX_LINES:
            self.flush()
        elif not self._gathered.is_set():
            self._gathered.set()
            self._start_writer()

    def flush(self) -> None:
        self.acquire()
        try:
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("\n".join(lines) + "\n")
                self._stream.flush()
        finally:
            self.release()

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="bandari-log", daemon=True)
            self._writer.start()

    def _write(self) -> None:
        while True:
            self._gathered.wait()
            time.sleep(LATEST_S)
            self._gathered.clear()
            try:
                self.flush()
            except (OSError, ValueError):  # nobody reads the log any more
                continue


class _Request(Struct):
    """The line of a request, as ``JsonLines`` would spell it."""

    time: str
    level: str
    event: str
    request_id: str
    duration_ms: float
    method: str
    path: str
    status: int


class RequestLog:
    """One line for each request that has ended, past ``logging``, which takes thrice as long."""

    def __init__(self, handler: GatheringHandler) -> None:
        self._gather = handler.gather

    def __call__(self, method: str, path: str, status: int, seconds: float) -> None:
        now = time.time()
        second = int(now)
        line = _Request(
            f"{_text_of(second)}.{int((now - second) * 1000):03d}Z",
            "info",
            "request",
            request_id.get(),
            round(seconds * 1000, 1),
            method,
            path,
            status,
        )
        try:
            self._gather(_encode(line).decode())
        except (OSError, ValueError):  # nobody reads the log any more
            return


def set_up(level: str = "INFO") -> Callable[[str, str, int, float], None]:
    """Send everything to stderr as JSON lines; libraries only from warnings on.

    Returns what logs a request.
    """
    handler = GatheringHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    atexit.register(handler.flush)
    # What no line of ours says need not be found out for each: callers, threads, processes.
    logging._srcfile = None  # noqa: SLF001 - as its manual says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    ours = logging.getLogger("bandari")
    ours.setLevel(level)
    return RequestLog(handler) if ours.isEnabledFor(logging.INFO) else _not_logged


def _not_logged(method: str, path: str, status: int, seconds: float) -> None:
    """Log nothing of a request."""


@lru_cache(maxsize=1)
def _text_of(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
