"""Providers of a world: each answers in its own way, counts in its own way, and fails at times.

Rule 1: what a call generated is written into its story before the batch leaves, so it is never
less than anybody was told.
Rule 2: all draws are made when a call begins, so that who is cancelled when changes no other draw.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random

from msgspec import Struct
from tests.simulation.story import Call, Story
from tests.simulation.trace import Trace
from tests.support.scripted_upstream import offered

from bandari.domain.chat import ChatRequest
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.faults import (
    UpstreamInterrupted,
    UpstreamInvalidRequest,
    UpstreamMalformed,
    UpstreamOverloaded,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from bandari.domain.usage import Usage
from bandari.service.ports import Take

STALL_S = 30.0
MAX_TOKENS = 6_000
MAX_CHUNK = 400
"""Tokens in one batch. A real provider sends one or a few; a simulation has to be fast."""

_WORDS = "lorem ipsum dolor sit amet " * 2_000

BEFORE_ENTERING = ("unreachable", "overloaded", "invalid request")
AFTER_ENTERING = ("fails", "ends early", "stalls", "malformed", "defect")
_FAULTS: Mapping[str, Callable[[], Exception]] = {
    "unreachable": UpstreamUnreachable,
    "overloaded": UpstreamOverloaded,
    "invalid request": UpstreamInvalidRequest,
    "fails": UpstreamOverloaded,
    "ends early": UpstreamInterrupted,
    "stalls": UpstreamTimeout,
    "malformed": UpstreamMalformed,
    "defect": lambda: RuntimeError("a defect of a decoder"),
}


class Habits(Struct, frozen=True):
    """How a provider is. ``reports``: usage ``never``, at the ``end``, ``twice``, of ``zero``."""

    name: str
    max_choices: int = 128
    tells_counts: bool = False
    reports: str = "end"
    counts_input: str = "cannot"
    counts_text: bool = False
    obeys_limit: bool = True
    hidden_prompt: int = 0
    max_chunk: int = MAX_CHUNK
    caches: bool = False
    fails: float = 0.15

    @property
    def is_honest(self) -> bool:
        return self.tells_counts and self.obeys_limit and not self.hidden_prompt


PROVIDERS = (
    Habits("llama", tells_counts=True, counts_input="exactly"),
    Habits("vllm", tells_counts=True, max_choices=128, caches=True),
    Habits("single", tells_counts=True, max_choices=1),
    Habits("pairs", max_choices=2, counts_input="slowly"),
    Habits("tokenizer", reports="never", counts_input="slowly", counts_text=True),
    Habits("plain", reports="end", caches=True),
    Habits("twice", reports="twice"),
    Habits("silent", reports="never"),
    Habits("dumb", reports="never", max_choices=1),
    Habits("zero", reports="zero"),
    Habits("endless", tells_counts=True, obeys_limit=False),
    Habits("greedy", reports="end", hidden_prompt=4_000, obeys_limit=False),
    Habits("bulky", tells_counts=True, max_chunk=3_000),
    Habits("shaky", tells_counts=True, fails=0.7),
)


class _Plan(Struct):
    """What one call will do: ``steps`` are (seconds, choice, tokens) in turn."""

    kind: str
    bytes_per_token: int
    first_s: float
    step_s: float
    lengths: list[int]
    finishes: list[FinishReason]
    chunk: int
    fault: str
    fails_at: int
    usage_apart: bool


class SimulatedUpstream:
    """The port ``Upstream``."""

    def __init__(
        self, habits: Habits, stories: Mapping[str, Story], draws: Random, trace: Trace
    ) -> None:
        self.name = habits.name
        self.max_choices = habits.max_choices
        self.counts_text = habits.counts_text
        self._habits = habits
        self._stories = stories
        self._draws = draws
        self._trace = trace

    def ignored(self, request: ChatRequest) -> tuple[str, ...]:
        return ()

    async def count_input(self, request: ChatRequest, model: str) -> int | None:
        story = self._story(request)
        match self._habits.counts_input:
            case "exactly":
                await asyncio.sleep(0.005)
                return story.prompt_tokens
            case "slowly":
                await asyncio.sleep(2.0 * self._draws.random())
                return story.prompt_tokens if self._draws.random() < 0.7 else None
        return None

    async def count_text(self, text: str, model: str) -> int | None:
        await asyncio.sleep(0.5 * self._draws.random())
        return tokens_of(len(text)) if self._draws.random() < 0.8 else None

    @asynccontextmanager
    async def generate(
        self, request: ChatRequest, model: str, take: Take | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        story = self._story(request)
        plan = self._plan(request)
        call = Call(
            target=f"{self.name}:{model}",
            first=not any(call.began for call in story.calls),
            tells_counts=self._habits.tells_counts,
            limit=request.sampling.max_tokens,
            choices=request.sampling.n,
            chunk=plan.chunk,
            is_honest=self._habits.is_honest,
            prompt=story.prompt_tokens + self._habits.hidden_prompt,
        )
        if self._habits.caches and plan.usage_apart:
            call.cached = call.prompt // 2
        story.calls.append(call)
        await asyncio.sleep(plan.first_s / 4)
        if plan.fault in BEFORE_ENTERING:
            self._trace.tell(f"upstream {plan.fault}", story.name)
            raise _fault(plan.fault)
        yield offered(self._answer(story, call, plan), take if self._draws.random() < 0.5 else None)

    def _story(self, request: ChatRequest) -> Story:
        assert request.user is not None
        return self._stories[request.user]

    async def _answer(
        self, story: Story, call: Call, plan: _Plan
    ) -> AsyncIterator[Sequence[Event]]:
        habits = self._habits
        await asyncio.sleep(plan.first_s)
        left = list(plan.lengths)
        count = len(left)
        step = 0
        events: list[Event] = []
        while any(length > 0 for length in left):
            if plan.fault and step >= plan.fails_at:
                await self._fail(story, call, plan)
            choice = step % count
            step += 1
            if left[choice] > 0:
                tokens = min(left[choice], plan.chunk)
                left[choice] -= tokens
                await asyncio.sleep(plan.step_s)
                events = self._generated(call, plan, choice, tokens)
                if left[choice] == 0:
                    events.append(ChoiceFinished(choice, plan.finishes[choice]))
                    call.finished += 1
                call.began = True
                yield events
        if plan.fault:
            await self._fail(story, call, plan)
        if not call.began:
            call.began = True
            call.finished = count
            yield [ChoiceFinished(choice, plan.finishes[choice]) for choice in range(count)]
        reports = self._reports(call)
        if habits.reports == "twice":
            for usage in reports:
                call.reported = usage
                yield (UsageReported(usage),)
        elif reports:
            call.reported = reports[0]
            yield (UsageReported(reports[0]),)
        if plan.usage_apart:
            await asyncio.sleep(plan.step_s)
        call.is_whole = True

    def _generated(self, call: Call, plan: _Plan, choice: int, tokens: int) -> list[Event]:
        text = _WORDS[: tokens * plan.bytes_per_token]
        events: list[Event] = []
        match plan.kind:
            case "reasoning":
                events.append(ReasoningDelta(choice, text))
            case "tool":
                events.append(ToolCallDelta(choice, 0, text))
            case "refusal":
                events.append(RefusalDelta(choice, text))
            case _:
                events.append(TextDelta(choice, text))
        call.tokens[choice] = call.tokens.get(choice, 0) + tokens
        call.bytes += len(text)
        call.deltas += 1
        if call.tells_counts:
            call.told[choice] = call.tokens[choice]
            events.append(Counted(choice, call.prompt, call.cached, call.tokens[choice]))
        return events

    def _reports(self, call: Call) -> Sequence[Usage]:
        usage = Usage(call.prompt, call.generated, cached_tokens=call.cached)
        match self._habits.reports:
            case "never":
                return ()
            case "zero":
                return (Usage(call.prompt, 0),)
            case "twice":
                return (Usage(call.prompt, call.generated + 3), usage)
        return (usage,)

    async def _fail(self, story: Story, call: Call, plan: _Plan) -> None:
        if plan.fault == "stalls":
            await asyncio.sleep(STALL_S)
        call.has_failed = True
        self._trace.tell(f"upstream {plan.fault}", story.name)
        raise _fault(plan.fault)

    def _plan(self, request: ChatRequest) -> _Plan:
        draws, sampling = self._draws, request.sampling
        limit = MAX_TOKENS
        if sampling.max_tokens is not None and self._habits.obeys_limit:
            limit = min(limit, sampling.max_tokens)
        wanted = [_length(draws) for _ in range(sampling.n)]
        lengths = [min(length, limit) for length in wanted]
        chunk = max(1, min(self._habits.max_chunk, max(lengths) // draws.choice((2, 6, 12))))
        steps = sum(-(-length // chunk) for length in lengths)
        fault = ""
        chance = draws.random()
        if chance < self._habits.fails:
            kinds = BEFORE_ENTERING if draws.random() < 0.35 else AFTER_ENTERING
            fault = draws.choice(kinds)
            if fault in ("defect", "invalid request") and draws.random() < 0.5:
                fault = ""
        fails_at = 0 if draws.random() < 0.25 else draws.randrange(steps + 1)
        return _Plan(
            kind=draws.choice(("text", "text", "text", "reasoning", "tool", "refusal")),
            bytes_per_token=draws.choice((1, 3, 4, 4, 6)),
            first_s=draws.choice((0.05, 0.2, 0.5, 2.0)) * (0.5 + draws.random()),
            step_s=draws.choice((0.005, 0.05, 0.1, 0.4)) * (0.5 + draws.random()),
            lengths=lengths,
            finishes=[
                FinishReason.LENGTH if want > limit else FinishReason.STOP for want in wanted
            ],
            chunk=chunk,
            fault=fault,
            fails_at=fails_at,
            usage_apart=draws.random() < 0.5,
        )


def _fault(name: str) -> Exception:
    make = _FAULTS[name]
    return make()


def tokens_of(size: int) -> int:
    """What a tokenizer makes of an answer's text."""
    return -(-size // 5)


def _length(draws: Random) -> int:
    """Tokens of one choice: most are short, some need several rolls of their hold."""
    chance = draws.random()
    if chance < 0.03:
        return 0
    if chance < 0.5:
        return draws.randrange(1, 40)
    if chance < 0.85:
        return draws.randrange(40, 600)
    return draws.randrange(600, MAX_TOKENS)
