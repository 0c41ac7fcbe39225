"""The port ``Responses`` in memory, by its contract, and able to fail or to wait when told to.

``failing["save"] = [fault, ...]`` raises those, one a call, before anything has happened, and
``losing["save"] = [fault, ...]`` after it has: the answer is lost; ``held_up("save")`` gives a
``Gate`` that every further call of that method passes before it does anything. ``log`` has every
write that took effect, in order.
"""

from __future__ import annotations

from collections import defaultdict

from msgspec.structs import replace
from tests.support.gates import Gate

from bandari.domain.responses import (
    MAX_CHAIN_BYTES,
    MAX_CHAIN_LINKS,
    Chain,
    Link,
    ResponseEnd,
    ResponseStatus,
    StoredResponse,
)


class ResponsesInMemory:
    def __init__(self) -> None:
        self.kept: dict[str, StoredResponse] = {}
        self.dead_epochs: set[int] = set()
        self.failing: dict[str, list[BaseException]] = defaultdict(list)
        self.losing: dict[str, list[BaseException]] = defaultdict(list)
        self.log: list[tuple[str, str]] = []
        self._gates: dict[str, Gate] = {}

    # What a test arranges.

    def held_up(self, method: str) -> Gate:
        self._gates[method] = Gate()
        return self._gates[method]

    # The port.

    async def save(self, response: StoredResponse) -> None:
        await self._before("save")
        if response.id not in self.kept:
            self.kept[response.id] = response
            self.log.append(("save", response.id))
        self._after("save")

    async def finish(self, response_id: str, end: ResponseEnd) -> bool:
        await self._before("finish")
        response = self.kept.get(response_id)
        if response is None or response.status.is_finished:
            return False
        self.kept[response_id] = replace(
            response,
            status=end.status,
            receipt_id=end.receipt_id,
            output_items=response.output_items if end.output_items is None else end.output_items,
            body=response.body if end.body is None else end.body,
        )
        self.log.append(("finish", response_id))
        self._after("finish")
        return True

    async def find(self, account_id: int, response_id: str, now_ms: int) -> StoredResponse | None:
        await self._before("find")
        response = self.kept.get(response_id)
        if response is None or response.account_id != account_id:
            return None
        return response if response.expires_ms > now_ms else None

    async def delete(self, account_id: int, response_id: str, now_ms: int) -> bool:
        await self._before("delete")
        if await self.find(account_id, response_id, now_ms) is None:
            return False
        del self.kept[response_id]
        self.log.append(("delete", response_id))
        return True

    async def chain(self, account_id: int, response_id: str, now_ms: int) -> Chain:
        await self._before("chain")
        links: list[Link] = []
        size = 0
        following: str | None = response_id
        while following is not None:
            response = await self.find(account_id, following, now_ms)
            if response is None:
                return Chain(missing=following)
            items = (response.input_items, response.output_items)
            links.insert(0, Link(response.id, response.status, *items))
            size += sum(map(len, items))
            if len(links) > MAX_CHAIN_LINKS or size > MAX_CHAIN_BYTES:
                return Chain(is_too_long=True)
            following = response.previous_id
        return Chain(tuple(links))

    async def fail_dead(self, limit: int) -> int:
        await self._before("fail_dead")
        dead = [
            response
            for response in self.kept.values()
            if response.epoch in self.dead_epochs and not response.status.is_finished
        ][:limit]
        for response in dead:
            self.kept[response.id] = replace(response, status=ResponseStatus.FAILED)
            self.log.append(("fail_dead", response.id))
        return len(dead)

    async def delete_expired(self, now_ms: int, limit: int) -> int:
        await self._before("delete_expired")
        expired = [response for response in self.kept.values() if response.expires_ms <= now_ms]
        expired = sorted(expired, key=lambda response: response.expires_ms)[:limit]
        for response in expired:
            del self.kept[response.id]
            self.log.append(("delete_expired", response.id))
        return len(expired)

    async def _before(self, method: str) -> None:
        gate = self._gates.get(method)
        if gate is not None:
            await gate.passing()
        if self.failing[method]:
            raise self.failing[method].pop(0)

    def _after(self, method: str) -> None:
        if self.losing[method]:
            raise self.losing[method].pop(0)
