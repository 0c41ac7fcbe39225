"""Work in turns: its result, and everybody else's turn in between."""

from __future__ import annotations

import asyncio

import pytest

from bandari.service.turns import in_turns


async def test_others_have_their_turn_wherever_it_yields():
    seen = []

    def steps():
        for number in range(3):
            seen.append(number)
            yield
        return "done"

    async def other():
        for _ in range(3):
            seen.append("other")
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    assert await in_turns(steps()) == "done"
    await running
    assert seen == [0, "other", 1, "other", 2, "other"]


async def test_what_it_raises_is_raised():
    def steps():
        yield
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await in_turns(steps())
