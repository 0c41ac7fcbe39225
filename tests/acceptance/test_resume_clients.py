"""Real clients whose connections are cut: what they put together is the uninterrupted stream.

Each has one call of the provider, one receipt and one charge, however often it came back.
"""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import httpx as httpx_of_mka1
import httpx2 as httpx
import openai
import pytest
from meetkai_mka1 import SDK
from tests.support.acting_upstream import PROMPT_TOKENS
from tests.support.event_cutter import Cut, event_cutter, events_of, random_cuts
from tests.support.node import seen_by
from tests.support.server import wait_until
from tests.support.stage import ACTED, CREDIT, Stage, stage
from tests.support.surfaces import (
    HELD,
    MAX_TOKENS,
    STREAMS,
    SURFACES,
    Script,
    ask,
    asking,
    data_of,
    follow,
    text_of,
    without_names,
)

# The package itself calls the stream deprecated, as the service's documentation does.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WORDS = 12
WINDOW = {"x-resume-window": "30"}


class House(NamedTuple):
    acted: Stage
    script: Script

    def paid_once(self, account: str, words: str, tokens: int) -> None:
        """The question was asked, received and charged once."""
        assert self.script.calls(words) == 1
        (receipt,) = self.acted.server.receipts(account)
        assert receipt["ending"] == "completed"
        assert receipt["amount"] == PROMPT_TOKENS + tokens
        assert self.acted.server.wallet(account) == (CREDIT - receipt["amount"], 0)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    script = Script()
    with stage(tmp_path_factory.mktemp("resume") / "data", script.act) as acted:
        yield House(acted, script)


@pytest.fixture
def client(house: House) -> Iterator[httpx.Client]:
    with house.acted.server.client(house.acted.key) as client:
        yield client


ORPC: dict[str, Callable[[], Iterator[int]]] = {
    "reset after 3": lambda: itertools.repeat(3),
    "closed after 1": lambda: itertools.repeat(1),
    "reset after 1": lambda: itertools.repeat(1),
    "closed at random": lambda: random_cuts(7, 1, 5),
}


@pytest.fixture(scope="module")
def seen_by_orpc(house: House) -> dict[str, Any]:
    """What oRPC's client saw through a network of each kind; an account and a question for each."""
    server, questions = house.acted.server, {}
    with ExitStack() as open_cutters:
        for step, cuts in ORPC.items():
            how = Cut.RESET if step.startswith("reset") else Cut.CLOSE
            cutter = open_cutters.enter_context(event_cutter(server.url, cuts(), how))
            key = server.new_key(f"orpc {step}".replace(" ", "-"), CREDIT)
            questions[step] = {"url": cutter.url, "key": key, "words": f"slow {WORDS} {step}"}
        seen = seen_by("orpc_resume.mjs", QUESTIONS=json.dumps(questions))
    return {step: {"key": questions[step]["key"], **saw} for step, saw in seen.items()}


@pytest.mark.parametrize("step", ORPC)
def test_orpc_with_its_retry_plugin(house: House, seen_by_orpc: dict[str, Any], step: str) -> None:
    seen = seen_by_orpc[step]
    assert "failed" not in seen, seen
    assert seen["retries"], "it was never cut"
    assert seen["returned"] is None
    assert seen["ids"] == [str(number) for number in range(len(seen["ids"]))]
    stream_id = seen["events"][0]["id"].replace("chatcmpl-", "str_")
    with house.acted.server.client(seen["key"]) as client:
        whole = follow(client, stream_id)
    assert seen["events"] == data_of(whole.events)
    assert "".join(map(SURFACES["typed_stream"].delta, seen["events"])) == text_of(WORDS)
    house.paid_once(f"orpc {step}".replace(" ", "-"), f"slow {WORDS} {step}", WORDS)


CUTS = (
    httpx.TransportError,
    httpx_of_mka1.TransportError,
    openai.APIConnectionError,
    anthropic.APIConnectionError,
)


def gather(stream: Iterable[Any], events: list[Any]) -> bool:
    """Add what an SDK gives; whether its connection was cut."""
    try:
        for event in stream:
            events += [event]
    except CUTS:
        return True
    return False


@pytest.mark.parametrize("how", Cut)
def test_mka1_goes_on_behind_the_last_chunk_it_has(house: House, how: Cut) -> None:
    account, words = f"mka1-{how.value}", f"slow {WORDS} mka1 {how.value}"
    key = house.acted.server.new_key(account, CREDIT)
    messages: list[Any] = []
    asked: Any = {"model": ACTED, "messages": [{"role": "user", "content": words}]}
    with (
        event_cutter(house.acted.server.url, random_cuts(3, 1, 4), how) as cutter,
        SDK(bearer_auth=key, server_url=cutter.url, retry_config=None) as sdk,
    ):
        while not messages or messages[-1].event != "done":
            assert cutter.cut < 4 * WORDS
            headers = {"x-last-chunk-index": messages[-1].id} if messages else {}
            with sdk.llm.chat.stream(**asked, http_headers=headers) as events:
                gather(events, messages)
    done = messages.pop()
    assert done.data is None
    assert cutter.cut > 2
    assert [int(message.id) for message in messages] == list(range(len(messages)))
    text = "".join(message.data.choices[0].delta.content or "" for message in messages)
    assert text == text_of(WORDS)
    house.paid_once(account, words, WORDS)


