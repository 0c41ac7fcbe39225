"""How long a stream waits for its reader, who finds it again, and when it is gone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx2 as httpx
import pytest
from tests.support.acting_upstream import PROMPT_TOKENS
from tests.support.postgresql import PostgresqlServer
from tests.support.server import Bandari, metric, running, wait_until
from tests.support.stage import CREDIT, Stage, stage
from tests.support.surfaces import (
    HELD,
    STREAMS,
    SURFACES,
    Script,
    ask,
    asking,
    data_of,
    follow,
    hear,
    text_of,
)

from bandari.domain.keys import KeyPolicy

CHAT = "chat_completions"


def window(text: str) -> dict[str, str]:
    return {"x-resume-window": text}


def behind(index: int, **more: str) -> dict[str, str]:
    """As a client says it that comes back."""
    return {"x-last-chunk-index": str(index)} | more


class House(NamedTuple):
    acted: Stage
    script: Script

    @property
    def server(self) -> Bandari:
        return self.acted.server

    def client(self, account: str, policy: KeyPolicy | None = None) -> httpx.Client:
        return self.server.client(self.server.new_key(account, CREDIT, policy=policy))

    def endings(self, account: str) -> list[str]:
        """Once nothing of the account runs any more."""
        wait_until(lambda: self.server.wallet(account)[1] == 0, what="the end of the hold")
        return [row["ending"] for row in self.server.receipts(account)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    script = Script()
    with stage(tmp_path_factory.mktemp("rules") / "data", script.act) as acted:
        yield House(acted, script)


@pytest.fixture
def account(request: pytest.FixtureRequest) -> str:
    """A name of the test's own."""
    return "".join(char if char.isalnum() else "-" for char in request.node.name).strip("-")


@pytest.fixture
def client(house: House, account: str) -> Iterator[httpx.Client]:
    with house.client(account) as client:
        yield client


@pytest.mark.parametrize("surface", STREAMS)
def test_who_says_nothing_has_the_surfaces_window(
    house: House, account: str, client: httpx.Client, surface: str
) -> None:
    unkept = {"store": False} if surface == "responses" else {}
    left = ask(client, surface, f"hold {account}", leave_after=3, **unkept)
    if surface == "typed_stream":
        assert left.headers["x-resume-window"] == "60"
        house.script.gates[account].set()
        assert house.endings(account) == ["completed"]
        assert follow(client, left.stream, 2).broken is None
    else:
        assert left.headers["x-resume-window"] == "0"
        assert house.endings(account) == ["client_left"]
        assert follow(client, left.stream).status == 404
        again = ask(client, surface, f"hold {account}", headers=behind(2), **unkept)
        assert again.status == 409
        assert again.headers["x-should-retry"] == "false"
        assert len(house.server.receipts(account)) == 1


def test_the_request_comes_before_the_key_and_the_key_before_the_surface(
    house: House, account: str
) -> None:
    cases = [
        (None, {}, "0"),
        (KeyPolicy(resume_window_s=20), {}, "20"),
        (KeyPolicy(resume_window_s=20), window("7"), "7"),
        (KeyPolicy(resume_window_s=20), window("cancel"), "0"),
        (None, window("5000"), "300"),
        (None, {"idempotency-key": "a"}, "60"),
        (None, {"idempotency-key": "b"} | window("90"), "90"),
        (None, {"idempotency-key": "c"} | window("0"), "0"),
    ]
    for number, (policy, headers, told) in enumerate(cases):
        with house.client(f"{account}-{number}", policy) as client:
            heard = ask(client, CHAT, "say 2", headers=headers)
            assert heard.headers["x-resume-window"] == told, (policy, headers)


@pytest.mark.parametrize("text", ["-1", "1.5", "soon", "", "9" * 30, "86401"])
def test_a_window_that_is_none_is_refused(client: httpx.Client, text: str) -> None:
    refused = ask(client, CHAT, "say 2", headers=window(text))
    assert refused.status == 400
    assert "x-resume-window" in refused.error["message"]


def test_a_window_runs_out(house: House, account: str, client: httpx.Client) -> None:
    """What runs is stopped, and charged for what there is; what has ended is forgotten."""
    running_on = ask(client, CHAT, f"hold {account}", leave_after=3, headers=window("1"))
    ended = ask(client, CHAT, f"say 4 {account}", headers=window("1"))
    for stream in (running_on.stream, ended.stream):
        wait_until(lambda name=stream: is_gone(client, name), 10, "the end of its window")
    assert sorted(house.endings(account)) == ["client_left", "completed"]


def is_gone(client: httpx.Client, stream_id: str) -> bool:
    """Without reading it, which would make it stay."""
    told = hear(client, "GET", f"/v1/streams/{stream_id}", params={"after": 2**53 - 1})
    assert told.status in (400, 404)
    return told.status == 404


