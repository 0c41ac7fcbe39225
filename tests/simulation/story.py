"""One request, as the world drew it, and all that became of it.

Rule 1: what an upstream truly generated is written by ``upstreams``, what the client saw by
``clients``; ``oracle`` reads both.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bandari.domain.chat import ChatRequest
from bandari.domain.keys import Principal
from bandari.domain.usage import Usage


@dataclass(slots=True)
class Call:
    """One call of an upstream: what it generated, and what it said of it."""

    target: str
    first: bool
    """No event came from an earlier call of this request."""
    tells_counts: bool
    limit: int | None = None
    """The most tokens of each choice that it was asked for."""
    chunk: int = 1
    """Tokens of its largest batch."""
    is_honest: bool = False
    """It counts as it goes, obeys its limit, and its prompt is no larger than it looks."""
    prompt: int = 0
    cached: int = 0
    tokens: dict[int, int] = field(default_factory=dict)
    """Tokens generated, by choice, up to the last batch that left."""
    told: dict[int, int] = field(default_factory=dict)
    """The same, of the running counts that left."""
    bytes: int = 0
    deltas: int = 0
    began: bool = False
    """An event left."""
    reported: Usage | None = None
    finished: int = 0
    """Choices that ended by themselves, as the upstream said."""
    choices: int = 1
    has_failed: bool = False
    is_whole: bool = False
    """Ended by itself, and well."""

    @property
    def generated(self) -> int:
        return sum(self.tokens.values())


@dataclass(slots=True)
class Story:
    number: int
    request: ChatRequest
    principal: Principal
    prompt_tokens: int
    leaves_after_s: float | None
    pause_s: float
    """Between two reads of a slow client."""
    given_up_after_s: float | None = None
    """The handler is cancelled, if there is no generation yet."""

    prompt_is_cut: bool = False
    """The prompt may be longer than the context window, and no hold is made for more than that."""

    server: str = ""
    server_is_gone: bool = False
    was_drained: bool = False
    hold_id: str = ""
    calls: list[Call] = field(default_factory=list)

    outcome: str = "waiting"
    """``denied``, ``refused`` (a fault before there was a generation), ``completed``, ``problem``,
    ``left``, ``server lost`` or ``no server``."""
    code: str = ""
    left: bool = False
    saw_text: bool = False
    end_usage: tuple[int, int] | None = None
    told_free: bool = False
    shortened_to: int | None = None

    @property
    def name(self) -> str:
        return f"r{self.number}"
