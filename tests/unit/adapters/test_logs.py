from __future__ import annotations

import io
import json
import logging
import sys

import pytest
from tests.support.server import wait_until

from bandari.adapters import logs
from bandari.adapters.logs import LATEST_S, MAX_LINES, GatheringHandler, JsonLines, RequestLog
from bandari.service.tracing import request_id


def logger_to(stream: io.StringIO) -> logging.Logger:
    handler = GatheringHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("test")  # noqa: LOG001 - one of its own for each test
    logger.addHandler(handler)
    return logger


def test_a_line_has_its_time_its_level_and_only_the_fields_that_may_be_told():
    stream = io.StringIO()
    logger_to(stream).warning("failed", extra={"model": "m", "prompt": "a secret"})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "failed", "model": "m"}


def test_a_warning_is_written_at_once_after_what_was_said_before():
    stream = io.StringIO()
    logger = logger_to(stream)
    logger.info("first")
    assert stream.getvalue() == ""
    logger.warning("second")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "first",
        "second",
    ]


def test_what_is_no_warning_is_written_soon():
    stream = io.StringIO()
    logger = logger_to(stream)
    for word in ("first", "second"):
        logger.info(word)
        wait_until(lambda word=word: word in stream.getvalue(), LATEST_S * 50)


def test_not_too_much_is_kept():
    stream = io.StringIO()
    logger = logger_to(stream)
    for _ in range(MAX_LINES):
        logger.info("a line")
    assert len(stream.getvalue().splitlines()) == MAX_LINES


# -- the access log --------------------------------------------------------------------------------

REQUEST = ("GET", '/v1/"models"/é\n', 404, 0.01234)


@pytest.fixture
def logging_restored():
    """What ``set_up`` changes in the process is as it was before."""
    root, ours = logging.getLogger(), logging.getLogger("bandari")
    before = root.handlers[:], root.level, ours.level
    switches = {name: getattr(logging, name) for name in vars(logging) if name.startswith("log")}
    switches["_srcfile"] = logging._srcfile
    yield
    root.handlers[:], root.level, ours.level = before[0], before[1], before[2]
    for name, value in switches.items():
        setattr(logging, name, value)
    logging.Logger.manager._clear_cache()


def test_a_request_is_logged_as_any_other_line_would_be():
    stream, other = io.StringIO(), io.StringIO()
    handler = GatheringHandler(stream)
    token = request_id.set("req_1")
    try:
        RequestLog(handler)(*REQUEST)
        fields = {"method": "GET", "path": REQUEST[1], "status": 404, "duration_ms": 12.3}
        logger_to(other).info("request", extra=fields)
        handler.flush()
        wait_until(other.getvalue, LATEST_S * 50)
    finally:
        request_id.reset(token)
    ours, theirs = (json.loads(s.getvalue(), object_pairs_hook=list) for s in (stream, other))
    assert ours.pop(0)[1][:16] == theirs.pop(0)[1][:16]
    assert ours == theirs
    assert ("request_id", "req_1") in ours


def test_requests_are_gathered_as_other_lines_are():
    stream = io.StringIO()
    log = RequestLog(GatheringHandler(stream))
    log(*REQUEST)
    assert stream.getvalue() == ""
    wait_until(stream.getvalue, LATEST_S * 50)
    stream.truncate(0)
    for _ in range(MAX_LINES):
        log(*REQUEST)
    wait_until(lambda: stream.getvalue().count("\n") == MAX_LINES, LATEST_S * 50)


def test_a_log_that_nobody_reads_breaks_no_request():
    stream = io.StringIO()
    log = RequestLog(GatheringHandler(stream))
    stream.close()
    for _ in range(MAX_LINES):
        log(*REQUEST)


@pytest.mark.parametrize(("level", "lines"), [("INFO", 1), ("DEBUG", 1), ("WARNING", 0)])
def test_requests_are_logged_at_the_level_of_information(
    level, lines, monkeypatch, logging_restored
):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up(level)(*REQUEST)
    (handler,) = logging.getLogger().handlers
    handler.flush()
    assert stream.getvalue().count('"event":"request"') == lines
