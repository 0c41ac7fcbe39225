"""Every row of the table in `docs/billing.md` is a test: a cut answer's charge, rule and ending."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest
from tests.support.broken_upstream import broken_upstream
from tests.support.server import Bandari, running, wait_until

DOCUMENT = Path(__file__).parents[2] / "docs" / "billing.md"
BODY = (
    '{"model": "broken:%s", "user": "%s", "stream": %s, '
    '"messages": [{"role":"user","content":"x"}]}'
)
CREDIT = 100_000
CONFIG = """
[providers.broken]
base_url = "{url}/v1"
any_model = true
idle_timeout_ms = {idle_ms}
[models."unused"]
targets = ["broken:unused"]
"""


class Row(NamedTuple):
    what: str
    counts: str
    client: str
    charged: str
    rule: str
    ending: str
    sees: str

    @property
    def model(self) -> str:
        return self.what + (" with counts" if self.counts == "yes" else "")


def rows() -> list[Row]:
    """The table under "Answers that are cut"."""
    text = DOCUMENT.read_text().split("## Answers that are cut")[1]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


ROWS = rows()


def test_the_table_is_read() -> None:
    assert len(ROWS) >= 20
    assert {row.rule for row in ROWS} == {"reported", "counted", "estimated", ""}


class Servers(NamedTuple):
    impatient: Bandari
    """Gives a silent provider up soon."""
    patient: Bandari


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, database: Callable[[], dict[str, str]]
) -> Iterator[Servers]:
    data = tmp_path_factory.mktemp("billing")
    with broken_upstream() as url:
        impatient, patient = (CONFIG.format(url=url, idle_ms=ms) for ms in (300, 60_000))
        with (
            running(data / "impatient", impatient, **database()) as one,
            running(data / "patient", patient, **database()) as other,
        ):
            yield Servers(one, other)
            one.verify()
            other.verify()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.model}, {row.client}")
def test_row(servers: Servers, row: Row) -> None:
    leaves = row.client.startswith("leaves")
    server = servers.patient if leaves else servers.impatient
    account = f"account {ROWS.index(row)}"
    key = server.new_key(account, CREDIT)
    streams = row.client in ("streamed", "leaves a stream")
    body = BODY % (row.model, account, "true" if streams else "false")
    seen = leave(server, key, body, account) if leaves else read(server, key, body)
    wait_until(lambda: server.wallet(account)[1] == 0, what="the end of the hold")
    receipts = server.query("SELECT * FROM receipts WHERE end_user = ?", account)
    charged = 0 if row.charged == "nothing" else int(row.charged)
    assert seen == row.sees
    assert server.wallet(account) == (CREDIT - charged, 0)
    if row.charged == "nothing":
        assert receipts == []
    else:
        (receipt,) = receipts
        assert (receipt["amount"], receipt["rule"], receipt["ending"]) == (
            charged,
            row.rule,
            row.ending,
        )


def read(server: Bandari, key: str, body: str) -> str:
    """What the client sees, in the words of the table."""
    text = ""
    try:
        with (
            server.client(key) as client,
            client.stream("POST", "/v1/chat/completions", content=body) as response,
        ):
            for piece in response.iter_text():
                text += piece
    except httpx.RemoteProtocolError:
        code = text.rsplit('"code":"', 1)[1].split('"')[0]
        assert text.count("word ") == 10
        assert "[DONE]" not in text
        return f"{code} in the stream"
    if response.status_code == 200:
        assert text.count("word ") == 10
        return "the answer"
    code = text.rsplit('"code":"', 1)[1].split('"')[0]
    return f"{response.status_code} {code}"


def leave(server: Bandari, key: str, body: str, account: str) -> str:
    """Go away once the provider's ten tokens have been read.

    Of a stream there is a running count. An unstreamed answer has none: other answers are asked
    for, which come through the same server later, and are read to their end.
    """
    others = server.new_key(f"beside {account}", CREDIT)

    def all_counted() -> bool:
        if '"stream": true' in body:
            rows = server.query("SELECT output_tokens FROM holds WHERE end_user = ?", account)
            return bool(rows) and (rows[0]["output_tokens"] or 0) >= 10
        if server.query("SELECT id FROM holds WHERE end_user = ?", account):
            other = BODY % ("completes", "another", "true")
            return [read(server, others, other) for _ in range(3)] == ["the answer"] * 3
        return False

    host, port = server.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall((head + body).encode())
        wait_until(all_counted, what="the count of ten tokens")
    return ""
