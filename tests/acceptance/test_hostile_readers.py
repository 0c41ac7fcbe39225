"""Readers that guess, and readers that do not read: neither learns or holds up anything.

Seeded by BANDARI_SEED.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import socket
import string
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from tests.support.acting_upstream import PROMPT_TOKENS, Part, Say
from tests.support.server import Bandari, metric, wait_until
from tests.support.stage import CREDIT, Stage, stage
from tests.support.surfaces import (
    HELD,
    STREAMS,
    SURFACES,
    Script,
    ask,
    asking,
    follow,
    hear,
    text_of,
)

SEED = int(os.environ.get("BANDARI_SEED", "1"))
GUESSES = 10_000
WINDOW = {"x-resume-window": "300"}
FLOOD_EVENTS, EVENT_BYTES = 4_000, 2_000
"""About eight MB of one answer: more than any buffer on its way holds."""


CONFIG = """
[models.wide]
targets = ["stage:acted"]
context_window = 100000000
max_output_tokens = 90000000
"""


class House(NamedTuple):
    acted: Stage
    script: Script

    @property
    def server(self) -> Bandari:
        return self.acted.server


def flood_or(script: Script, body: dict[str, Any]) -> list[Part]:
    if body["messages"][-1]["content"] == "flood":
        return [Say("x" * EVENT_BYTES)] * FLOOD_EVENTS
    return script.act(body)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    script = Script()
    data = tmp_path_factory.mktemp("hostile") / "data"
    with stage(data, lambda body: flood_or(script, body), CONFIG) as acted:
        yield House(acted, script)


class Guess(NamedTuple):
    """A request, and how it may be refused."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    statuses: frozenset[int]


BAD_INDICES = ["-1", "-9007199254740992", "1e3", "0x10", "1.0", "NaN", "null", "", " ", "१", "+1"]
HUGE_INDICES = ["9007199254740992", "18446744073709551616", "9" * 400]


def bad_index(chance: random.Random) -> str:
    """Nothing that could be the index of an event that there is."""
    return chance.choice(
        [
            chance.choice(BAD_INDICES),
            chance.choice(HUGE_INDICES),
            str(chance.randint(1_000, 2**53 - 1)),
            str(-chance.randint(1, 2**70)),
            "".join(chance.choices(string.ascii_letters + "-_.;", k=chance.randint(1, 30))),
        ]
    )


def strange_id(chance: random.Random, foreign: str) -> str:
    """Another account's, one like it, or garbage."""
    at = chance.randrange(len("str_"), len(foreign))
    return chance.choice(
        [
            foreign,
            foreign[:at] + chance.choice("0123456789abcdefghjkmnpqrstvwxyz") + foreign[at + 1 :],
            foreign[:at],
            foreign.upper(),
            foreign + "0",
            "str_" + "".join(chance.choices(string.ascii_lowercase + string.digits, k=26)),
            quote("".join(map(chr, (chance.randrange(1, 0x2FF) for _ in range(12)))), safe=""),
            quote("../../admin/v1/accounts", safe=""),
            "x" * 1_000,
        ]
    )


def guess(chance: random.Random, own: str, foreign: str) -> Guess:
    """One request that must not be answered with anything but a refusal."""
    index = bad_index(chance)
    words = f"never asked {chance.random()}"
    posted = json.dumps(asking("chat_completions", words)).encode()
    kind = chance.randrange(6)
    if kind == 0:
        path = f"/v1/streams/{own}?after={quote(index, safe='')}"
        return Guess("GET", path, {}, b"", frozenset({400}))
    if kind == 1:
        path = f"/v1/streams/{strange_id(chance, foreign)}?after={chance.randrange(3)}"
        return Guess("GET", path, {}, b"", frozenset({404}))
    if kind == 2:
        return Guess(
            "DELETE", f"/v1/streams/{strange_id(chance, foreign)}", {}, b"", frozenset({404})
        )
    if kind == 3:
        name = chance.choice(["x-last-chunk-index", "last-event-id"])
        value = {name: index.encode("ascii", "replace").decode()}
        statuses = frozenset({400, 409})
        return Guess("POST", SURFACES["chat_completions"].path, value, posted, statuses)
    if kind == 4:
        value = {"x-bandari-stream": strange_id(chance, foreign), "x-last-chunk-index": "0"}
        return Guess(
            "POST", SURFACES["chat_completions"].path, value, posted, frozenset({400, 409})
        )
    path = f"/v1/responses/{strange_id(chance, foreign)}?stream=true&starting_after={quote(index)}"
    return Guess("GET", path, {}, b"", frozenset({400, 404}))


