"""The bad network cuts where it is told to, and nowhere else."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from tests.support.acting_upstream import Say, acting_upstream
from tests.support.event_cutter import Cut, event_cutter, events_of, is_event, random_cuts
from tests.support.http_upstream import HttpUpstream, json_body, sse

BODY = {"messages": [{"role": "user", "content": "x"}]}
PATH = "/chat/completions"


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    """Eight events: the role, four words, the finish, the usage and ``[DONE]``."""
    with acting_upstream(lambda body: [Say(word) for word in "abcd"]) as upstream:
        yield upstream.url.removesuffix("/v1")


def read(url: str) -> tuple[bytes, httpx.TransportError | None]:
    with httpx.Client(base_url=url) as client:
        return read_with(client)


def read_with(client: httpx.Client) -> tuple[bytes, httpx.TransportError | None]:
    """What arrived of one stream, and what it broke with."""
    got = b""
    try:
        with client.stream("POST", PATH, json=BODY) as answer:
            for piece in answer.iter_raw():
                got += piece
    except httpx.TransportError as broken:
        return got, broken
    return got, None


def test_what_is_not_cut_passes_whole(target: str) -> None:
    with event_cutter(target) as cutter:
        got, broken = read(cutter.url)
        assert (got, broken) == (bytes(cutter.bodies[0]), None)
        assert got.endswith(b"data: [DONE]\n\n")
        assert (cutter.connections, cutter.cut) == (1, 0)


@pytest.mark.parametrize("how", Cut)
@pytest.mark.parametrize("count", range(8))
def test_exactly_so_many_events_pass(target: str, how: Cut, count: int) -> None:
    with event_cutter(target, [count], how) as cutter:
        got, _ = read(cutter.url)
        assert len(events_of(got)) == count
        assert got == b"".join(events_of(got))
        assert cutter.cut == 1
        whole, broken = read(cutter.url)
        assert (len(events_of(whole)), broken) == (8, None)
        assert whole.startswith(got)
        assert (cutter.connections, cutter.cut) == (2, 1)


def test_a_reset_is_one() -> None:
    """The provider ends its body by closing, so only this tells a cut from an end."""
    with acting_upstream(lambda body: [Say("x")]) as upstream:
        for how, is_reset in ((Cut.RESET, True), (Cut.CLOSE, False)):
            with event_cutter(upstream.url, [1], how) as cutter:
                parts = urlsplit(cutter.url)
                with socket.create_connection((parts.hostname, parts.port), timeout=10) as plain:
                    plain.sendall(b"POST /v1 HTTP/1.1\r\nhost: x\r\ncontent-length: 16\r\n\r\n")
                    plain.sendall(b'{"messages": []}')
                    try:
                        while plain.recv(65536):
                            pass
                    except ConnectionResetError:
                        assert is_reset
                    else:
                        assert not is_reset


def test_every_stream_has_a_cut_of_its_own(target: str) -> None:
    with event_cutter(target, itertools.chain((2, None, 3), itertools.repeat(1))) as cutter:
        assert [len(events_of(read(cutter.url)[0])) for _ in range(5)] == [2, 8, 3, 1, 1]
        cutter.cut_after(4)
        assert [len(events_of(read(cutter.url)[0])) for _ in range(2)] == [4, 8]


async def test_chunks_are_seen_through_and_the_connection_is_kept() -> None:
    split = sse("1", b": \n\nda", b"ta: 2\n", b"\ndata: 3\n\nda", b"ta: 4\n\n")
    async with HttpUpstream(json_body({"id": 1}), split, split) as upstream:
        with event_cutter(upstream.url, [None, 3]) as cutter:

            def ask() -> tuple[bytes, bytes, bytes]:
                with httpx.Client(base_url=cutter.url) as client:
                    whole = client.post(PATH, json=BODY).content
                    return whole, read_with(client)[0], read_with(client)[0]

            whole, first, second = await asyncio.to_thread(ask)
        assert whole == b'{"id": 1}'
        assert first == b"data: 1\n\n: \n\ndata: 2\n\ndata: 3\n\ndata: 4\n\n"
        assert second == b"data: 1\n\n: \n\ndata: 2\n\ndata: 3\n\n"
        assert (cutter.connections, cutter.cut) == (1, 1)


def test_a_server_that_is_away_is_a_cut_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        target = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    with event_cutter(target) as cutter:
        got, broken = read(cutter.url)
    assert got == b""
    assert broken is not None


def test_random_cuts_are_those_of_the_seed() -> None:
    drawn = list(itertools.islice(random_cuts(7, 1, 5), 50))
    assert drawn == list(itertools.islice(random_cuts(7, 1, 5), 50))
    assert set(drawn) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("block", "counts"),
    [
        (b"data: x\n\n", True),
        (b"event: message\nid: 3\ndata: {}\n\n", True),
        (b": \nevent: done\n\n", True),
        (b": \n\n", False),
        (b": ping\n\n", False),
        (b"\n", False),
        (b'event: ping\ndata: {"type": "ping"}\n\n', False),
    ],
)
def test_what_counts_as_an_event(block: bytes, counts: bool) -> None:
    assert is_event(block) is counts
    assert (len(events_of(block)) == 1) is counts


def test_comments_are_taken_out_and_the_rest_is_as_it_was() -> None:
    stream = b": \n\ndata: 1\n\n: \n\nevent: ping\ndata: {}\n\ndata: 2\n\ndata: 3"
    assert events_of(stream) == [b"data: 1\n\n", b"data: 2\n\n"]
