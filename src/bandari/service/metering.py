"""How many tokens an answer has: folded from events, by the best rule that is available.

In order of preference: what the upstream reported at its end, exact running counts, and an estimate
from bytes. Knows no prices.
"""

from __future__ import annotations

from collections.abc import Sequence

from bandari.domain.events import (
    Counted,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.usage import CountRule, Usage

BYTES_PER_TOKEN = 4
"""What a token is taken to be where nothing is known about the model's tokenizer."""


class Meter:
    """Follows one answer's events. ``input_bytes`` bounds the prompt until its count is known."""

    __slots__ = ("_bytes", "_counted", "_deltas", "_input_bytes", "_known_input", "_reported")

    def __init__(self, input_bytes: int) -> None:
        self._input_bytes = input_bytes
        self._known_input: int | None = None
        self._counted: dict[int, Counted] = {}
        self._reported: Usage | None = None
        self._bytes = 0
        self._deltas = 0

    def know_input(self, tokens: int) -> None:
        """The prompt was counted exactly before the answer began."""
        self._known_input = tokens

    def observe(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
                self._bytes += len(event.text.encode("utf-8", "replace"))
                self._deltas += 1
            elif isinstance(event, Counted):
                self._counted[event.choice] = event
            elif isinstance(event, ToolCallDelta):
                self._bytes += len(event.arguments.encode("utf-8", "replace"))
                self._bytes += len((event.name or "").encode("utf-8", "replace"))
                self._deltas += 1
            elif isinstance(event, UsageReported) and self._is_credible(event.usage):
                self._reported = event.usage

    def _is_credible(self, usage: Usage) -> bool:
        """No output is no report where output was seen: it would make an answer free."""
        return usage.output_tokens > 0 or self._deltas == 0

    @property
    def output_bytes(self) -> int:
        """Bytes of text that were seen."""
        return self._bytes

    @property
    def has_output(self) -> bool:
        """Whether a token was generated, as far as can be seen."""
        if self._deltas:
            return True
        return any(count.output_tokens for count in self._counted.values())

    @property
    def input_tokens(self) -> int | None:
        """The prompt's exact count, once it is known."""
        if self._reported is not None:
            return self._reported.input_tokens
        if self._counted:
            return max(count.input_tokens for count in self._counted.values())
        return self._known_input

    @property
    def output_tokens(self) -> int:
        """Output so far, over all choices; never less than was seen."""
        if self._counted:
            return sum(count.output_tokens for count in self._counted.values())
        if self._reported is not None:
            return self._reported.output_tokens
        return max(self._deltas, -(-self._bytes // BYTES_PER_TOKEN))

    def running(self) -> Usage:
        """The count so far, for the case that this process dies before the answer ends."""
        return self.result(completed=False)[0]

    def result(self, *, completed: bool) -> tuple[Usage, CountRule]:
        """The usage and the rule it was counted by."""
        if self._reported is not None:
            rule = CountRule.REPORTED if completed else CountRule.COUNTED
            if completed or not self._counted:
                return self._reported, rule
        if self._counted:
            return self._from_counts(), CountRule.COUNTED
        return (
            Usage(
                input_tokens=self._estimated_input(),
                output_tokens=-(-self._bytes // BYTES_PER_TOKEN),
            ),
            CountRule.ESTIMATED,
        )

    def _from_counts(self) -> Usage:
        counts = self._counted.values()
        prompt = max(count.input_tokens for count in counts)
        return Usage(
            input_tokens=prompt,
            output_tokens=sum(count.output_tokens for count in counts),
            cached_tokens=min(prompt, max(count.cached_tokens for count in counts)),
        )

    def _estimated_input(self) -> int:
        if self._known_input is not None:
            return self._known_input
        return -(-self._input_bytes // BYTES_PER_TOKEN)
