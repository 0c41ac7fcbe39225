"""(b) and (f): streams, for the delay and the CPU time of their events, and for their memory."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tools.bench import question, stream_reader
from tools.bench.figures import Sample
from tools.bench.gateways import ROOT, Gateway, Running
from tools.bench.processes import environment, pinned, running
from tools.bench.question import PATH, Question
from tools.bench.stage import Pace, Stage
from tools.bench.stream_reader import Task
from tools.bench.streaming_upstream import EVENTS, INTERVAL_S
from tools.bench.wrk import LoadFailed

DELAY, CPU = "64 streams", "128 streams"
DIRECT = "direct"
"""The reading of the upstream without anybody between: what the reader and the pacing add."""

_LENGTH_S = EVENTS * INTERVAL_S
_IDLE_ROUNDS = 20
_SETTLE_S = 2.0
_READER = [sys.executable, "-m", "tools.bench.stream_reader"]
_TIMEOUT_S = 300.0


@contextmanager
def streaming_upstream(port: int, core: int, folder: Path) -> Iterator[None]:
    """Our own upstream on that port."""
    command = [sys.executable, "-m", "tools.bench.streaming_upstream", str(port)]
    with running(command, core, folder / "streaming.log", cwd=ROOT) as process:
        process.wait_for_port(port)
        yield


def paced(stage: Stage, gateways: Sequence[Gateway]) -> None:
    """(b). ``direct`` is read among the others, so that what drifts meets it too."""
    rounds = rounds_of(stage.pace)

    def check(running: Running) -> None:
        read(stage, _task(running, 16, 1))

    with stage.started("b", [DELAY, CPU], gateways, check) as found:
        direct = Question(stage.upstreams.base_url("streaming") + PATH, {}, _body("paced"))
        for variant, streams in ((DELAY, 64), (CPU, 128)):
            measures = {}
            if variant == DELAY:
                task = task_of(direct, streams, rounds)
                measures[DIRECT] = partial(stage.watched, None, None, partial(read, stage, task))
            for name, subject in found.items():
                load = partial(read, stage, _task(subject, streams, rounds))
                measures[name] = partial(
                    stage.watched, subject.process, subject.metrics, load, per="events"
                )
            stage.take_turns("b", variant, measures)


def rounds_of(pace: Pace) -> int:
    """How many answers a stream of one sample has."""
    return max(round(pace.seconds / _LENGTH_S), 1)


def idle(stage: Stage, gateways: Sequence[Gateway], streams: int) -> None:
    """(f). What a gateway holds more with that many streams open, for each of them.

    Every repeat starts the gateway anew: memory that was once taken is seldom given back.
    """
    variant = f"{streams} streams"

    def check(running: Running) -> None:
        for _ in range(_IDLE_ROUNDS):
            question.ask_once(running.question("instant", question.small("instant")))
        read(stage, _task(running, 16, 1))

    for _ in range(min(stage.pace.repeats, 3)):
        for gateway in gateways:
            with stage.started("f", [variant], [gateway], check) as found:
                measures = {
                    name: partial(_memory, stage, subject, streams)
                    for name, subject in found.items()
                }
                stage.take_turns("f", variant, measures, repeats=1)


def unused(stage: Stage, gateways: Sequence[Gateway]) -> None:
    """What a gateway holds that has just started and answered one question."""

    def check(running: Running) -> None:
        question.check_whole(
            question.ask_once(running.question("instant", question.small("instant")))
        )

    for _ in range(min(stage.pace.repeats, 3)):
        for gateway in gateways:
            with stage.started("idle", ["after one answer"], [gateway], check) as found:
                measures = {name: partial(_settled, found[name]) for name in found}
                stage.take_turns("idle", "after one answer", measures, repeats=1)


def settled_bytes(subject: Running) -> int:
    """What it holds a little later."""
    time.sleep(_SETTLE_S)
    subject.process.check()
    return subject.process.resident_bytes()


def _settled(subject: Running) -> Sample:
    return {"idle_mb": settled_bytes(subject) / 1e6}


def _memory(stage: Stage, subject: Running, streams: int) -> Sample:
    before = settled_bytes(subject)
    asked = subject.question("idle", _body("idle"))
    task = Task(asked.url, asked.all_headers(), asked.body.decode(), streams, hold=True)
    after, _ = hold(stage, subject, task)
    return {
        "kb_per_stream": (after - before) / streams / 1e3,
        "before_mb": before / 1e6,
        "after_mb": after / 1e6,
    }


def hold(stage: Stage, subject: Running, task: Task) -> tuple[int, Sample]:
    """What the subject holds while all these streams are open; then what their reader says."""
    with subprocess.Popen(
        pinned(stage.cores.load, _READER),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment({}),
        cwd=ROOT,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        try:
            reader.stdin.write(stream_reader.spell(task))
            reader.stdin.flush()
            _outcome(reader.stdout.readline())
            held = settled_bytes(subject)
            reader.stdin.close()
            return held, _outcome(reader.stdout.readline())
        finally:
            reader.kill()


def _task(subject: Running, streams: int, rounds: int) -> Task:
    return task_of(subject.question("paced", _body("paced")), streams, rounds)


def task_of(asked: Question, streams: int, rounds: int, mark: str = "") -> Task:
    """Streams that are read to their ends, each ``rounds`` times, and begin evenly over one."""
    return Task(
        asked.url,
        asked.all_headers(),
        asked.body.decode(),
        streams,
        rounds,
        stagger_s=_LENGTH_S,
        events=EVENTS,
        mark=mark,
    )


def _body(model: str) -> bytes:
    return question.streaming(model)


def read(stage: Stage, task: Task) -> Sample:
    """What a reader on the load's core says of them. Raises ``LoadFailed``."""
    done = subprocess.run(
        pinned(stage.cores.load, _READER),
        input=stream_reader.spell(task),
        capture_output=True,
        text=True,
        env=environment({}),
        cwd=ROOT,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return _outcome(done.stdout or done.stderr)


def _outcome(line: str) -> Sample:
    try:
        said = json.loads(line)
    except ValueError:
        raise LoadFailed(f"the reader: {line[-300:]}") from None
    if "failed" in said:
        raise LoadFailed(said["failed"])
    return {name: float(value) for name, value in said.items()}
