"""A ``FrameEncoder`` whose frames can be read at a glance: ``text:Hi``, ``end:12``."""

from __future__ import annotations

from collections.abc import Sequence

from bandari.domain.events import ChoiceFinished, Event, FinishReason, TextDelta
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage


class PlainEncoder:
    """``streams=False`` spells one body at the end. ``failing`` names the method that breaks."""

    def __init__(self, *, streams: bool = True, failing: str = "") -> None:
        self._streams = streams
        self._failing = failing
        self._words: list[str] = []

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        self._break("events")
        frames = []
        for event in events:
            if isinstance(event, TextDelta):
                self._words.append(event.text)
                frames.append(f"text:{event.text}\n".encode())
            elif isinstance(event, ChoiceFinished):
                frames.append(f"finish:{event.choice}:{event.reason}\n".encode())
        return frames if self._streams else ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        self._break("close")
        words = "" if self._streams else "".join(self._words) + ":"
        reason = "" if finish is None else f"{finish}:"
        return (f"end:{reason}{words}{usage.total_tokens}\n".encode(),)

    def problem(self, problem: Problem) -> Sequence[bytes]:
        self._break("problem")
        return (f"problem:{problem.code}\n".encode(),) if self._streams else ()

    def _break(self, method: str) -> None:
        if self._failing == method:
            raise RuntimeError(f"a defect in {method}")
