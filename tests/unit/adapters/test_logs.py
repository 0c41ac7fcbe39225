from __future__ import annotations

import io
import json
import logging

from tests.support.server import wait_until

from bandari.adapters.logs import LATEST_S, MAX_LINES, GatheringHandler, JsonLines


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
