"""Every feature, from every client's protocol to every provider's: carried, refused or ignored.

What becomes of each is seen, not said: the bytes that a provider gets and those that a client gets
are looked at. ``docs/compatibility.md`` is what was seen; where it says otherwise, a test fails.
``BANDARI_WRITE_COMPATIBILITY=1`` writes it.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest
from tests.integration.compatibility import answering, asking
from tests.integration.compatibility.answering import ANSWERS, STREAM, WHOLE, Said
from tests.integration.compatibility.asking import BASE, PROTOCOLS, REQUESTS
from tests.integration.compatibility.house import Crossing
from tests.support.client import Client

DOCUMENT = Path(__file__).parents[3] / "docs" / "compatibility.md"
TITLES = {
    "chat_completions": "Chat Completions",
    "messages": "Messages",
    "responses": "Responses",
}
PLAIN = Said("Jambo")
BOTH = (False, True)
CARRIED, REFUSED, IGNORED = "carried", "refused", "ignored"


def crossing(upstream: str, said: Said, *, streams: bool) -> Crossing:
    body = (STREAM if streams else WHOLE)[upstream](said)
    return Crossing(upstream, body, streams=streams)


def has_stop(client: Client) -> bool:
    return client.status == 200 and client.ended


def outcome_of_request(feature: asking.Feature, client: str, upstream: str, streams: bool) -> str:
    """What becomes of the feature. Fails where it is lost."""
    said = PLAIN._replace(choices=feature.says[client].get("n", 1))
    at = crossing(upstream, said, streams=streams)
    fields = BASE[client] | feature.says[client] | {"stream": streams}
    answer = asyncio.run(at.ask(client, fields))
    where = f"{feature.title}: {client} over {upstream}, stream: {streams}: "
    assert not at.house.books.wallet().held, where + "something is still held"
    if answer.status == 400:
        told = answer.body.decode()
        assert any(name in told for name in feature.names), where + f"not named: {told}"
        assert at.house.books.wallet().balance == 1_000_000, where + "a refusal was charged"
        return REFUSED
    assert has_stop(answer), where + f"{answer.status} {answer.body!r}"
    ignored = answer.headers.get("x-bandari-ignored", "").split(", ")
    arrives = feature.arrives.get(upstream)
    has_arrived = arrives is not None and arrives(at.transport.asked)
    if not has_arrived and feature.shown:
        has_arrived = feature.shown in answer.body.decode()
    if any(name in ignored for name in feature.names):
        assert not has_arrived, where + f"carried, and said to be ignored: {ignored}"
        return IGNORED
    assert has_arrived, where + f"lost: {json.dumps(at.transport.asked)} {ignored}"
    return CARRIED


def outcome_of_answer(feature: answering.Feature, client: str, upstream: str, streams: bool) -> str:
    at = crossing(upstream, feature.said, streams=streams)
    fields = BASE[client] | {"stream": streams}
    if feature.said.logprob is not None and client != "messages":
        fields |= next(each for each in REQUESTS if each.title == "log-probabilities").says[client]
    if client == "responses":
        fields |= {"include": [*fields.get("include", ()), "reasoning.encrypted_content"]}
    if client == "chat_completions" and streams:
        fields |= {"stream_options": {"include_usage": True}}
    answer = asyncio.run(at.ask(client, fields))
    assert has_stop(answer), f"{feature.title}: {answer.status} {answer.body!r}"
    told = answer.body.decode()
    return CARRIED if all(piece in told for piece in feature.sees[client]) else IGNORED


@cache
def requests_table(client: str) -> Mapping[str, Sequence[str]]:
    return {
        feature.title: [
            cell(
                [
                    outcome_of_request(feature, client, upstream, streams)
                    for streams in (False, True)
                ]
            )
            for upstream in PROTOCOLS
        ]
        for feature in REQUESTS
        if client in feature.says
    }


@cache
def answers_table(upstream: str) -> Mapping[str, Sequence[str]]:
    return {
        feature.title: [
            cell(
                [outcome_of_answer(feature, client, upstream, streams) for streams in (False, True)]
            )
            for client in PROTOCOLS
        ]
        for feature in ANSWERS
        if upstream in feature.by
    }


def cell(outcomes: Sequence[str]) -> str:
    whole, streamed = outcomes
    return whole if whole == streamed else f"{whole}; as a stream {streamed}"


# -- the document ---------------------------------------------------------------------------------

HEAD = """\
# What crosses between protocols

A client of any protocol may ask a model whose provider speaks any other. The tests write this table
from what they saw (`tests/integration/compatibility`), for answers in one piece and for streams: a
feature of a request is **carried**, or **refused** with a 400 that names the field, or **ignored**
and named in the answer's `x-bandari-ignored` header; none is lost silently. What a provider says
beyond the words of the client's protocol is left out: **ignored**, below. Where both protocols are
the same, the client's own JSON is sent on.

A provider's entry in the configuration may widen this: `extra_fields` names fields of its own
protocol that it takes beyond these. The engine in the box takes `top_k` so.
"""


def lines() -> Iterator[str]:
    yield HEAD
    for client in PROTOCOLS:
        yield f"## What a {TITLES[client]} client asks for"
        yield ""
        yield from table(["over a provider that speaks", *TITLES.values()], requests_table(client))
    for upstream in PROTOCOLS:
        yield f"## What a {TITLES[upstream]} provider answers"
        yield ""
        yield from table(["told to a client of", *TITLES.values()], answers_table(upstream))


def table(head: Sequence[str], rows: Mapping[str, Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for title, cells in rows.items():
        yield "| " + " | ".join([title, *cells]) + " |"
    yield ""


@pytest.mark.parametrize("client", PROTOCOLS)
def test_no_field_of_a_request_is_lost(client: str) -> None:
    assert len(requests_table(client)) >= 25


@pytest.mark.parametrize("upstream", PROTOCOLS)
def test_what_is_essential_in_an_answer_crosses(upstream: str) -> None:
    table_of_upstream = answers_table(upstream)
    for title in ("text", "calls at once", "thoughts", "ended by its length", "cached tokens"):
        assert table_of_upstream[title] == [CARRIED] * 3, title


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_lost_within_one_protocol(protocol: str) -> None:
    at = PROTOCOLS.index(protocol)
    for title, cells in answers_table(protocol).items():
        assert cells[at] == CARRIED, title


def test_the_document_says_what_was_seen() -> None:
    seen = "\n".join(lines()).rstrip() + "\n"
    if os.environ.get("BANDARI_WRITE_COMPATIBILITY"):
        DOCUMENT.write_text(seen)
    assert DOCUMENT.read_text() == seen
