"""Logs as JSON lines on stderr. No line carries a prompt, an answer or a secret.

Only the fields named here are written: what a caller puts into ``extra`` under another name is
lost, so that nothing slips into the log by accident.
"""

from __future__ import annotations

import logging
import sys
import time

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

_encode = msgspec.json.Encoder().encode


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
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


def set_up(level: str = "INFO") -> None:
    """Send everything to stderr as JSON lines; libraries only from warnings on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("bandari").setLevel(level)
