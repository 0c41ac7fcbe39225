"""The loop that the worlds run in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from tests.support.virtual_time import START_MS, NothingToWaitFor, VirtualClock, VirtualLoop


def run(work: Coroutine[Any, Any, Any], loop: VirtualLoop) -> Any:
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def test_a_day_passes_at_once():
    loop = VirtualLoop()
    clock = VirtualClock(loop)
    began = time.monotonic()
    run(asyncio.sleep(86_400), loop)
    assert loop.time() == 86_400
    assert clock.now_ms() == START_MS + 86_400_000
    assert clock.monotonic_ns() == 86_400 * 10**9
    assert time.monotonic() - began < 5


def test_timers_fire_in_their_order():
    fired: list[str] = []

    async def work(loop: VirtualLoop) -> None:
        loop.call_later(2, fired.append, "second")
        loop.call_later(1, fired.append, "first")
        loop.call_later(1.5, fired.append, "never").cancel()
        loop.call_soon(fired.append, "at once")
        await asyncio.sleep(3)

    loop = VirtualLoop()
    run(work(loop), loop)
    assert fired == ["at once", "first", "second"]


def test_timeouts_are_virtual_too():
    async def work() -> None:
        async with asyncio.timeout(3_600):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(work(), VirtualLoop())


def test_waiting_for_nobody_is_an_error():
    async def work() -> None:
        await asyncio.Event().wait()

    loop = VirtualLoop()
    task = loop.create_task(work())
    with pytest.raises(NothingToWaitFor):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
