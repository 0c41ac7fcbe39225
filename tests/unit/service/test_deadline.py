"""A deadline that moves: called when it has come, never early, never after its end."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import AsyncIterator

import pytest

from bandari.service.deadline import Deadline


class _Watch:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.reached_at: list[float] = []
        self.deadline = Deadline(self.loop, self.reached)

    def reached(self) -> None:
        self.reached_at.append(self.loop.time())


@pytest.fixture
async def watch() -> AsyncIterator[_Watch]:
    watch = _Watch()
    yield watch
    watch.deadline.end()


async def test_what_is_put_off_is_reached_later_and_once(watch: _Watch) -> None:
    begun = watch.loop.time()
    watch.deadline.set(begun + 0.02)
    watch.deadline.at = begun + 0.06
    await asyncio.sleep(0.12)
    assert len(watch.reached_at) == 1
    assert watch.reached_at[0] >= begun + 0.06


async def test_what_is_brought_forward_is_reached_sooner(watch: _Watch) -> None:
    begun = watch.loop.time()
    watch.deadline.set(begun + 60)
    watch.deadline.set(begun + 0.02)
    await asyncio.sleep(0.08)
    assert len(watch.reached_at) == 1


async def test_what_is_taken_away_can_be_set_again(watch: _Watch) -> None:
    watch.deadline.set(watch.loop.time() + 0.01)
    watch.deadline.at = math.inf
    await asyncio.sleep(0.04)
    assert watch.reached_at == []
    watch.deadline.set(watch.loop.time() + 0.01)
    await asyncio.sleep(0.04)
    assert len(watch.reached_at) == 1


async def test_after_its_end_it_is_never_reached_and_keeps_nobody_alive() -> None:
    watch = _Watch()
    watch.deadline.set(watch.loop.time() + 0.01)
    watch.deadline.end()
    watch.deadline.set(watch.loop.time())
    await asyncio.sleep(0.04)
    assert watch.reached_at == []
    seen = weakref.ref(watch)
    gc.disable()
    try:
        del watch
        assert seen() is None
    finally:
        gc.enable()
