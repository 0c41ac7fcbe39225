"""The servers of a world: they start, live for a while, are drained or killed, and start again.

Knows servers by what can be done to them, and nothing of what they serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any, Generic, Protocol, TypeVar

from tests.simulation.process import Process
from tests.simulation.store import Store
from tests.simulation.trace import Trace, Violation

from bandari.domain.faults import StoreUnavailable

LONGEST_DRAIN_S = 8.0


class Mortal(Protocol):
    """A server, as far as its beginning and its end go."""

    name: str
    process: Process
    store: Store

    async def boot(self) -> None: ...

    async def drain(self, timeout_s: float) -> None: ...

    async def crash(self, session_ends_after_s: float) -> None: ...

    async def exit(self) -> None: ...


AnyServer = TypeVar("AnyServer", bound=Mortal)


class Fleet(Generic[AnyServer]):
    """``make`` makes a server of that name; its draws are the slot's.

    ``draining`` is told before a server is drained, ``ended`` when it is gone.
    """

    def __init__(
        self,
        make: Callable[[str, Random], AnyServer],
        *,
        trace: Trace,
        calm: asyncio.Event,
        is_shared: bool,
        mean_life_s: float,
        draining: Callable[[AnyServer], None],
        ended: Callable[[AnyServer], None],
    ) -> None:
        self.servers: dict[str, AnyServer] = {}
        self._make = make
        self._trace = trace
        self._calm = calm
        self._is_shared = is_shared
        self._mean_life_s = mean_life_s
        self._draining = draining
        self._ended = ended

    async def keep_up(self, slot: int, stream: Random) -> None:
        """Start a server, let it live, end it, and start the next; the last one stays."""
        life_s = stream.choice((self._mean_life_s / 4, self._mean_life_s, self._mean_life_s * 4))
        for incarnation in range(1_000_000):
            server = self._make(f"s{slot}.{incarnation}", stream)
            self.servers[server.name] = server
            booting = server.process.start(server.boot())
            await asyncio.wait({booting}, timeout=stream.expovariate(1 / life_s))
            if booting.done() and booting.exception() is not None:
                if not isinstance(booting.exception(), StoreUnavailable):
                    raise Violation("a server cannot start") from booting.exception()
                self._trace.tell("failed to start", server.name)
                await self._end(server, server.exit())
                await asyncio.sleep(0.5)
                continue
            if booting.done():
                try:
                    async with asyncio.timeout(stream.expovariate(1 / life_s)):
                        await self._calm.wait()
                    return
                except TimeoutError:
                    pass
                if stream.random() < 0.3:
                    await self._drain(server, stream)
                    continue
            elif self._calm.is_set():
                await booting
                return
            else:
                self._trace.count("crash while starting")
            if stream.random() < 0.5:
                await _moment_of_a_commit(server, stream)
            await self._end(server, server.crash(stream.choice((0.0, 0.0, 2.0))))
            if self._is_shared:
                await asyncio.sleep(stream.choice((0.1, 1.0, 15.0)))
            else:
                await asyncio.sleep(2.0 + stream.random())

    def look_after_tasks(self) -> None:
        for server in self.servers.values():
            server.process.look_after_tasks()

    async def _drain(self, server: AnyServer, stream: Random) -> None:
        self._draining(server)
        draining = server.process.start(server.drain(stream.random() * LONGEST_DRAIN_S))
        # A second signal, or the patience of whoever sent the first, may end it at once.
        await asyncio.wait({draining}, timeout=None if stream.random() < 0.8 else 1.0)
        if not draining.done():
            await self._end(server, server.crash(0.0))
            return
        if draining.exception() is not None:
            if not isinstance(draining.exception(), StoreUnavailable):
                raise Violation("a drain failed") from draining.exception()
            self._trace.tell("epoch left open", server.name)
        await self._end(server, server.exit())

    async def _end(self, server: AnyServer, ending: Coroutine[Any, Any, None]) -> None:
        del self.servers[server.name]
        await ending
        self._ended(server)


async def _moment_of_a_commit(server: Mortal, stream: Random) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            await server.store.writer.next_batch()
            await asyncio.sleep(0.005 * stream.random() ** 2)