@pytest.mark.parametrize("surface", STREAMS)
def test_the_same_request_with_an_index_goes_on(
    house: House, account: str, client: httpx.Client, surface: str
) -> None:
    """By either header, and with its fields in another order. Another request finds nothing."""
    words = f"hold {account}"
    left = ask(client, surface, words, leave_after=2, headers=window("30"))
    assert ask(client, surface, words, headers=behind(0), max_tokens=499).status in (400, 409)
    body = dict(reversed(asking(surface, words).items()))
    second = {**SURFACES[surface].headers, "last-event-id": "1"}
    more = hear(client, "POST", SURFACES[surface].path, 2, json=body, headers=second)
    house.script.gates[account].set()
    rest = ask(client, surface, words, headers=behind(3))
    parts = left.events + more.events + rest.events
    assert parts == follow(client, left.stream).events
    assert rest.stream == left.stream
    assert house.script.calls(words) == 1
    assert house.endings(account) == ["completed"]


def test_of_two_that_are_alike_one_has_to_be_named(
    house: House, account: str, client: httpx.Client
) -> None:
    words = f"hold {account}"
    first, second = (ask(client, CHAT, words, leave_after=2, headers=window("30")) for _ in "ab")
    unclear = ask(client, CHAT, words, headers=behind(1))
    assert unclear.status == 409
    assert "x-bandari-stream" in unclear.error["message"]
    house.script.gates[account].set()
    for left in (first, second):
        headers = behind(1, **{"x-bandari-stream": left.stream})
        rest = ask(client, CHAT, words, headers=headers)
        assert (rest.status, rest.stream) == (200, left.stream)
        assert left.events + rest.events == follow(client, left.stream).events
    assert house.script.calls(words) == 2


def test_one_that_is_read_already_is_not_taken_for_the_other(
    house: House, account: str, client: httpx.Client
) -> None:
    words = f"hold {account}"
    body, path = asking(CHAT, words), SURFACES[CHAT].path
    left = ask(client, CHAT, words, leave_after=2, headers=window("30"))
    with client.stream("POST", path, json=body, headers=window("30")) as busy:
        pieces = busy.iter_raw()  # who lets go of it leaves
        first = next(pieces)
        wait_until(lambda: house.script.calls(words) == 2, what="the second answer")
        with client.stream("POST", path, json=body, headers=behind(1)) as resumed:
            assert resumed.status_code == 200, resumed.read()
            assert resumed.headers["x-bandari-stream"] == left.stream
        house.script.gates[account].set()
        assert (first + b"".join(pieces)).endswith(b"data: [DONE]\n\n")
    assert follow(client, left.stream).text(CHAT) == text_of(2 * HELD)


def test_nothing_is_stopped_while_anybody_reads(
    house: House, account: str, client: httpx.Client
) -> None:
    """Without any window: the one who asked leaves, and another is still there."""
    words, ended = f"hold {account}", 'bandari_requests_total{route="/v1/chat/completions"'
    before = metric(house.server, ended)
    with client.stream("POST", SURFACES[CHAT].path, json=asking(CHAT, words)) as asker:
        pieces = asker.iter_raw()
        next(pieces)
        path = f"/v1/streams/{asker.headers['x-bandari-stream']}"
        with client.stream("GET", path) as reader:
            rest = reader.iter_raw()
            first = next(rest)
            asker.close()
            wait_until(lambda: metric(house.server, ended) > before, what="the asker's end")
            house.script.gates[account].set()
            whole = first + b"".join(rest)
    assert whole.endswith(b"data: [DONE]\n\n")
    assert house.endings(account) == ["completed"]


@pytest.mark.parametrize("is_running", [True, False])
def test_it_is_deleted(house: House, account: str, client: httpx.Client, is_running: bool) -> None:
    words = f"hold {account}" if is_running else f"say 6 {account}"
    headers = window("30") | {"x-bandari-cache": "use"}
    left = ask(client, CHAT, words, leave_after=3 if is_running else None, headers=headers)
    path = f"/v1/streams/{left.stream}"
    deleted = client.delete(path)
    assert deleted.status_code == 200
    assert deleted.json() == {"id": left.stream, "object": "stream", "deleted": True}
    assert client.delete(path).status_code == 404
    assert follow(client, left.stream).status == 404
    assert ask(client, CHAT, words, headers={"x-bandari-cache": "only"}).status == 404
    assert house.endings(account) == ["cancelled" if is_running else "completed"]
    (receipt,) = house.server.receipts(account)
    assert receipt["amount"] > PROMPT_TOKENS


