"""(e): streams whose provider speaks another protocol than the client, against those that need no
translation.

One Bandari is asked for all pairs in turns: a row is what the client speaks, and over which
provider.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from tools.bench import question, streams
from tools.bench.figures import Sample
from tools.bench.gateways import Gateway, Running
from tools.bench.question import Question
from tools.bench.stage import FAILURES, Stage
from tools.bench.stream_reader import Task

VARIANT: Final = "128 streams"
_STREAMS: Final = 128
_WARM_STREAMS: Final = 16
_STORY: Final = "Tell me a story."


@dataclass(frozen=True)
class Pair:
    """The protocols of the client and of the provider."""

    client: str
    provider: str

    @property
    def name(self) -> str:
        return f"{self.client} over {self.provider}"

    @property
    def is_translated(self) -> bool:
        return self.client != self.provider


@dataclass(frozen=True)
class _Client:
    """How a client of a protocol asks: where, with what, and the body for a model's name."""

    path: str
    headers: Mapping[str, str]
    body: Callable[[str], bytes]


def _body(fields: Mapping[str, Any], model: str) -> bytes:
    return json.dumps({"model": model, "stream": True, **fields}).encode()


_MESSAGES: Final = [{"role": "user", "content": _STORY}]
_CLIENTS: Final[Mapping[str, _Client]] = {
    "chat": _Client(question.PATH, {}, question.streaming),
    "messages": _Client(
        question.MESSAGES_PATH,
        {"anthropic-version": "2023-06-01"},
        partial(_body, {"messages": _MESSAGES, "max_tokens": 1_000}),
    ),
    # Kept, an answer would cost one more write, which has nothing to do with translation.
    "responses": _Client(
        question.RESPONSES_PATH, {}, partial(_body, {"input": _STORY, "store": False})
    ),
}
_MODELS: Final = {
    "chat": "paced",
    "messages": "paced-messages",
    "responses": "paced-responses",
}
"""By the protocol of the provider: the model of Bandari's that it gives."""

BASE: Final = Pair("chat", "chat")
PAIRS: Final = (
    BASE,
    Pair("messages", "messages"),
    Pair("responses", "responses"),
    Pair("chat", "messages"),
    Pair("chat", "responses"),
    Pair("messages", "chat"),
    Pair("responses", "chat"),
    Pair("messages", "responses"),
    Pair("responses", "messages"),
)
FEW: Final = (
    BASE,
    Pair("chat", "messages"),
    Pair("messages", "responses"),
    Pair("responses", "chat"),
)
"""For the quick form: every protocol is read once, and written once."""


def measure(stage: Stage, gateways: Sequence[Gateway]) -> None:
    """CPU time of an event by pair, of those ``gateways`` that speak all the protocols."""
    pairs = FEW if stage.pace.quick else PAIRS
    rounds = streams.rounds_of(stage.pace)
    for gateway in gateways:
        with stage.started_once("e", VARIANT, gateway, [pair.name for pair in pairs]) as subject:
            if subject is None:
                continue
            _warm_up(stage, subject, pairs)
            measures = {
                pair.name: partial(_sample, stage, subject, _task(subject, pair, _STREAMS, rounds))
                for pair in pairs
            }
            stage.take_turns("e", VARIANT, measures)


def asked(subject: Running, pair: Pair) -> Question:
    """The question of that pair's client for the model of that pair's provider."""
    client = _CLIENTS[pair.client]
    url = subject.base_urls["streaming"] + client.path
    return Question(url, client.headers, client.body(_MODELS[pair.provider]), subject.keys)


def _warm_up(stage: Stage, subject: Running, pairs: Sequence[Pair]) -> None:
    """All pairs at once. One that fails will fail again, where it is measured."""

    def read(pair: Pair) -> None:
        with suppress(*FAILURES):
            streams.read(stage, _task(subject, pair, _WARM_STREAMS, 1))

    with ThreadPoolExecutor(len(pairs)) as readers:
        list(readers.map(read, pairs))


def _task(subject: Running, pair: Pair, number: int, rounds: int) -> Task:
    return streams.task_of(asked(subject, pair), number, rounds)


def _sample(stage: Stage, subject: Running, task: Task) -> Sample:
    load = partial(streams.read, stage, task)
    return stage.watched(subject.process, subject.metrics, load, per="events")
