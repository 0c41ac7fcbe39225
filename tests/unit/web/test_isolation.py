"""Two accounts of one server: what is the other's is as good as not there, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.client import Client, request, start
from tests.support.gates import Gate
from tests.support.key_ring import PREFIX, a_key
from tests.support.scripted_upstream import Script, ScriptedUpstream, answer, text
from tests.support.small_house import SmallHouse

from bandari.domain import keys

AMINA = keys.spell(PREFIX, b"k" * keys.SECRET_BYTES)
JUMA = keys.spell(PREFIX, b"j" * keys.SECRET_BYTES)
PATH = "/v1/responses"
NO_ID = "resp_0000000000000000000000000000"


class Server:
    """``made`` is the id of a response of Amina's, which Juma would like to have."""

    def __init__(self, front, *steps: object) -> None:
        upstream = ScriptedUpstream(Script(*steps) if steps else Script(*answer("Nzuri.")))
        self.house = SmallHouse(upstream)
        self.house.books.credit(2, "TOKEN", 1_000_000)
        self.front = front(self.house)
        self.front.ring.add(AMINA)
        self.front.ring.add(JUMA, a_key(id=4, account_id=2, account="juma"))

    async def ask(self, key: str, method: str, path: str, query: str = "", **fields: Any) -> Client:
        headers = [("authorization", f"Bearer {key}")]
        body = json.dumps({"model": "bandari-1"} | fields).encode() if fields else b""
        app = self.front.app
        return await request(app, method, path, headers=headers, query=query, body=body)

    async def made(self, **fields: Any) -> str:
        client = await self.ask(AMINA, "POST", PATH, input="A secret.", **fields)
        assert client.status == 200
        return json.loads(client.body)["id"]


@pytest.fixture
def server(front):
    return Server(front)


def what_is_told(client: Client, of: str) -> tuple[int, dict[str, str], bytes]:
    """An answer without the id that was asked for, which alone may differ."""
    headers = {
        name: value
        for name, value in client.headers.items()
        if name not in ("date", "content-length")
    }
    return client.status, headers, client.body.replace(of.encode(), b"ID")


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "", ""),
        ("GET", "", "stream=true"),
        ("GET", "", "stream=true&starting_after=0"),
        ("DELETE", "", ""),
        ("POST", "/cancel", ""),
        ("GET", "/input_items", ""),
        ("GET", "/input_items", "limit=1&order=asc"),
    ],
)
async def test_anothers_stored_response_is_told_of_like_one_that_never_was(
    server, method, path, query
):
    made = await server.made()
    others = await server.ask(JUMA, method, f"{PATH}/{made}{path}", query)
    unknown = await server.ask(JUMA, method, f"{PATH}/{NO_ID}{path}", query)
    assert others.status == 404
    assert what_is_told(others, made) == what_is_told(unknown, NO_ID)
    assert (await server.ask(AMINA, "GET", f"{PATH}/{made}")).status == 200


async def test_nor_can_it_be_continued(server):
    made = await server.made()
    others = await server.ask(JUMA, "POST", PATH, input="Go on.", previous_response_id=made)
    unknown = await server.ask(JUMA, "POST", PATH, input="Go on.", previous_response_id=NO_ID)
    assert others.status == 404
    assert what_is_told(others, made) == what_is_told(unknown, NO_ID)


async def test_nor_can_its_items_be_referred_to(server):
    made = await server.made()
    suffix = made.removeprefix("resp_")
    no_suffix = NO_ID.removeprefix("resp_")
    told = []
    for which in (suffix, no_suffix):
        name = f"msg_{which}_in0"
        items = [{"type": "item_reference", "id": name}]
        client = await server.ask(JUMA, "POST", PATH, input=items)
        assert 400 <= client.status < 500
        told.append(what_is_told(client, which))
    assert told[0] == told[1]
    items = [{"type": "item_reference", "id": f"msg_{suffix}_in0"}]
    assert (await server.ask(AMINA, "POST", PATH, input=items)).status == 200


async def test_a_stream_that_is_running_is_its_accounts_alone(front):
    gate = Gate()
    server = Server(front, text("Nzu"), gate, *answer("ri."))
    body = json.dumps(
        {"model": "bandari-1", "input": "Hi", "stream": True, "background": True}
    ).encode()
    client = Client(body)
    headers = (("authorization", f"Bearer {AMINA}"),)
    task = start(server.front.app, client, "POST", PATH, headers)
    await client.until_body_has(b"Nzu")
    made = next(iter(server.front.stored.kept))
    for method, path, query in (
        ("GET", "", "stream=true"),
        ("GET", "", ""),
        ("POST", "/cancel", ""),
        ("DELETE", "", ""),
    ):
        others = await server.ask(JUMA, method, f"{PATH}/{made}{path}", query)
        unknown = await server.ask(JUMA, method, f"{PATH}/{NO_ID}{path}", query)
        assert what_is_told(others, made) == what_is_told(unknown, NO_ID)
        assert others.status == 404
    gate.open()
    await task
    assert client.status == 200
    assert b"response.completed" in client.body


async def test_each_account_pays_for_its_own_requests(server):
    await server.ask(
        JUMA, "POST", "/v1/chat/completions", messages=[{"role": "user", "content": "x"}]
    )
    assert server.house.books.wallet(1).balance == 1_000_000
    assert server.house.books.wallet(2).balance < 1_000_000


async def test_end_users_of_the_same_name_are_two(server):
    server.front.ring.add(JUMA, a_key(id=4, account_id=2, account="juma"), has_end_users=True)
    server.front.ring.add(AMINA, has_end_users=True)
    for key in (AMINA, JUMA):
        await server.ask(
            key,
            "POST",
            "/v1/chat/completions",
            messages=[{"role": "user", "content": "x"}],
            user="asha",
        )
    asked = [what for what in server.front.ring.asked if isinstance(what, tuple)]
    assert asked == [(1, "asha"), (2, "asha")]


async def test_a_key_of_another_server_is_told_of_like_an_unknown_one(server):
    unknown = keys.spell(PREFIX, b"u" * keys.SECRET_BYTES)
    gone = keys.spell(PREFIX, b"g" * keys.SECRET_BYTES)
    told = [await server.ask(key, "GET", "/v1/models") for key in (unknown, gone)]
    assert told[0].body == told[1].body
    assert told[0].status == 401