def test_what_is_stored_is_deleted_with_its_response(
    house: House, account: str, client: httpx.Client
) -> None:
    """A stream that is stored can be read as long as its response; not a moment longer."""
    words = f"say 6 {account}"
    made = ask(client, "responses", words, store=True, background=True)
    response_id = data_of(made.events)[0]["response"]["id"]
    assert follow(client, made.stream).events == made.events
    assert client.delete(f"/v1/responses/{response_id}").status_code == 200
    assert follow(client, made.stream).status == 404
    for table in ("recordings", "responses"):
        kept = {row["id"] for row in house.server.query(f"SELECT id FROM {table}")}
        assert not kept & {made.stream, response_id}


OFF = '[streams]\nkeep = "off"\n[cache]\n'
DATABASE = '[streams]\nkeep = "database"\nresume_window_s = { chat_completions = 60 }\n'


def contents(server: Bandari) -> bytes:
    return b"".join(path.read_bytes() for path in server.data.glob("bandari.db*"))


def test_an_operator_who_keeps_nothing(tmp_path: Path) -> None:
    script = Script()
    with stage(tmp_path / "data", script.act, OFF) as acted:
        server = acted.server
        with server.client(acted.key) as client:
            use = {"x-bandari-cache": "use"}
            for surface in STREAMS:
                heard = ask(client, surface, f"say 4 {surface}", headers=window("60") | use)
                assert heard.text(surface) == text_of(4)
                assert heard.headers["x-resume-window"] == "0"
                assert follow(client, heard.stream).status == 404
                again = ask(client, surface, f"say 4 {surface}", headers=use)
                assert again.headers.get("x-bandari-cache") != "hit"
            stored = client.post("/v1/responses", json={"model": "acted", "input": "say 3"}).json()
            assert stored["store"] is False
            assert client.get(f"/v1/responses/{stored['id']}").status_code == 404
            body = {"model": "acted", "input": "say 3", "background": True}
            refused = client.post("/v1/responses", json=body)
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == "background"
            keyed = {"idempotency-key": "k"}
            assert ask(client, CHAT, "say 5 keyed", stream=False, headers=keyed).status == 200
            again = ask(client, CHAT, "say 5 keyed", stream=False, headers=keyed)
            assert (again.status, again.error["code"]) == (409, "idempotency_key_reused")
        assert script.calls("say 5 keyed") == 1
        assert metric(server, "bandari_recorded_bytes") == 0
        assert metric(server, "bandari_cached_bytes") == 0
        assert server.stop() == 0
        assert b"w0 w1" not in contents(server)
        assert b'"w2 "' not in contents(server)


def test_kept_in_the_database_it_outlives_the_server(tmp_path: Path) -> None:
    script = Script()
    with stage(tmp_path / "data", script.act, DATABASE) as acted:
        server, whole = acted.server, {}
        with server.client(acted.key) as client:
            for name in ("read", "deleted"):
                whole[name] = ask(client, CHAT, f"say 6 {name}")
                assert whole[name].headers["x-resume-window"] == "60"
        server.stop(signal.SIGKILL)
        server.start()
        with server.client(acted.key) as client:
            read = whole["read"]
            assert follow(client, read.stream).events == read.events
            assert follow(client, read.stream, 3).events == read.events[4:]
            again = ask(client, CHAT, "say 6 read", headers=behind(3))
            assert again.status in (200, 409), "its digest is only known to the server that died"
            gone = whole["deleted"].stream
            assert client.delete(f"/v1/streams/{gone}").status_code == 200
            assert follow(client, gone).status == 404
        kept = [row["id"] for row in server.query("SELECT id FROM recordings")]
        assert kept == [read.stream]
        assert script.calls("say 6 read") == 1


@pytest.mark.postgresql
def test_a_key_is_taken_once_on_all_servers(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    """While it runs the other server says so; when it has ended, both have it."""
    script, database = Script(), {"BANDARI_DATABASE_URL": postgresql.create_database()}
    words, keyed = "hold everywhere", {"idempotency-key": "k"}
    with stage(tmp_path / "one", script.act, **database) as acted:
        config = acted.server.config.read_text()
        with (
            running(tmp_path / "other", config, **database) as other,
            acted.server.client(acted.key) as here,
            other.client(acted.key) as there,
        ):
            left = ask(here, CHAT, words, leave_after=3, headers=keyed)
            for refused in (
                ask(there, CHAT, words, headers=keyed),
                follow(there, left.stream),
            ):
                assert (refused.status, refused.error["code"]) == (409, "running_elsewhere")
            changed = ask(there, CHAT, words + "!", headers=keyed)
            assert (changed.status, changed.error["code"]) == (409, "idempotency_key_reused")
            script.gates["everywhere"].set()
            wait_until(lambda: acted.server.wallet("visitor")[1] == 0, what="the end of the hold")
            again = ask(there, CHAT, words, headers=keyed)
            assert again.headers["x-bandari-replayed"] == "true"
            assert again.events == ask(here, CHAT, words, headers=keyed).events
            assert again.events == follow(there, left.stream).events
        assert script.calls(words) == 1
        assert len(acted.server.receipts("visitor")) == 1