@pytest.mark.parametrize("how", Cut)
def test_openai_reads_a_background_response_on(house: House, how: Cut) -> None:
    account, words = f"background-{how.value}", f"slow {WORDS} background {how.value}"
    key = house.acted.server.new_key(account, CREDIT)
    with (
        event_cutter(house.acted.server.url, random_cuts(5, 1, 6), how) as cutter,
        openai.OpenAI(base_url=f"{cutter.url}/v1", api_key=key, max_retries=0) as sdk,
    ):
        events: list[Any] = []
        asked = sdk.responses.create(model=ACTED, input=words, background=True, stream=True)
        is_cut = gather(asked, events)
        while is_cut:
            assert cutter.cut < 4 * WORDS
            stream = sdk.responses.retrieve(
                events[0].response.id, stream=True, starting_after=events[-1].sequence_number
            )
            is_cut = gather(stream, events)
        assert cutter.cut > 2
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1]
    assert final.type == "response.completed"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.response.output_text == text_of(WORDS)
    house.paid_once(account, words, WORDS)


def test_openai_reads_a_stream_with_a_window_on(house: House) -> None:
    """One that is not made in the background: its recording has what ``starting_after`` needs."""
    account, words = "foreground", "hold foreground"
    key = house.acted.server.new_key(account, CREDIT)
    with (
        event_cutter(house.acted.server.url, [6]) as cutter,
        openai.OpenAI(base_url=f"{cutter.url}/v1", api_key=key, max_retries=0) as sdk,
    ):
        asked = sdk.responses.create(model=ACTED, input=words, stream=True, extra_headers=WINDOW)
        events: list[Any] = []
        assert gather(asked, events)
        assert len(events) == 6
        house.script.gates["foreground"].set()
        events += sdk.responses.retrieve(
            events[0].response.id, stream=True, starting_after=events[-1].sequence_number
        )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == text_of(2 * HELD)
    house.paid_once(account, words, 2 * HELD)


def streamed_by_sdk(url: str, key: str, surface: str, words: str) -> Any:
    """The stream of the surface's own SDK; the typed stream's is read by another test's."""
    if surface == "messages":
        claude = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0)
        return claude.messages.create(
            model=ACTED,
            max_tokens=MAX_TOKENS,
            messages=[{"role": "user", "content": words}],
            stream=True,
            extra_headers=WINDOW,
        )
    sdk = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    make: Any = {
        "chat_completions": sdk.chat.completions.create,
        "completions": sdk.completions.create,
        "responses": sdk.responses.create,
    }[surface]
    return make(**asking(surface, words), extra_headers=WINDOW)


def cut_by_sdk(url: str, key: str, surface: str, words: str, after: int) -> tuple[str, bytes]:
    """Read through a network that cuts: the stream's id, and what came of it."""
    with event_cutter(url, [after]) as cutter:
        if surface == "typed_stream":
            headers = {"authorization": f"Bearer {key}"}
            with httpx.Client(base_url=cutter.url, headers=headers) as client:
                heard = ask(client, surface, words, headers=WINDOW)
            assert heard.broken is not None
            return heard.stream, b"".join(heard.events)
        stream = streamed_by_sdk(cutter.url, key, surface, words)
        with stream:
            stream_id = stream.response.headers["x-bandari-stream"]
            assert stream.response.headers["x-resume-window"] == "30"
            events: list[Any] = []
            assert gather(stream, events)
            assert len(events) == after
        return stream_id, b"".join(events_of(bytes(cutter.bodies[0])))


@pytest.mark.parametrize("surface", STREAMS)
def test_two_parts_are_the_uninterrupted_stream_byte_for_byte(
    house: House, client: httpx.Client, surface: str
) -> None:
    whole = ask(client, surface, f"say {2 * HELD} {surface}")
    for after in (1, 2, 4):
        account, name = f"parts-{surface}-{after}", f"{surface}-{after}"
        key = house.acted.server.new_key(account, CREDIT)
        url = house.acted.server.url
        stream_id, first = cut_by_sdk(url, key, surface, f"hold {name}", after)
        with house.acted.server.client(key) as mine:
            path, parameters = f"/v1/streams/{stream_id}", {"after": after - 1}
            with mine.stream("GET", path, params=parameters) as second:
                assert second.status_code == 200
                assert second.headers["content-type"].startswith("text/event-stream")
                house.script.gates[name].set()
                rest = b"".join(events_of(second.read()))
            again = follow(mine, stream_id)
        assert first + rest == b"".join(again.events)
        assert without_names(first + rest) == without_names(b"".join(whole.events))
        house.paid_once(account, f"hold {name}", 2 * HELD)


def test_two_curls_read_one_stream(house: House, tmp_path: Path) -> None:
    account, words = "curls", "hold curls"
    server, key = house.acted.server, house.acted.server.new_key(account, CREDIT)
    heads, first, second = (tmp_path / name for name in ("heads", "first", "second"))
    curl = ["curl", "-sSN", "--max-time", "30", "-H", f"authorization: Bearer {key}"]
    body = json.dumps(asking("chat_completions", words))
    url = f"{server.url}/v1/chat/completions"
    asking_one = [*curl, "-D", str(heads), "-o", str(first), "-d", body, url]
    with subprocess.Popen([*asking_one, "-H", "content-type: application/json"]) as asker:
        wait_until(lambda: first.exists() and first.read_bytes().count(b"\n\n") > HELD)
        head = heads.read_text().lower()
        (stream_id,) = (
            line.split()[1] for line in head.splitlines() if line.startswith("x-bandari-stream")
        )
        reading = [*curl, "-o", str(second), f"{server.url}/v1/streams/{stream_id}"]
        with subprocess.Popen(reading) as reader:
            wait_until(lambda: second.exists() and second.read_bytes().count(b"\n\n") > HELD)
            assert asker.poll() is None
            house.script.gates["curls"].set()
            assert (asker.wait(30), reader.wait(30)) == (0, 0)
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().endswith(b"data: [DONE]\n\n")
    house.paid_once(account, words, 2 * HELD)
