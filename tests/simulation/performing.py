"""Runs a world from its first instant to its judgement, in virtual time, whatever becomes of it.

Knows nothing of what a world is made of.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from tests.simulation.disk import Disk
from tests.simulation.process import MAX_UNWINDING_ROUNDS, task_factory
from tests.simulation.trace import Trace, Violation
from tests.support.virtual_time import VirtualLoop

SHOWN_LINES = 100


@dataclass
class Report:
    """What happened in a world."""

    seed: int
    requests: int
    happened: Counter[str]
    digest: int
    virtual_s: float


class Performance(Protocol):
    """A world: ``live`` is all that happens in it, ``judge`` what is made of that afterwards."""

    failed: BaseException | None
    trace: Trace
    disk: Disk

    async def live(self) -> None: ...

    def judge(self) -> None: ...


def perform(seed: int, requests: int, make: Callable[[VirtualLoop], Performance]) -> Report:
    """One world. The same seed and number of requests give the same report, to the digest."""
    was_enabled = gc.isenabled()
    gc.disable()  # when it runs depends on what ran before, and what it finds may still speak
    logging.disable(logging.CRITICAL)
    loop = VirtualLoop()
    loop.set_task_factory(task_factory)  # type: ignore[arg-type]
    world = make(loop)
    try:
        loop.run_until_complete(world.live())
        world.judge()
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - told below, with the trace
        world.failed = world.failed or error
    finally:
        loop.set_exception_handler(lambda loop, context: None)
        _unwind(loop)
        loop.close()
        world.disk.close()
        logging.disable(logging.NOTSET)
        if was_enabled:
            gc.enable()
    if world.failed is not None:
        lines = "\n".join(world.trace.last(SHOWN_LINES))
        raise Violation(f"{lines}\n\n{world.failed}") from world.failed
    trace = world.trace
    return Report(seed, requests, trace.happened, trace.digest, loop.time())


def unhandled(
    fail: Callable[[BaseException], None],
) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """For a loop: an exception that nobody took. In a timer's call it is a violation.

    In a task, its process looks after it; what unwinds with a dead process may fail as it will.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if "task" not in context and "future" not in context and error is not None:
            fail(error)

    return handle


def _unwind(loop: VirtualLoop) -> None:
    """End what a world that failed has left, so that nothing of it speaks up in the next."""
    for _ in range(MAX_UNWINDING_ROUNDS):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            return
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.sleep(1.0))
