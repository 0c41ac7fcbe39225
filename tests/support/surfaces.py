"""The same question at every surface, and what was heard of the answer, event by event.

The provider behind them plays ``Script``: its answer follows from the words of the question.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx2 as httpx
from tests.support.acting_upstream import Break, Part, Pause, Refuse, Say, Until
from tests.support.event_cutter import events_of
from tests.support.stage import ACTED

MAX_TOKENS = 500
"""Said everywhere, because not every surface's default is the same."""

HELD = 5
"""Words before the gate of a question that is held, and behind it."""

Json = dict[str, Any]


class Surface(NamedTuple):
    """``prefix`` is what the ids of its answers begin with."""

    path: str
    body: Callable[[str], Json]
    delta: Callable[[Json], str]
    whole: Callable[[Json], str]
    prefix: str = "chatcmpl-"
    headers: Mapping[str, str] = {}


def _chat(words: str) -> Json:
    return {"messages": [{"role": "user", "content": words}], "max_tokens": MAX_TOKENS}


def _chat_delta(chunk: Json) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in chunk.get("choices", ()))


def _responses_delta(event: Json) -> str:
    return str(event["delta"]) if event["type"] == "response.output_text.delta" else ""


SURFACES: Mapping[str, Surface] = {
    "chat_completions": Surface(
        "/v1/chat/completions",
        _chat,
        _chat_delta,
        lambda answer: str(answer["choices"][0]["message"]["content"]),
    ),
    "completions": Surface(
        "/v1/completions",
        lambda words: {"prompt": words, "max_tokens": MAX_TOKENS},
        lambda chunk: "".join(choice["text"] for choice in chunk.get("choices", ())),
        lambda answer: str(answer["choices"][0]["text"]),
        "cmpl-",
    ),
    "messages": Surface(
        "/v1/messages",
        _chat,
        lambda event: str(event.get("delta", {}).get("text", "")),
        lambda answer: "".join(block["text"] for block in answer["content"]),
        "msg_",
        {"anthropic-version": "2023-06-01"},
    ),
    "responses": Surface(
        "/v1/responses",
        lambda words: {"input": words, "max_output_tokens": MAX_TOKENS},
        _responses_delta,
        lambda answer: "".join(
            part["text"] for item in answer["output"] for part in item["content"]
        ),
        "resp_",
    ),
    "typed_stream": Surface(
        "/api/v1/llm/chat/completions/stream", _chat, _chat_delta, lambda answer: ""
    ),
}
STREAMS = tuple(SURFACES)
WHOLE = tuple(name for name in SURFACES if name != "typed_stream")


class Script:
    """What the provider says: ``say 7`` so many words; ``slow 7`` the same, 10 ms apart.

    ``hold NAME``: ``HELD`` words, then nothing until ``gates[NAME]`` is set, then as many again;
    ``wait NAME`` has none before it; ``flaky NAME`` is that, but is refused the first time.
    ``break``: five words and an error. ``refuse``: status 503 while ``refuses`` is set, else as
    ``say 5``. Further words tell questions apart.
    """

    def __init__(self) -> None:
        self.gates: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self.refuses = threading.Event()
        self.asked: list[str] = []

    def calls(self, words: str) -> int:
        """How often the provider was asked exactly that."""
        return self.asked.count(words)

    def act(self, body: Json) -> list[Part]:
        content = body["messages"][-1]["content"]
        words = content if isinstance(content, str) else content[0]["text"]
        self.asked.append(words)
        what, _, rest = words.partition(" ")
        name = rest.partition(" ")[0]
        if what == "say":
            return list(_words(0, int(name)))
        if what == "slow":
            return [part for word in _words(0, int(name)) for part in (word, Pause(0.01))]
        if what == "hold":
            return [*_words(0, HELD), Until(self.gates[name]), *_words(HELD, 2 * HELD)]
        if what == "wait":
            return [Until(self.gates[name]), *_words(0, HELD)]
        if what == "flaky":
            is_first = self.calls(words) == 1
            self.gates[name].wait(30)
            return [Refuse(503)] if is_first else list(_words(0, HELD))
        if what == "break":
            return [*_words(0, HELD), Break("out of memory")]
        if what == "refuse" and self.refuses.is_set():
            return [Refuse(503)]
        return list(_words(0, HELD))


