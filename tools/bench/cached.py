"""(k): answers from the cache beside those that are relayed from the instant upstream.

One Bandari is asked for both in turns. Those from the cache are asked for with ``only``, so that
one that was not there would be an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from tools.bench import question, wrk
from tools.bench.figures import Sample
from tools.bench.gateways import Gateway, Running, bandari
from tools.bench.question import PATH, Question, ask_once
from tools.bench.stage import Stage

RELAYED, CACHED = "relayed", "cached"
CONNECTIONS: Final = 128
_CACHE: Final = "x-bandari-cache"


@dataclass(frozen=True)
class Form:
    """An answer whole or in events: who gives it, how it is asked for, and how it is judged."""

    model: str
    body: bytes
    check: Callable[[bytes], None]


FORMS: Final[Mapping[str, Form]] = {
    "whole": Form("instant", question.small("instant"), question.check_whole),
    "in events": Form("streamed", question.streaming("streamed"), question.check_streamed),
}


def measure(stage: Stage) -> None:
    """Requests per second of both, in both forms."""
    gateway = Gateway("bandari", bandari())
    for variant, form in FORMS.items():
        with stage.started_once("k", variant, gateway, [RELAYED, CACHED]) as subject:
            if subject is None:
                continue
            asked = {
                RELAYED: _asked(subject, form, "off"),
                CACHED: _asked(subject, form, "only"),
            }
            ask_once(_asked(subject, form, "use"))
            for one in asked.values():
                form.check(ask_once(one))
                _drive(stage, one, stage.pace.warm_s)
            measures = {
                name: partial(
                    stage.watched,
                    subject.process,
                    subject.metrics,
                    partial(_drive, stage, one, stage.pace.seconds),
                    per="requests",
                )
                for name, one in asked.items()
            }
            stage.take_turns("k", variant, measures)


def _asked(subject: Running, form: Form, use: str) -> Question:
    url = subject.base_urls["instant"] + PATH
    return Question(url, {_CACHE: use}, form.body, subject.keys)


def _drive(stage: Stage, asked: Question, seconds: float) -> Sample:
    return wrk.drive(asked, CONNECTIONS, seconds, stage.cores.load, stage.folder)
