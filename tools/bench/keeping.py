"""(i) and (j): what it costs to keep answers, so that they can be read again: CPU time and memory.

Not keeping is ``[streams] keep = "off"``. The others are Bandari as it is by default, asked with
and without the headers that have it keep an answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from tools.bench import question, streams
from tools.bench.figures import Sample
from tools.bench.gateways import Gateway, Running, Setting, bandari
from tools.bench.question import PATH, Question
from tools.bench.stage import Stage
from tools.bench.stream_reader import Task
from tools.bench.streaming_upstream import AT_ONCE, HELD

VARIANT: Final = "128 streams"
_STREAMS: Final = 128
_WARM_STREAMS: Final = 16

OFF, DEFAULT = "keep = off", "by default"
WINDOW, KEYED, MISSES = "window of 30 s", "Idempotency-Key", "cache misses"

_NOTHING_KEPT: Final = '[streams]\nkeep = "off"\n'
_WINDOW: Final = "x-resume-window"
_MARK: Final = "########"
"""Where the number of an answer stands, in the header or the body that is to be one of a kind."""


@dataclass(frozen=True)
class Way:
    """How it is asked, and what its configuration has more. ``{run}`` is another in each sample."""

    more: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    story: str = "Tell me a story."

    def task(self, subject: Running, streams_: int, rounds: int) -> Task:
        run = secrets.token_hex(8)
        headers = {name: value.format(run=run) for name, value in self.headers.items()}
        body = question.streaming("paced", self.story.format(run=run))
        asked = _asked(subject, body, headers)
        return streams.task_of(asked, streams_, rounds, mark=_MARK)


WAYS: Final[Mapping[str, Way]] = {
    OFF: Way(more=_NOTHING_KEPT),
    DEFAULT: Way(),
    WINDOW: Way(headers={_WINDOW: "30"}),
    KEYED: Way(headers={"idempotency-key": "{run}-" + _MARK}),
    MISSES: Way(headers={"x-bandari-cache": "use"}, story="Tell me story {run} " + _MARK),
}


def cpu(stage: Stage, gateways: Sequence[Gateway]) -> None:
    """(i). CPU time of an event, of ``gateways`` that are named like ``WAYS``."""
    rounds = streams.rounds_of(stage.pace)

    def read(name: str, subject: Running, streams_: int, rounds: int) -> Sample:
        return streams.read(stage, WAYS[name].task(subject, streams_, rounds))

    with stage.started("i", [VARIANT], gateways, lambda _: None) as found:
        for name, subject in found.items():
            read(name, subject, _WARM_STREAMS, 1)
        measures = {
            name: partial(
                stage.watched,
                subject.process,
                subject.metrics,
                partial(read, name, subject, _STREAMS, rounds),
                per="events",
            )
            for name, subject in found.items()
        }
        stage.take_turns("i", VARIANT, measures)


def ways() -> list[Gateway]:
    """The rows of (i)."""
    return [Gateway(name, bandari(more=way.more)) for name, way in WAYS.items()]


# -- Memory ----------------------------------------------------------------------------------------

FINISHED, RUNNING = "finished", "running"
_KEPT_S: Final = "300"
_AT_ONCE: Final = 4
"""Streams that are made at a time, so that what a stream takes while it is made is little beside
what all of them take."""

_PROMPT: Final = question.SENTENCE * 400
"""Long, because a recording has no need of it: it is as large as a short answer."""

_LESS_IN_SHORT: Final = 4
SIZES: Final = {"short": 1_000, "long": 200}
"""How many streams, by the model that gives them."""


def memory(stage: Stage) -> None:
    """(j). What recordings take in memory, for each byte of their streams.

    Finished ones: what the server holds more after streams with a window than after as many that
    nobody may come back for. Running ones: what a stream that has sent all its events takes more
    than one that has sent the first. Every sample starts the server anew: memory that was once
    taken is seldom given back.
    """
    for _ in range(min(stage.pace.repeats, 3)):
        for model, number in SIZES.items():
            streams_ = number // _LESS_IN_SHORT if stage.pace.quick else number
            variant = f"{AT_ONCE[model]:,} events"
            measures = {FINISHED: _finished, RUNNING: _running}
            stage.take_turns(
                "j",
                variant,
                {name: partial(way, stage, model, streams_) for name, way in measures.items()},
                repeats=1,
            )


def _finished(stage: Stage, model: str, streams_: int) -> Sample:
    with _server(stage) as subject:
        _warm_up(stage, subject)

        def take(window: str) -> tuple[int, float]:
            task = _task(subject, model, streams_, {_WINDOW: window})
            size = streams.read(stage, task)["bytes"]
            return streams.settled_bytes(subject), size

        before, _ = take("cancel")
        after, size = take(_KEPT_S)
        return _per_byte(before, after, streams_, size)


def _running(stage: Stage, model: str, streams_: int) -> Sample:
    more, sizes = [], []
    for held in ("idle", HELD + model):
        with _server(stage) as subject:
            _warm_up(stage, subject)
            before = streams.settled_bytes(subject)
            task = _task(subject, held, streams_, {_WINDOW: _KEPT_S}, hold=True)
            after, said = streams.hold(stage, subject, task)
            more.append(after - before)
            sizes.append(said["bytes"])
    return _per_byte(more[0], more[1], streams_, sizes[1] - sizes[0])


def _per_byte(before: int, after: int, streams_: int, size: float) -> Sample:
    return {
        "bytes_per_byte": (after - before) / size,
        "kb_per_stream": (after - before) / streams_ / 1e3,
        "stream_kb": size / streams_ / 1e3,
    }


def _server(stage: Stage) -> AbstractContextManager[Running]:
    setting = Setting(stage.new_folder("kept"), stage.cores.gateway, stage.upstreams)
    return bandari()(setting)


def _warm_up(stage: Stage, subject: Running) -> None:
    streams.read(stage, _task(subject, "short", _WARM_STREAMS, {_WINDOW: "cancel"}))


def _task(
    subject: Running,
    model: str,
    streams_: int,
    headers: Mapping[str, str],
    *,
    hold: bool = False,
) -> Task:
    asked = _asked(subject, question.streaming(model, _PROMPT), headers)
    events = AT_ONCE[model.removeprefix(HELD)]
    return Task(
        asked.url,
        asked.all_headers(),
        asked.body.decode(),
        streams_,
        events=events,
        hold=hold,
        at_once=_AT_ONCE,
    )


def _asked(subject: Running, body: bytes, headers: Mapping[str, str]) -> Question:
    return Question(subject.base_urls["streaming"] + PATH, headers, body, subject.keys)
