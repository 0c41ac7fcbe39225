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
from typing import TextIO

import msgspec

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
    "settled",
    "status",
    "target",
)

LATEST_S = 0.1
MAX_LINES = 1_000
"""Lines that wait to be written; more than that are written at once."""

_encode = msgspec.json.Encoder().encode


class JsonLines(logging.Formatter):
    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._second_text = ""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{self._text_of(int(record.created))}.{int(record.msecs):03d}Z",
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

    def _text_of(self, second: int) -> str:
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return self._second_text


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
            self._lines.append(self.format(record))
            if record.levelno >= logging.WARNING or len(self._lines) >= MAX_LINES:
                self.flush()
            elif not self._gathered.is_set():
                self._gathered.set()
                self._start_writer()
        except Exception:  # noqa: BLE001 - as logging does it: what cannot be logged breaks nothing
            self.handleError(record)

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


def set_up(level: str = "INFO") -> None:
    """Send everything to stderr as JSON lines; libraries only from warnings on."""
    handler = GatheringHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    atexit.register(handler.flush)
    # What no line of ours says need not be found out for each: callers, threads, processes.
    logging._srcfile = None  # noqa: SLF001 - as its manual says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("bandari").setLevel(level)
