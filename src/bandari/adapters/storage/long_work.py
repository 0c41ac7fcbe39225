"""Work that takes long: in a thread of its own, saying how far it is, and called off when its
caller is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Progress = Callable[[int, int], None]
"""Is told (done, in all)."""

T = TypeVar("T")


class CalledOff(Exception):
    """Nobody waits for this work any more."""


async def run_long(work: Callable[[Progress], T], on_progress: Progress) -> T:
    """Run ``work`` in a thread; what it reports is told to ``on_progress`` in the event loop.

    Work that reports after it was cancelled gets ``CalledOff``, and is waited for: when this has
    ended, nothing of it goes on.
    """
    loop = asyncio.get_running_loop()
    called_off = threading.Event()

    def report(done: int, total: int) -> None:
        if called_off.is_set():
            raise CalledOff
        loop.call_soon_threadsafe(on_progress, done, total)

    running = asyncio.ensure_future(asyncio.to_thread(work, report))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        called_off.set()
        with suppress(CalledOff):
            await running
        raise
