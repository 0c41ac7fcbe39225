"""Providers of a world of streams: what each call says is drawn when it begins, and written down.

Rule 1: what a call said is written down before it leaves, so it is never less than anybody read.
Rule 2: no two calls say the same words: whoever reads them knows which call he reads.
Rule 3: which answer a call is for is told by a context variable that is set where its encoder is
made; tasks inherit it, and nothing else of the service is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import Random

from msgspec import Struct
from tests.simulation.trace import Trace, Violation
from tests.support.scripted_upstream import offered

from bandari.domain.chat import ChatRequest
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    TextDelta,
    UsageReported,
)
from bandari.domain.faults import UpstreamInterrupted, UpstreamOverloaded, UpstreamTimeout
from bandari.domain.usage import Usage
from bandari.service.ports import Take

PROMPT_TOKENS = 20
MAX_STEPS = 60
STALL_S = 45.0
MOST_CHARACTERS = 3_000

making: ContextVar[str] = ContextVar("making")
"""The id of the opening that was spelled last in this task, or in the one that started it."""

_REFUSES: Mapping[str, Callable[[], Exception]] = {"overloaded": UpstreamOverloaded}
_DIES: Mapping[str, Callable[[], Exception]] = {
    "dies": UpstreamInterrupted,
    "stalls": UpstreamTimeout,
    "defect": lambda: RuntimeError("a defect of a decoder"),
}


class Habits(Struct, frozen=True):
    """How a provider is. ``tells_counts``: with each batch how many tokens there are by now."""

    name: str
    tells_counts: bool = True
    fails: float = 0.12
    step_s: tuple[float, ...] = (0.02, 0.1, 0.4)
    characters: tuple[int, ...] = (4, 12, 40)


PROVIDERS = (
    Habits("llama"),
    Habits("plain", tells_counts=False),
    Habits("shaky", fails=0.6),
    Habits("slow", step_s=(0.6, 1.5)),
    Habits("bulky", characters=(400, MOST_CHARACTERS)),
)


@dataclass(slots=True)
class Call:
    """One call, and what it has said by now. ``tokens`` are those of each batch."""

    number: int
    target: str
    opening_id: str
    batches: list[Sequence[Event]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    reported: Usage | None = None
    failed_by: str = ""
    is_whole: bool = False
    left_at: float | None = None


class _Plan(Struct, frozen=True):
    first_s: float
    step_s: float
    tokens: tuple[int, ...]
    characters: int
    finish: FinishReason
    fault: str
    fails_at: int


class ScriptedProvider:
    """The port ``Upstream``.

    ``begun`` is told of a call, ``said`` before each of its batches, and ``over`` at last.
    """

    max_choices = 128
    counts_text = False

    def __init__(
        self,
        habits: Habits,
        draws: Random,
        trace: Trace,
        begun: Callable[[Call], None],
        said: Callable[[Call], None],
        over: Callable[[Call], None],
    ) -> None:
        self.name = habits.name
        self._habits = habits
        self._draws = draws
        self._trace = trace
        self._begun = begun
        self._said = said
        self._over = over
        self._calls = 0

    def ignored(self, request: ChatRequest) -> tuple[str, ...]:
        return ()

    async def count_input(self, request: ChatRequest, model: str) -> int | None:
        return None

    async def count_text(self, text: str, model: str) -> int | None:
        raise Violation("a provider that cannot count was asked to")

    @asynccontextmanager
    async def generate(
        self, request: ChatRequest, model: str, take: Take | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        self._calls += 1
        call = Call(self._calls, f"{self.name}:{model}", making.get())
        plan = self._plan(request)
        hands_over = self._draws.random() < 0.5
        self._begun(call)
        self._trace.tell("upstream asked", f"{self.name} {call.number} for {call.opening_id}")
        await asyncio.sleep(0.01)
        if plan.fault in _REFUSES:
            call.failed_by = plan.fault
            self._trace.tell(f"upstream {plan.fault}", f"{self.name} {call.number}")
            fault = _REFUSES[plan.fault]()
            raise fault
        try:
            yield offered(self._answer(call, plan), take if hands_over else None)
        finally:
            call.left_at = asyncio.get_running_loop().time()
            self._over(call)

    async def _answer(self, call: Call, plan: _Plan) -> AsyncIterator[Sequence[Event]]:
        await asyncio.sleep(plan.first_s)
        total = 0
        last = len(plan.tokens) - 1
        for step, tokens in enumerate(plan.tokens):
            if plan.fault and step >= plan.fails_at:
                await self._fail(call, plan)
            await asyncio.sleep(plan.step_s)
            total += tokens
            words = f"{self.name}{call.number}.{step} ".ljust(plan.characters, "·")
            events: list[Event] = [TextDelta(0, words)]
            if self._habits.tells_counts:
                events.append(Counted(0, PROMPT_TOKENS, 0, total))
            if step == last:
                events.append(ChoiceFinished(0, plan.finish))
            yield self._says(call, events, tokens)
        if plan.fault:
            await self._fail(call, plan)
        if not plan.tokens:
            yield self._says(call, [ChoiceFinished(0, plan.finish)], 0)
        call.reported = Usage(PROMPT_TOKENS, total)
        yield self._says(call, [UsageReported(call.reported)], 0)
        call.is_whole = True

    def _says(self, call: Call, events: Sequence[Event], tokens: int) -> Sequence[Event]:
        call.batches.append(events)
        call.tokens.append(tokens)
        self._said(call)
        return events

    async def _fail(self, call: Call, plan: _Plan) -> None:
        if plan.fault == "stalls":
            await asyncio.sleep(STALL_S)
        call.failed_by = plan.fault
        self._trace.tell(f"upstream {plan.fault}", f"{self.name} {call.number}")
        fault = _DIES[plan.fault]()
        raise fault

    def _plan(self, request: ChatRequest) -> _Plan:
        draws, habits = self._draws, self._habits
        steps = draws.choice((0, 1, 3, draws.randrange(1, 12), draws.randrange(10, MAX_STEPS)))
        limit = request.sampling.max_tokens or 10_000
        tokens: list[int] = []
        for _ in range(steps):
            if sum(tokens) < limit:
                tokens.append(min(draws.choice((1, 1, 4, 30)), limit - sum(tokens)))
        fault = ""
        if draws.random() < habits.fails:
            fault = draws.choice(("overloaded", "dies", "dies", "stalls", "defect"))
        return _Plan(
            first_s=draws.choice((0.02, 0.3, 2.0)) * (0.5 + draws.random()),
            step_s=draws.choice(habits.step_s) * (0.5 + draws.random()),
            tokens=tuple(tokens),
            characters=draws.choice(habits.characters),
            finish=FinishReason.LENGTH if sum(tokens) >= limit else FinishReason.STOP,
            fault=fault,
            fails_at=draws.randrange(len(tokens) + 1),
        )
