"""What the store was asked on the way of a request, remembered for a second.

However many requests wait for the same answer, the store is asked once. What it has changed is seen
a second later at the latest, also while requests come without a pause: an answer's second begins
when it was asked for, and nobody is given one that was asked for a second before he came.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from bandari.service.ports import Clock

REMEMBERED_NS = 1_000_000_000
MAX_REMEMBERED = 10_000

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """``ask`` asks the store; None is that there is nothing, and not remembered."""

    def __init__(self, ask: Callable[[K], Awaitable[V | None]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._kept: OrderedDict[K, tuple[int, V]] = OrderedDict()
        self._asking: dict[K, asyncio.Task[tuple[int, V | None]]] = {}

    def fresh(self, key: K) -> V | None:
        """The answer, if it was asked for within the last second."""
        kept = self._kept.get(key)
        if kept is not None and self._clock.monotonic_ns() < kept[0]:
            return kept[1]
        return None

    def was_there(self, key: K) -> bool:
        """Whether there was something when the store was asked last, as far as that is known."""
        return key in self._kept

    async def get(self, key: K) -> V | None:
        """The answer, fresh or newly asked for. Raises what asking raises."""
        answer = self.fresh(key)
        if answer is not None:
            return answer
        came_ns = self._clock.monotonic_ns()
        while True:
            asking = self._asking.get(key)
            if asking is None:
                asking = asyncio.ensure_future(self._asked(key))
                self._asking[key] = asking
                asking.add_done_callback(partial(self._answered, key))
            asked_ns, answer = await asyncio.shield(asking)
            if came_ns - asked_ns < REMEMBERED_NS:
                return answer

    def forget(self) -> None:
        """Ask again for everything that is asked for from here on."""
        self._kept = OrderedDict((key, (0, answer)) for key, (_, answer) in self._kept.items())

    async def _asked(self, key: K) -> tuple[int, V | None]:
        asked_ns = self._clock.monotonic_ns()
        answer = await self._ask(key)
        if answer is None:
            self._kept.pop(key, None)
            return asked_ns, None
        self._kept[key] = (asked_ns + REMEMBERED_NS, answer)
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_REMEMBERED:
            self._kept.popitem(last=False)
        return asked_ns, answer

    def _answered(self, key: K, asking: asyncio.Task[tuple[int, V | None]]) -> None:
        del self._asking[key]
        if not asking.cancelled():
            asking.exception()  # all who waited may have left: then it is nobody's