def _words(start: int, end: int) -> list[Say]:
    return [Say(f"w{number} ") for number in range(start, end)]


def text_of(count: int) -> str:
    """What so many words are together."""
    return "".join(word.text for word in _words(0, count))


class Heard(NamedTuple):
    """``broken`` is how the answer was cut; None for one that came to its end, or was left."""

    status: int
    headers: httpx.Headers
    body: bytes
    broken: httpx.TransportError | None = None

    @property
    def events(self) -> list[bytes]:
        return events_of(self.body)

    @property
    def stream(self) -> str:
        return str(self.headers["x-bandari-stream"])

    @property
    def receipt(self) -> str:
        return str(self.headers["x-bandari-receipt"])

    @property
    def error(self) -> Json:
        """What was refused, in whichever envelope."""
        told = json.loads(self.body)
        error: Json = told["data"] | {"message": told["message"]} if "data" in told else told
        return error.get("error", error)

    def text(self, surface: str) -> str:
        """The answer's words."""
        spelled = SURFACES[surface]
        if self.headers["content-type"].startswith("application/json"):
            return spelled.whole(json.loads(self.body))
        return "".join(spelled.delta(data) for data in data_of(self.events))


def data_of(events: list[bytes]) -> list[Json]:
    """The JSON objects that events carry; ``[DONE]`` and null are none."""
    found = [line for event in events for line in event.split(b"\n") if line[:6] == b"data: "]
    read = [json.loads(line[6:]) for line in found if line != b"data: [DONE]"]
    return [data for data in read if isinstance(data, dict)]


def asking(surface: str, words: str, *, stream: bool = True, **fields: Any) -> Json:
    """The body of the question."""
    streaming = {"stream": True} if stream and surface != "typed_stream" else {}
    return {"model": ACTED} | SURFACES[surface].body(words) | streaming | fields


def ask(
    client: httpx.Client,
    surface: str,
    words: str,
    *,
    stream: bool = True,
    leave_after: int | None = None,
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Heard:
    """Ask, and hear the answer to its end, or leave after so many events of it."""
    spelled = SURFACES[surface]
    body = asking(surface, words, stream=stream, **fields)
    given = dict(spelled.headers) | dict(headers or {})
    return hear(client, "POST", spelled.path, leave_after, json=body, headers=given)


def follow(client: httpx.Client, stream_id: str, after: int | None = None) -> Heard:
    """Read a stream behind that index, or all of it."""
    parameters = {} if after is None else {"after": after}
    return hear(client, "GET", f"/v1/streams/{stream_id}", params=parameters)


def hear(
    client: httpx.Client, method: str, path: str, leave_after: int | None = None, **options: Any
) -> Heard:
    got = b""
    with client.stream(method, path, **options) as response:
        try:
            for piece in response.iter_raw():
                got += piece
                if leave_after is not None and len(events_of(got)) >= leave_after:
                    got = b"".join(events_of(got)[:leave_after])
                    break
        except httpx.TransportError as broken:
            return Heard(response.status_code, response.headers, got, broken)
        return Heard(response.status_code, response.headers, got)


_IDS = re.compile(rb"\b(chatcmpl-|cmpl-|[a-z]{2,5}_)[A-Za-z0-9]{12,}")
_TIMES = re.compile(rb'"(created|created_at|completed_at)":\d+(\.\d+)?')


def without_names(stream: bytes) -> bytes:
    """The stream without what tells it from another one that says the same: ids and times."""
    return _TIMES.sub(rb'"\1":0', _IDS.sub(rb"\1x", stream))
