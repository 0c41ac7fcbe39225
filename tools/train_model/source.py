"""Draws the random parts of a conversation, and holds the conversation made from them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tools.train_model.phrases import PHRASES
from tools.train_model.words import NAMES, PLACES, WORDS, SplitName

Message = dict[str, Any]

# Each syllable is one beginning, one middle and one end.
# fmt: off
SYLLABLES_LIKE_SWAHILI = (
    (
        "b", "ch", "d", "f", "g", "h", "j", "k", "kw", "l", "m", "n", "p", "r", "s", "sh", "t",
        "th", "v", "w", "y", "z"
    ),
    ("a", "e", "i", "o", "u"),
    ("", "", "", "n"),
)
SYLLABLES_LIKE_ENGLISH = (
    (
        "", "b", "bl", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr",
        "h", "j", "k", "kn", "l", "m", "n", "p", "ph", "pl", "pr", "qu", "r", "s", "sc", "sh",
        "sk", "sl", "sm", "sp", "st", "str", "sw", "t", "th", "tr", "v", "w", "wh", "y", "z"
    ),
    ("a", "e", "i", "o", "u", "a", "e", "i", "o", "u", "ai", "ea", "ee", "ie", "oa", "oo", "ou"),
    (
        "", "", "", "b", "ck", "d", "er", "ff", "ft", "g", "k", "l", "ld", "le", "ll", "lt", "m",
        "mp", "n", "nd", "ng", "nt", "on", "or", "p", "r", "rd", "rk", "rn", "rt", "s", "sh",
        "ss", "st", "t", "th", "tch", "ttle", "ver", "x", "y", "ful", "ly", "ine", "ow"
    ),
)
# fmt: on


@dataclass
class Sample:
    """A conversation whose assistant turns are the right answers.

    `given` is the beginning of the last answer that is shown but not learned: it teaches the model
    to go on sensibly from text that the engine has forced on it.
    """

    kind: str
    messages: list[Message]
    tools: list[dict[str, Any]] = field(default_factory=list)
    given: str = ""


class Source:
    """Draws names, words and phrasings from one side of every split."""

    def __init__(self, rng: random.Random, split: SplitName = "train") -> None:
        self.rng = rng
        self.split: SplitName = split

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.rng.random() < probability

    def phrase(self, key: str, **slots: object) -> str:
        """A phrasing of the named kind with its slots filled in."""
        return PHRASES[key].pick(self.rng, self.split).format(**slots)

    def invented_word(self) -> str:
        """A word that is in no dictionary, so that copying it takes reading it."""
        parts = SYLLABLES_LIKE_SWAHILI if self.chance(0.3) else SYLLABLES_LIKE_ENGLISH
        syllables = self.rng.choice((1, 1, 2, 2, 2, 3, 4))
        return "".join(self.rng.choice(sounds) for _ in range(syllables) for sounds in parts)

    def word(self) -> str:
        """A common word, or every other time an invented one."""
        return self.invented_word() if self.chance(0.5) else WORDS.pick(self.rng, self.split)

    def name(self) -> str:
        """A person's name, in training often an invented one."""
        if self.split == "train" and self.chance(0.5):
            return self.invented_word().capitalize()
        return NAMES.pick(self.rng, self.split)

    def place(self) -> str:
        """A town, in training often an invented one."""
        if self.split == "train" and self.chance(0.4):
            return self.invented_word().capitalize()
        return PLACES.pick(self.rng, self.split)

    def number(self) -> int:
        """A whole number of one to six digits."""
        return self.rng.randint(0, 10 ** self.rng.randint(1, 6))

    def text(self) -> str:
        """A few words in lower case."""
        return " ".join(self.word() for _ in range(self.rng.choice((1, 2, 3, 4, 4, 5, 6, 8))))

    def identifier(self) -> str:
        """A reference such as INV-2041."""
        letters = "".join(
            self.rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(self.rng.randint(1, 3))
        )
        return f"{letters}{self.rng.choice(('-', ''))}{self.rng.randint(10, 99999)}"


def user(content: str) -> Message:
    """A user turn."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """An assistant turn."""
    return {"role": "assistant", "content": content}


def system(source: Source, content: str) -> Message:
    """A system turn, now and then under its other name."""
    return {"role": "developer" if source.chance(0.1) else "system", "content": content}


def capitalised(text: str) -> str:
    """The text with its first letter in upper case and the rest as it was."""
    return text[:1].upper() + text[1:]


def with_article(noun: str) -> str:
    """The noun phrase with `a` or `an`."""
    return ("an " if noun[0] in "aeiouAEIOU" else "a ") + noun
