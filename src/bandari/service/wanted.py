"""What an answer wants to claim of the limits that it falls under."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from bandari.domain.catalogue import Model
from bandari.domain.keys import Principal
from bandari.domain.pricing import RateCard


class Prompt(Protocol):
    """A prompt's size: ``tokens`` is a bound until it is counted."""

    @property
    def tokens(self) -> int: ...

    async def make_exact(self) -> None:
        """Have it counted where it can be, and has not been."""
        ...


class Wanted(Struct, frozen=True):
    """What is claimed. Lengths of the answer are in tokens per choice.

    ``whole`` is how long it may become, ``ahead`` what is reserved at first: less where ``rolls``,
    because then more is claimed as it goes. ``is_useless`` says whether one that is cut to a length
    is of no use.
    """

    principal: Principal
    model: Model
    card: RateCard
    prompt: Prompt
    whole: int
    ahead: int
    rolls: bool
    choices: int
    is_useless: Callable[[int], bool]
