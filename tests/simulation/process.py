"""A simulated operating-system process: what it started, and how all of that ends with it.

Knows nothing of what runs in it. Everything that a process starts knows whose it is by a context
variable, which tasks inherit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any

from tests.simulation.trace import Violation

from bandari.domain.faults import Fault

MAX_UNWINDING_ROUNDS = 20
_PRUNE_AT = 64

_running: ContextVar[Process | None] = ContextVar("process", default=None)


class Process:
    """``name`` tells incarnations apart. Alive until ``kill``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self._context = Context()
        self._context.run(_running.set, self)
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = _PRUNE_AT

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A task of this process."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    async def kill(self) -> None:
        """End at this instant. Nothing that still unwinds can reach anybody."""
        self.alive = False
        for _ in range(MAX_UNWINDING_ROUNDS):
            self._tasks = [task for task in self._tasks if not task.done()]
            if not self._tasks:
                return
            for task in self._tasks:
                task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        raise Violation(f"tasks of {self.name} outlive it: {self._tasks}")

    def adopt(self, task: asyncio.Task[Any]) -> None:
        tasks = self._tasks
        tasks.append(task)
        if len(tasks) >= self._prune_at:
            self.look_after_tasks()
            self._prune_at = max(_PRUNE_AT, 2 * len(self._tasks))

    def look_after_tasks(self) -> None:
        """Forget what has ended. One that ended by anything but a fault is a violation."""
        for task in self._tasks:
            if task.done() and not task.cancelled() and self.alive:
                error = task.exception()
                if error is not None and not isinstance(error, Fault):
                    violation = Violation(f"a task of {self.name} failed: {error!r}")
                    violation.__cause__ = error
                    # Raised here, it would meet whoever happens to start a task now.
                    message = {"message": str(violation), "exception": violation}
                    task.get_loop().call_exception_handler(message)
        self._tasks = [task for task in self._tasks if not task.done()]


def task_factory(
    loop: asyncio.AbstractEventLoop,
    work: Coroutine[Any, Any, Any],
    context: Context | None = None,
    **options: Any,
) -> asyncio.Task[Any]:
    """Makes tasks that their process knows of."""
    task = asyncio.Task(work, loop=loop, context=context, **options)
    owner = _running.get() if context is None else context.get(_running)
    if owner is not None:
        owner.adopt(task)
    return task
