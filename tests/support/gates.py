"""A place in a script where a test says when to go on: what tests use instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Gate:
    """Closed until ``open`` is called; ``reached`` tells that somebody stands before it.

    Stays open once opened.
    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def passing(self) -> None:
        self.reached.set()
        await self._opened.wait()

    @property
    def is_open(self) -> bool:
        return self._opened.is_set()

    def open(self) -> None:
        self._opened.set()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what tells nobody that it has happened; not for longer than five seconds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - there is nobody who could set an event
            await asyncio.sleep(0.001)


async def until_idle() -> None:
    """Let everything that can run without the outside world run."""
    for _ in range(20):
        await asyncio.sleep(0)