_ID_OF_REQUEST = re.compile(rb"req_\w+")


def make_guesses(house: House, key: str, own: str, foreign: str) -> Counter[int]:
    """All on one connection, as long as it is kept; the statuses."""
    chance = random.Random(SEED)
    parts = urlsplit(house.server.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    statuses: Counter[int] = Counter()
    not_found: set[bytes] = set()
    for number in range(GUESSES):
        made = guess(chance, own, foreign)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request(made.method, made.path, made.body, headers | made.headers)
        response = connection.getresponse()
        body = response.read()
        told = f"BANDARI_SEED={SEED}, guess {number}: {made}: {response.status} {body!r}"
        assert response.status in made.statuses, told
        error = json.loads(body)["error"]
        assert error["code"], told
        if response.status == 409:
            assert response.headers["x-should-retry"] == "false", told
        if response.status == 404 and "/v1/streams/" in made.path:
            name = made.path.split("/")[3].partition("?")[0].encode()
            assert name not in body or len(name) < 8, told
            not_found.add(_ID_OF_REQUEST.sub(b"", body))
        statuses[response.status] += 1
    connection.close()
    assert len(not_found) == 1, not_found
    return statuses


def test_ten_thousand_guesses(house: House) -> None:
    """The stream of the one who guesses and that of another run meanwhile, and go on after it."""
    server, name = house.server, "guessed"
    words = f"hold {name}"
    own_key = server.new_key(f"{name}-own", CREDIT)
    foreign_key = server.new_key(f"{name}-foreign", CREDIT)
    with server.client(own_key) as mine, server.client(foreign_key) as theirs:
        own = ask(mine, "chat_completions", words, leave_after=3, headers=WINDOW)
        foreign = ask(theirs, "chat_completions", words, leave_after=3, headers=WINDOW)
        asked = len(house.script.asked)
        statuses = make_guesses(house, own_key, own.stream, foreign.stream)
        assert set(statuses) == {400, 404, 409}
        assert len(house.script.asked) == asked, "a guess made something run"
        house.script.gates[name].set()
        for client, begun in ((mine, own), (theirs, foreign)):
            rest = follow(client, begun.stream, 2)
            assert rest.broken is None
            whole = follow(client, begun.stream)
            assert begun.events + rest.events == whole.events
            assert whole.text("chat_completions") == text_of(2 * HELD)
    for account in (f"{name}-own", f"{name}-foreign"):
        (receipt,) = server.receipts(account)
        assert receipt["amount"] == PROMPT_TOKENS + 2 * HELD
        assert server.wallet(account) == (CREDIT - receipt["amount"], 0)


@pytest.mark.parametrize("surface", STREAMS)
def test_unknown_and_foreign_are_told_in_the_same_bytes(house: House, surface: str) -> None:
    server = house.server
    key = server.new_key(f"curious-{surface}", CREDIT)
    with server.client(house.acted.key) as theirs, server.client(key) as curious:
        foreign = ask(theirs, surface, f"say 3 {surface}", headers=WINDOW).stream
        assert follow(theirs, foreign).status == 200
        unknown = foreign[:-4] + ("0000" if foreign[-4:] != "0000" else "1111")
        for base in ("/v1/streams", "/api/v1/llm/streams"):
            for method in ("GET", "DELETE"):
                told = {
                    _ID_OF_REQUEST.sub(b"", hear(client, method, f"{base}/{name}").body)
                    for client, name in (
                        (curious, foreign),
                        (curious, unknown),
                        (theirs, unknown),
                        (curious, "str_"),
                        (curious, "nonsense"),
                    )
                }
                assert len(told) == 1
                assert b"stream_not_found" in told.pop()
        asked = {"x-last-chunk-index": "1", "x-bandari-stream": foreign}
        refused = ask(curious, surface, f"say 3 {surface}", headers=asked)
        assert refused.status == 409
        assert ask(theirs, surface, f"say 3 {surface}", headers=asked).status == 200
        assert follow(theirs, foreign).status == 200, "somebody else has deleted it"
    assert server.wallet(f"curious-{surface}") == (CREDIT, 0)


def memory_bytes(server: Bandari) -> int:
    """What the server has resident, without its engine's process."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def stalled(url: str, head: str, body: bytes = b"") -> socket.socket:
    """A client that has asked, and reads nothing; its own buffer is as small as can be."""
    parts = urlsplit(url)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((parts.hostname, parts.port))
    reader.sendall(head.encode() + body)
    return reader


def test_readers_that_stall_hold_nothing_up(house: House) -> None:
    server, account = house.server, "stalled"
    key = server.new_key(account, 100 * CREDIT)
    common = f"host: x\r\nauthorization: Bearer {key}\r\n"
    asked_for = asking("typed_stream", "flood", model="wide", max_tokens=50_000_000)
    body = json.dumps(asked_for).encode()
    length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    before = memory_bytes(server)
    asked = f"POST {SURFACES['typed_stream'].path} HTTP/1.1\r\n{common}{length}"
    readers = [stalled(server.url, asked, body)]
    try:
        head = b""
        while b"\r\n\r\n" not in head:
            head += readers[0].recv(64)
        (stream_id,) = re.findall(rb"x-bandari-stream: (\S+)", head)
        path = f"/v1/streams/{stream_id.decode()}"
        readers += [stalled(server.url, f"GET {path} HTTP/1.1\r\n{common}\r\n") for _ in range(8)]
        with server.client(key) as client:
            whole = hear(client, "GET", path)
        assert whole.broken is None
        assert whole.text("typed_stream") == "x" * EVENT_BYTES * FLOOD_EVENTS
        (receipt,) = server.receipts(account)
        assert (receipt["ending"], receipt["amount"]) == ("completed", PROMPT_TOKENS + FLOOD_EVENTS)
        # One copy of the answer, whoever reads it, and what is on its way to each.
        assert memory_bytes(server) - before < 3 * len(whole.body) + 16 * 2**20
    finally:
        for reader in readers:
            with suppress(OSError):
                reader.close()
    wait_until(lambda: server.wallet(account)[1] == 0, what="the end of the hold")


@pytest.mark.soak
def test_one_that_stalls_is_dropped(house: House) -> None:
    """After a minute without a byte taken; what it finds then is not the whole answer."""
    server = house.server
    key = server.new_key("dropped", 100 * CREDIT)
    body = asking("typed_stream", "flood", model="wide", max_tokens=50_000_000)
    with server.client(key) as client:
        whole = hear(client, "POST", SURFACES["typed_stream"].path, json=body)
    head = f"GET /v1/streams/{whole.stream} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    ended = 'bandari_requests_total{route="/v1/streams/{id}"'
    before = metric(server, ended)
    with stalled(server.url, f"{head}\r\n") as reader:
        wait_until(lambda: metric(server, ended) > before, 90, "the end of the reader")
        taken = 0
        with suppress(ConnectionResetError):
            while piece := reader.recv(65536):
                taken += len(piece)
    assert taken < len(whole.body)


def test_fifty_readers_of_one_stream(house: House) -> None:
    server = house.server
    words, count = "hold shared", 50
    key = server.new_key("shared", CREDIT)
    heard: list[bytes] = []
    with server.client(key) as client:
        begun = ask(client, "chat_completions", words, leave_after=2, headers=WINDOW)

        def read() -> None:
            with server.client(key) as own:
                heard.append(follow(own, begun.stream).body)

        threads = [threading.Thread(target=read) for _ in range(count)]
        for thread in threads:
            thread.start()
        house.script.gates["shared"].set()
        for thread in threads:
            thread.join(30)
    assert len(heard) == count
    assert len(set(heard)) == 1
    assert len(server.receipts("shared")) == 1
