"""A finished answer, and the fold that makes one from events."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from bandari.domain.chat import ToolCall
from bandari.domain.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TokenLogprob,
    ToolCallDelta,
)


class Choice(Struct, frozen=True):
    index: int
    text: str
    finish_reason: FinishReason
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()


class Answer(Struct, frozen=True):
    choices: tuple[Choice, ...]


class _ToolCallDraft:
    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class _ChoiceDraft:
    __slots__ = ("finish", "logprobs", "reasoning", "refusal", "text", "tool_calls")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.logprobs: list[TokenLogprob] = []
        self.tool_calls: dict[int, _ToolCallDraft] = {}
        self.finish: FinishReason | None = None


class AnswerFold:
    """Collects events into an ``Answer``. Choices and tool calls may come interleaved."""

    __slots__ = ("_choices",)

    def __init__(self, choices: int = 0) -> None:
        """``choices``: how many the answer has at least, also where nothing was generated."""
        self._choices = {index: _ChoiceDraft() for index in range(choices)}

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, TextDelta):
                draft = self._draft(event.choice)
                draft.text.append(event.text)
                if event.logprobs:
                    draft.logprobs.extend(event.logprobs)
            elif isinstance(event, ChoiceFinished):
                self._draft(event.choice).finish = event.reason
            elif isinstance(event, ToolCallDelta):
                self._add_tool_call(event)
            elif isinstance(event, ReasoningDelta):
                self._draft(event.choice).reasoning.append(event.text)
            elif isinstance(event, RefusalDelta):
                self._draft(event.choice).refusal.append(event.text)

    def answer(self, otherwise: FinishReason = FinishReason.STOP) -> Answer:
        """The answer so far; a choice that has not finished gets the reason ``otherwise``."""
        return Answer(
            tuple(
                Choice(
                    index=index,
                    text="".join(draft.text),
                    finish_reason=draft.finish or otherwise,
                    reasoning="".join(draft.reasoning),
                    refusal="".join(draft.refusal),
                    tool_calls=tuple(
                        ToolCall(call.id, call.name, "".join(call.arguments))
                        for _, call in sorted(draft.tool_calls.items())
                    ),
                    logprobs=tuple(draft.logprobs),
                )
                for index, draft in sorted(self._choices.items())
            )
        )

    def _draft(self, index: int) -> _ChoiceDraft:
        draft = self._choices.get(index)
        if draft is None:
            draft = self._choices[index] = _ChoiceDraft()
        return draft

    def _add_tool_call(self, event: ToolCallDelta) -> None:
        calls = self._draft(event.choice).tool_calls
        call = calls.get(event.index)
        if call is None:
            call = calls[event.index] = _ToolCallDraft()
        if event.id:
            call.id = event.id
        if event.name:
            call.name = event.name
        call.arguments.append(event.arguments)
