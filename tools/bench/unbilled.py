"""Bandari with the ledger off, to see what billing costs. It is no mode of the product.

    python -m tools.bench.unbilled serve …      takes what `bandari` takes

The rest is the same program: keys come from the store, limits hold, requests are logged and
measured. Only the port ``Ledger`` is another: it grants every hold at once, keeps it in memory
until it ends, and forgets it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from bandari.adapters.storage import Store
from bandari.bootstrap import serving
from bandari.cli import main
from bandari.config import Settings
from bandari.domain.estimate import Experience
from bandari.domain.ledger import Charge, Hold, Receipt, RunningCount, Verification, Wallet
from bandari.domain.pricing import RateCard
from bandari.service.ports import HoldAlreadyEnded, Ledger, Placement

PLENTY = 10**12


class GrantingLedger:
    """The port ``Ledger``, of an operator who gives everything away. Nothing outlives it."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}

    async def open_epoch(self, now_ms: int) -> int:
        return 1

    async def close_epoch(self, epoch: int, now_ms: int) -> None:
        return

    async def dead_holds(self, limit: int) -> Sequence[tuple[Hold, RateCard]]:
        return ()

    async def place(self, hold: Hold) -> Placement:
        self._holds[hold.id] = hold
        return Placement(True, Wallet(1, hold.account_id, hold.asset, PLENTY, hold.amount))

    async def charge(self, hold: Hold, charge: Charge) -> Receipt | Placement:
        await self.place(hold)
        return await self.post(charge)

    async def extend(self, hold_id: str, amount: int, least: int) -> int:
        return amount if hold_id in self._holds else 0

    async def count(self, counts: Sequence[RunningCount]) -> None:
        return

    async def post(self, charge: Charge) -> Receipt:
        hold = self._end(charge.hold_id)
        return Receipt(
            id=hold.id,
            account="",
            key_id=hold.key_id,
            model=hold.model,
            target=charge.target,
            asset=hold.asset,
            amount=charge.amount,
            overrun=0,
            balance_after=PLENTY,
            rate_card_version=1,
            usage=charge.count.usage,
            rule=charge.count.rule,
            basis=charge.count.basis,
            ending=charge.ending,
            created_ms=hold.created_ms,
            ended_ms=charge.ended_ms,
            end_user=hold.end_user,
            finish_reason=charge.finish_reason,
            reasoning_effort=charge.reasoning_effort,
            repeated_tokens=charge.repeated_tokens,
        )

    async def void(self, hold_id: str, recording_id: str | None = None) -> None:
        self._end(hold_id)

    async def experience(self) -> Mapping[str, Experience]:
        return {}

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        return None

    async def open_holds(self) -> int:
        return len(self._holds)

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        raise NotImplementedError

    def _end(self, hold_id: str) -> Hold:
        hold = self._holds.pop(hold_id, None)
        if hold is None:
            raise HoldAlreadyEnded(hold_id)
        return hold


_open_books = serving.open_books


@asynccontextmanager
async def open_unbilled_books(
    settings: Settings, on_commit: Callable[[int, float], None] | None = None
) -> AsyncIterator[Store]:
    """The store as it is, but for its ledger."""
    async with _open_books(settings, on_commit) as store:
        ledger: Ledger = GrantingLedger()
        vars(store).update({"ledger": ledger})
        yield store


if __name__ == "__main__":
    seam: Any = serving
    seam.open_books = open_unbilled_books
    main()
