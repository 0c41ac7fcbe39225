"""An ``Upstream`` that plays scripts, call by call, and remembers what it was asked.

A script is a sequence of steps:

- an event, or a tuple or list of events: one batch of the answer;
- an exception: raised there;
- a ``Gate`` or an ``asyncio.Event``: waited for;
- a callable without arguments: called, for instance ``client.disconnect``.

Steps in ``Script(entering=...)`` are played before the context is entered, as a provider refuses
before its answer begins. The last script is played again when there are more calls than scripts.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

from tests.support.gates import Gate

from bandari.domain.chat import ChatRequest
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    TextDelta,
    UsageReported,
)
from bandari.domain.usage import Usage
from bandari.service.ports import Take

Step = Event | Sequence[Event] | BaseException | Gate | asyncio.Event | Callable[[], object]


class Script:
    def __init__(self, *steps: Step, entering: Iterable[Step] = ()) -> None:
        self.steps = steps
        self.entering = tuple(entering)


class Call:
    """One call as the upstream saw it. ``left`` is set when its context was left, however."""

    def __init__(self, request: ChatRequest, model: str) -> None:
        self.request = request
        self.model = model
        self.entered = False
        self.left = asyncio.Event()
        self.played_to_end = False


class ScriptedUpstream:
    """``input_tokens`` and ``text_tokens`` are what ``count_input`` and ``count_text`` answer: a
    number, None, or an exception.
    """

    offers = True
    """Whether it gives what it says to who takes it, or keeps it until it is asked."""

    def __init__(
        self,
        *scripts: Script,
        name: str = "acme",
        max_choices: int = 128,
        input_tokens: int | BaseException | None = None,
        text_tokens: int | BaseException | None = None,
        counts_text: bool = False,
        ignored: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.max_choices = max_choices
        self.counts_text = counts_text
        self.texts: list[str] = []
        self.calls: list[Call] = []
        self.counted: list[ChatRequest] = []
        self.open_calls = 0
        self.most_open_calls = 0
        self.counting: Gate | None = None
        self._scripts = list(scripts) or [Script(*answer("Hello"))]
        self.input_tokens = input_tokens
        self._text_tokens = text_tokens
        self._ignored = ignored

    def ignored(self, request: ChatRequest) -> tuple[str, ...]:
        return self._ignored

    @asynccontextmanager
    async def generate(
        self, request: ChatRequest, model: str, take: Take | None = None
    ) -> AsyncIterator[AsyncIterator[Sequence[Event]]]:
        script = self._scripts[min(len(self.calls), len(self._scripts) - 1)]
        call = Call(request, model)
        self.calls.append(call)
        self.open_calls += 1
        self.most_open_calls = max(self.most_open_calls, self.open_calls)
        try:
            async for batch in _played(script.entering):
                raise AssertionError(f"an answer cannot begin before its context: {batch}")
            call.entered = True
            yield offered(self._answer(script, call), take if self.offers else None)
        finally:
            self.open_calls -= 1
            call.left.set()

    async def count_input(self, request: ChatRequest, model: str) -> int | None:
        self.counted.append(request)
        if self.counting is not None:
            await self.counting.passing()
        if isinstance(self.input_tokens, BaseException):
            raise self.input_tokens
        return self.input_tokens

    async def count_text(self, text: str, model: str) -> int | None:
        self.texts.append(text)
        if isinstance(self._text_tokens, BaseException):
            raise self._text_tokens
        return self._text_tokens

    async def _answer(self, script: Script, call: Call) -> AsyncIterator[Sequence[Event]]:
        async for batch in _played(script.steps):
            yield batch
        call.played_to_end = True


async def offered(
    batches: AsyncIterator[Sequence[Event]], take: Take | None
) -> AsyncIterator[Sequence[Event]]:
    """Gives what it can to ``take``, if there is one, as a real upstream does."""
    async for batch in batches:
        if take is None:
            yield batch
        elif not take(batch):
            yield ()


async def _played(steps: Iterable[Step]) -> AsyncIterator[Sequence[Event]]:
    for step in steps:
        match step:
            case BaseException():
                raise step
            case Gate():
                await step.passing()
            case asyncio.Event():
                await step.wait()
            case tuple() | list():
                yield step
            case _ if callable(step):
                step()
            case _:
                yield (step,)


def text(words: str, choice: int = 0) -> TextDelta:
    return TextDelta(choice, words)


def finish(reason: FinishReason = FinishReason.STOP, choice: int = 0) -> ChoiceFinished:
    return ChoiceFinished(choice, reason)


def counted(output: int, prompt: int = 10, choice: int = 0, cached: int = 0) -> Counted:
    return Counted(choice, prompt, cached, output)


def usage(prompt: int, output: int) -> UsageReported:
    return UsageReported(Usage(prompt, output))


def answer(words: str, prompt: int = 10, output: int = 2) -> tuple[Step, ...]:
    """A whole good answer, as most upstreams give it."""
    return (text(words), finish(), usage(prompt, output))
