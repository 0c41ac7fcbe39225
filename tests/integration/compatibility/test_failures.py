"""Providers that fail, in every protocol, to clients of every protocol: told in the client's own.

Before anything was said it is a status; after that an error in the stream, whose body then has no
end. Nothing is held in the end, and the receipt says how the answer ended.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from tests.integration.compatibility.answering import STREAM, WHOLE, Said
from tests.integration.compatibility.asking import BASE, CHAT, MESSAGES, PROTOCOLS, RESPONSES
from tests.integration.compatibility.house import Crossing
from tests.support.client import Client

from bandari.domain.faults import UpstreamInterrupted, UpstreamTimeout
from bandari.domain.ledger import Ending
from bandari.wire.sse import SseDecoder

SAID = Said("Jambo")


class Failure(NamedTuple):
    """``spoil`` makes a good stream bad; ``raises`` is what its connection does at the end."""

    spoil: Callable[[bytes], bytes]
    status: int
    raises: Exception | None = None


def _events(stream: bytes) -> list[bytes]:
    return [event + b"\n\n" for event in stream.split(b"\n\n") if event]


def _until_text(stream: bytes) -> bytes:
    """As far as the text has been said."""
    events = _events(stream)
    last = max(
        index for index, event in enumerate(events) if b"Jambo" in event and b"delta" in event
    )
    return b"".join(events[: last + 1])


FAILURES = {
    "closes early": Failure(_until_text, 502),
    "breaks off": Failure(_until_text, 502, UpstreamInterrupted()),
    "says nothing for too long": Failure(_until_text, 504, UpstreamTimeout()),
    "sends wrong JSON": Failure(lambda stream: _until_text(stream) + b"data: {nonsense\n\n", 502),
    "sends wrong shapes": Failure(
        lambda stream: (
            _until_text(stream)
            + b'event: content_block_delta\ndata: {"type":"content_block_delta","index":"x",'
            b'"delta":7,"choices":5,"sequence_number":[]}\n\n'
        ),
        502,
    ),
    "sends what is no UTF-8": Failure(
        lambda stream: _until_text(stream) + b'data: {"a":"\xff\xfe"}\n\n', 502
    ),
}


def asked(
    client: str, upstream: str, body: bytes, *, streams: bool, raises: Exception | None = None
) -> tuple[Crossing, Client]:
    at = Crossing(upstream, body, streams=True, failure=raises)
    answer = asyncio.run(at.ask(client, BASE[client] | {"stream": streams}))
    assert not at.house.books.wallet().held
    return at, answer


def told_in_stream(client: str, answer: Client) -> Any:
    """The error, where each protocol's clients look for it."""
    last = SseDecoder().feed(answer.body)[-1]
    told = json.loads(last.data)
    if client == RESPONSES:
        assert last.name == "response.failed"
        assert told["response"]["status"] == "failed"
        return told["response"]["error"]
    assert last.name == ("error" if client == MESSAGES else "")
    return told["error"]


pairs = pytest.mark.parametrize("client", PROTOCOLS)
over = pytest.mark.parametrize("upstream", PROTOCOLS)
failures = pytest.mark.parametrize("what", FAILURES)


@pairs
@over
@failures
def test_in_the_middle_of_a_stream(client: str, upstream: str, what: str) -> None:
    failure = FAILURES[what]
    body = failure.spoil(STREAM[upstream](SAID))
    at, answer = asked(client, upstream, body, streams=True, raises=failure.raises)
    assert answer.status == 200
    assert b"Jambo" in answer.body
    assert not answer.ended, "an end of the body would look like success"
    assert told_in_stream(client, answer)["message"]
    [receipt] = at.house.books.receipts.values()
    assert receipt.ending is Ending.UPSTREAM_FAILED
    assert receipt.amount == 1_000_000 - at.house.books.wallet().balance > 0


@pairs
@over
@failures
def test_an_answer_that_was_not_streamed_is_refused_and_free(
    client: str, upstream: str, what: str
) -> None:
    failure = FAILURES[what]
    body = failure.spoil(STREAM[upstream](SAID))
    at, answer = asked(client, upstream, body, streams=False, raises=failure.raises)
    assert answer.status == failure.status
    assert answer.ended
    error = json.loads(answer.body)["error"]
    assert error["message"]
    assert ("code" in error) == (client != MESSAGES)
    assert at.house.books.wallet().balance == 1_000_000


@pairs
@over
@pytest.mark.parametrize("body", [b"", b"data: {nonsense\n\n", b"<html>", b"\x00\xff" * 50])
@pytest.mark.parametrize("streams", [False, True])
def test_before_anything_was_said(client: str, upstream: str, body: bytes, streams: bool) -> None:
    at, answer = asked(client, upstream, body, streams=streams)
    assert answer.status == 502
    assert answer.headers["x-should-retry"] == "true"
    assert "x-bandari-receipt" not in answer.headers
    assert at.house.books.wallet().balance == 1_000_000


@pairs
@over
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"choices":[]}', b'{"error":5}'])
def test_a_whole_answer_that_is_none(client: str, upstream: str, body: bytes) -> None:
    at = Crossing(upstream, body, streams=False)
    answer = asyncio.run(at.ask(client, BASE[client]))
    assert answer.status == 502
    assert at.house.books.wallet().balance == 1_000_000


@pairs
@over
def test_an_error_in_the_providers_own_words(client: str, upstream: str) -> None:
    error = {
        CHAT: b'data: {"error":{"message":"Too busy.","type":"server_error","code":503}}\n\n',
        MESSAGES: (
            b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error",'
            b'"message":"Too busy."}}\n\n'
        ),
        RESPONSES: (
            b'event: error\ndata: {"type":"error","code":"rate_limit_exceeded",'
            b'"message":"Too busy.","param":null,"sequence_number":9}\n\n'
        ),
    }[upstream]
    stream = _until_text(STREAM[upstream](SAID)) + error
    _, answer = asked(client, upstream, stream, streams=True)
    assert told_in_stream(client, answer)["message"]
    _, answer = asked(client, upstream, error, streams=True)
    assert answer.status in (429, 503)


@pairs
@over
def test_whole_answers_are_good_otherwise(client: str, upstream: str) -> None:
    """What the tests above spoil is read when it is not spoiled."""
    for body, streams in ((STREAM[upstream](SAID), True), (WHOLE[upstream](SAID), False)):
        at = Crossing(upstream, body, streams=streams)
        answer = asyncio.run(at.ask(client, BASE[client]))
        assert (answer.status, b"Jambo" in answer.body) == (200, True)
