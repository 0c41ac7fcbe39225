"""Tokens where nobody counted them: from bytes, by a ratio that past answers have shown.

A ratio is an integer, tokens per million bytes, so that an estimate can be done again by hand. What
is learned from is a provider's own report of a whole answer; what is not plausible teaches nothing.
"""

from __future__ import annotations

from msgspec import Struct

from bandari.domain.usage import Usage

MILLION = 1_000_000

DEFAULT_RATIO = 250_000
"""Four bytes a token: what is assumed of a model that has reported nothing yet."""

LEAST_RATIO = 20_000
MOST_RATIO = MILLION
"""Tokens of fifty bytes are the longest, and of one byte the shortest, that are believed."""

IMAGE_TOKENS = 1_000
"""What an image is estimated at: about what providers count for one of 1,000 by 1,000 pixels."""

PRIOR_TOKENS = 1_000
"""The default weighs as much as a measurement of this many tokens."""

MAX_TALLY_TOKENS = 1_000_000
"""A longer measurement is halved, so that a model that changes is learned again."""


class Ratios(Struct, frozen=True, gc=False):
    """Tokens per million bytes of one model: of prompts as we size them, and of its answers."""

    input: int = DEFAULT_RATIO
    output: int = DEFAULT_RATIO


class Basis(Struct, frozen=True, gc=False):
    """What an estimate is made from: what can be seen of an answer, and the ratios of its model."""

    input_bytes: int = 0
    images: int = 0
    output_bytes: int = 0
    ratios: Ratios = Ratios()

    @property
    def input_tokens(self) -> int:
        """The prompt, estimated: its bytes by the ratio, rounded up, and its images."""
        return tokens_in(self.input_bytes, self.ratios.input) + self.images * IMAGE_TOKENS

    @property
    def output_tokens(self) -> int:
        """The answer, estimated, over all choices: its bytes by the ratio, rounded up."""
        return tokens_in(self.output_bytes, self.ratios.output)


class Tally(Struct, frozen=True, gc=False):
    """Bytes of text and the tokens that a provider reported for them, added up."""

    bytes: int = 0
    tokens: int = 0

    @property
    def ratio(self) -> int:
        """Tokens per million bytes: measured, with the default for a start."""
        tokens = self.tokens + PRIOR_TOKENS
        return tokens * MILLION // (self.bytes + PRIOR_TOKENS * MILLION // DEFAULT_RATIO)

    def plus(self, size: int, tokens: int) -> Tally:
        """With one more text of ``size`` bytes, unless its tokens are not plausible."""
        if not LEAST_RATIO * size <= tokens * MILLION <= MOST_RATIO * size or not size:
            return self
        more = Tally(self.bytes + size, self.tokens + tokens)
        if more.tokens > MAX_TALLY_TOKENS:
            return Tally(more.bytes // 2, more.tokens // 2)
        return more


class Experience(Struct, frozen=True, gc=False):
    """What one model's reports have taught."""

    input: Tally = Tally()
    output: Tally = Tally()

    @property
    def ratios(self) -> Ratios:
        return Ratios(self.input.ratio, self.output.ratio)

    def plus(self, usage: Usage, basis: Basis) -> Experience:
        """With one more whole answer that its provider reported.

        A prompt with images and an answer with hidden reasoning say nothing about text.
        """
        prompt, answer = self.input, self.output
        if not basis.images:
            prompt = prompt.plus(basis.input_bytes, usage.input_tokens)
        if not usage.reasoning_tokens:
            answer = answer.plus(basis.output_bytes, usage.output_tokens)
        return Experience(prompt, answer)


def tokens_in(size: int, ratio: int) -> int:
    """The tokens of ``size`` bytes of text, rounded up."""
    return -(-size * ratio // MILLION)
