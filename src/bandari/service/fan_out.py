"""Several choices from an upstream that gives fewer per call: calls side by side, merged into one.

Each call's choices are renumbered, its running counts too. The prompt counts once, as for an
upstream that draws all choices from one prompt; outputs add up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import msgspec

from bandari.domain.chat import ChatRequest
from bandari.domain.events import Event, InputCounted, UsageReported
from bandari.domain.usage import Usage
from bandari.service.ports import Take, Upstream

MAX_CALLS_AT_ONCE = 8
MAX_WAITING_BATCHES = 64


def generate(
    upstream: Upstream, request: ChatRequest, model: str, take: Take | None = None
) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Event]]]:
    """Like ``Upstream.generate``, for any number of choices.

    Calls that were fanned out begin with the first item, and raise there; a failure of one ends
    them all.
    """
    if request.sampling.n <= upstream.max_choices:
        return upstream.generate(request, model, take)
    return _FanOut(upstream, request, model)


class _FanOut:
    def __init__(self, upstream: Upstream, request: ChatRequest, model: str) -> None:
        self._upstream = upstream
        self._request = request
        self._model = model
        self._queue: asyncio.Queue[Sequence[Event] | BaseException | None] = asyncio.Queue(
            MAX_WAITING_BATCHES
        )
        self._slots = asyncio.Semaphore(MAX_CALLS_AT_ONCE)
        self._usages: dict[int, Usage] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> AsyncIterator[Sequence[Event]]:
        return self._merged()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _merged(self) -> AsyncIterator[Sequence[Event]]:
        shares = list(_shares(self._request, self._upstream.max_choices))
        self._tasks = [asyncio.create_task(self._call(share, first)) for first, share in shares]
        running = len(self._tasks)
        while running:
            item = await self._queue.get()
            if item is None:
                running -= 1
            elif isinstance(item, BaseException):
                raise item
            else:
                yield item
        if len(self._usages) == len(self._tasks):
            yield (UsageReported(_sum([self._usages[first] for first, _ in shares])),)

    async def _call(self, share: ChatRequest, first: int) -> None:
        try:
            async with self._slots, self._upstream.generate(share, self._model) as batches:
                async for batch in batches:
                    own = [_renumbered(event, first) for event in batch if self._keep(event, first)]
                    if own:
                        await self._queue.put(own)
        except Exception as error:  # noqa: BLE001 - carried to the reader of the merged stream, who raises it
            await self._queue.put(error)
        else:
            await self._queue.put(None)

    def _keep(self, event: Event, first: int) -> bool:
        if isinstance(event, UsageReported):
            self._usages[first] = event.usage
            return False
        return first == 0 or not isinstance(event, InputCounted)


def _shares(request: ChatRequest, size: int) -> Sequence[tuple[int, ChatRequest]]:
    """The calls to make: the number of the first choice, and the request for some choices."""
    sampling = request.sampling
    shares = []
    for first in range(0, sampling.n, size):
        seed = None if sampling.seed is None else sampling.seed + first
        part = msgspec.structs.replace(sampling, n=min(size, sampling.n - first), seed=seed)
        shares.append((first, msgspec.structs.replace(request, sampling=part)))
    return shares


def _renumbered(event: Event, first: int) -> Event:
    if first == 0 or isinstance(event, (UsageReported, InputCounted)):
        return event
    return msgspec.structs.replace(event, choice=event.choice + first)


def _sum(usages: Sequence[Usage]) -> Usage:
    first = usages[0]
    return Usage(
        input_tokens=max(usage.input_tokens for usage in usages),
        output_tokens=sum(usage.output_tokens for usage in usages),
        cached_tokens=first.cached_tokens,
        cache_write_tokens=first.cache_write_tokens,
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
    )
