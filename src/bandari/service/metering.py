"""How many tokens an answer has: folded from events, by the best rule that is available.

In order of preference: what the upstream reported at its end, exact counts (running ones, or of the
model's tokenizer), and an estimate from bytes. Knows no prices.
"""

from __future__ import annotations

from collections.abc import Sequence

from bandari.domain.estimate import Basis, Ratios, tokens_in
from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    InputCounted,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.ledger import Count
from bandari.domain.usage import CountRule, Usage

_TEXTS = (ReasoningDelta, RefusalDelta)


class Meter:
    """Follows one answer's events. ``input_bytes`` and ``images`` are the prompt's size."""

    __slots__ = (
        "_bytes",
        "_counted",
        "_deltas",
        "_images",
        "_input_bytes",
        "_known_output",
        "_pieces",
        "_prompt",
        "_reported",
        "input_tokens",
        "ratios",
    )

    def __init__(self, input_bytes: int, images: int = 0) -> None:
        self.ratios = Ratios()
        self._input_bytes = input_bytes
        self._images = images
        self.input_tokens: int | None = None
        """The prompt's exact count, once it is known."""
        self._known_output: int | None = None
        self._counted: dict[int, Counted] = {}
        self._prompt: InputCounted | None = None
        self._reported: Usage | None = None
        self._bytes = 0
        self._deltas = 0
        self._pieces: list[str] | None = None

    def know_input(self, tokens: int) -> None:
        """The prompt was counted exactly, by somebody who does not generate."""
        if self._reported is None and self._prompt is None and not self._counted:
            self.input_tokens = tokens

    def know_output(self, tokens: int) -> None:
        """The answer's text was counted exactly, after its end."""
        self._known_output = tokens

    def keep_text(self) -> None:
        """Keep the text from here on for a tokenizer, unless it turns out to be counted."""
        self._pieces = []

    def observe(self, events: Sequence[Event]) -> FinishReason | None:
        """Count them in. Returns why a choice has ended, if one has."""
        finished: FinishReason | None = None
        for event in events:
            if isinstance(event, TextDelta):
                self._see(event.text)
            elif isinstance(event, ChoiceFinished):
                finished = finished or event.reason
            elif isinstance(event, Counted):
                self._counted[event.choice] = event
                self._pieces = None
                self._tell_input()
            elif isinstance(event, InputCounted):
                self._prompt = event
                self._tell_input()
            elif isinstance(event, UsageReported):
                if self._is_credible(event.usage):
                    self._reported = event.usage
                    self._tell_input()
            elif isinstance(event, ToolCallDelta):
                self._see((event.name or "") + event.arguments)
            elif isinstance(event, _TEXTS):
                self._see(event.text)
        return finished

    def _tell_input(self) -> None:
        if self._reported is not None:
            self.input_tokens = self._reported.input_tokens
        elif self._counted:
            self.input_tokens = max(count.input_tokens for count in self._counted.values())
        elif self._prompt is not None:
            self.input_tokens = self._prompt.input_tokens

    def _see(self, text: str) -> None:
        self._bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        self._deltas += 1
        if self._pieces is not None:
            self._pieces.append(text)

    def _is_credible(self, usage: Usage) -> bool:
        """No output is no report where output was seen: it would make an answer free."""
        return usage.output_tokens > 0 or self._deltas == 0

    @property
    def output_bytes(self) -> int:
        """Bytes of text that were seen."""
        return self._bytes

    @property
    def uncounted_text(self) -> str | None:
        """The answer's text, if it was kept and nobody has told how many tokens it has."""
        if self._pieces is None or self._reported is not None:
            return None
        return "".join(self._pieces)

    @property
    def has_output(self) -> bool:
        """Whether a token was generated, as far as can be seen."""
        if self._deltas:
            return True
        return any(count.output_tokens for count in self._counted.values())

    @property
    def is_counting(self) -> bool:
        """Whether the upstream tells the tokens while it generates them."""
        return bool(self._counted)

    @property
    def output_tokens(self) -> int:
        """Output so far, over all choices; where it is estimated, at least one token a delta.

        That is how far money must reach. What is charged never counts deltas: not every provider
        sends a token at a time.
        """
        if self._counted:
            return sum(count.output_tokens for count in self._counted.values())
        if self._reported is not None:
            return self._reported.output_tokens
        return max(self._deltas, tokens_in(self._bytes, self.ratios.output))

    @property
    def basis(self) -> Basis:
        return Basis(self._input_bytes, self._images, self._bytes, self.ratios)

    def running(self) -> Count:
        """The count so far, for the case that this process dies before the answer ends."""
        return self.result(completed=False)

    def result(self, *, completed: bool) -> Count:
        """The usage and the rule it was counted by."""
        basis = self.basis
        if self._reported is not None and (completed or not self._counted):
            rule = CountRule.REPORTED if completed else CountRule.COUNTED
            return Count(self._reported, rule, basis)
        if self._counted:
            return Count(self._from_counts(), CountRule.COUNTED, basis)
        is_exact = self.input_tokens is not None and self._known_output is not None
        rule = CountRule.COUNTED if is_exact else CountRule.ESTIMATED
        return Count(self._from_pieces(basis), rule, basis)

    def _from_pieces(self, basis: Basis) -> Usage:
        """Each half as exact as it is known, and the prompt by its kinds where they were told."""
        prompt, answer = self.input_tokens, self._known_output
        if prompt is None:
            prompt = basis.input_tokens
        kinds = self._prompt or InputCounted(prompt)
        cached = min(prompt, kinds.cached_tokens)
        return Usage(
            input_tokens=prompt,
            output_tokens=basis.output_tokens if answer is None else answer,
            cached_tokens=cached,
            cache_write_tokens=min(prompt - cached, kinds.cache_write_tokens),
        )

    def _from_counts(self) -> Usage:
        counts = self._counted.values()
        prompt = max(count.input_tokens for count in counts)
        return Usage(
            input_tokens=prompt,
            output_tokens=sum(count.output_tokens for count in counts),
            cached_tokens=min(prompt, max(count.cached_tokens for count in counts)),
        )
