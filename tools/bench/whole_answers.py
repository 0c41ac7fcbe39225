"""(a), (c), (d), (g): whole answers, as many as one gateway can give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tools.bench import wrk
from tools.bench.figures import Sample
from tools.bench.gateways import Gateway, Running
from tools.bench.question import ask_once, check_whole
from tools.bench.stage import Stage
from tools.bench.wrk import NoneCame

WARM_CONNECTIONS = 16
"""So few that even a slow gateway has answered some when the warm-up ends."""

MOST_WARM_UPS = 10

MakeBody = Callable[[str], bytes]


def measure(
    stage: Stage,
    workload: str,
    gateways: Sequence[Gateway],
    model: str,
    body: MakeBody,
    connections: Sequence[int],
    rounds: int = 1,
) -> None:
    """Every gateway is asked once by hand, warmed up, and driven at each of ``connections``.

    ``rounds`` are the repeats of each repeat, for subjects that differ by little.
    """
    variants = [f"{number} connection{'s' * (number > 1)}" for number in connections]

    def check(running: Running) -> None:
        check_whole(ask_once(running.question(model, body(model))))
        _warm_up(stage, running, model, body)

    with stage.started(workload, variants, gateways, check) as found:
        for number, variant in zip(connections, variants, strict=True):
            measures = {
                name: partial(_sample, stage, running, model, body, number)
                for name, running in found.items()
            }
            stage.take_turns(workload, variant, measures, rounds * stage.pace.repeats)


def _warm_up(stage: Stage, running: Running, model: str, body: MakeBody) -> None:
    """Until it has answered for the whole of the time: the first answers of some take seconds."""
    for _ in range(MOST_WARM_UPS):
        with suppress(NoneCame):
            _drive(stage, running, model, body, WARM_CONNECTIONS, stage.pace.warm_s)
            return


def _sample(stage: Stage, running: Running, model: str, body: MakeBody, connections: int) -> Sample:
    seconds = stage.pace.seconds
    load = partial(_drive, stage, running, model, body, connections, seconds)
    return stage.watched(running.process, running.metrics, load, per="requests")


def _drive(
    stage: Stage,
    running: Running,
    model: str,
    body: MakeBody,
    connections: int,
    seconds: float,
) -> Sample:
    question = running.question(model, body(model))
    return wrk.drive(question, connections, seconds, stage.cores.load, stage.folder)
