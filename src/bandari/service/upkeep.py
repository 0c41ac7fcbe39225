"""What runs beside the answers: counts made durable while they run, and the books of dead servers.

A server that dies leaves its holds open. Running counts are written every 250 ms, so that the next
server can settle each by its last durable count, and leave nothing locked.
"""

from __future__ import annotations

import asyncio
import logging

from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Charge, Ending
from bandari.domain.pricing import charge_for
from bandari.domain.usage import CountRule
from bandari.service.inference import Inference
from bandari.service.ports import Clock, HoldAlreadyEnded, Ledger, Metrics

COUNT_INTERVAL_S = 0.25
HOLDS_INTERVAL_S = 5.0
DEAD_HOLDS_AT_ONCE = 500

_log = logging.getLogger(__name__)


async def settle_dead_holds(ledger: Ledger, clock: Clock) -> int:
    """End every hold of a dead server: charged by its last durable count, or voided without one.

    Returns how many there were.
    """
    settled = 0
    while True:
        dead = await ledger.dead_holds(DEAD_HOLDS_AT_ONCE)
        if not dead:
            return settled
        for hold, card in dead:
            try:
                if hold.counted is None or hold.counted.output_tokens == 0:
                    await ledger.void(hold.id)
                else:
                    await ledger.post(
                        Charge(
                            hold_id=hold.id,
                            amount=charge_for(card, hold.counted),
                            usage=hold.counted,
                            rule=CountRule.COUNTED,
                            ending=Ending.SERVER_DIED,
                            target="",
                            ended_ms=clock.now_ms(),
                        )
                    )
            except HoldAlreadyEnded:  # another server settled it first
                continue
            settled += 1


async def keep_counts_durable(inference: Inference, ledger: Ledger) -> None:
    """Write the counts of running answers, for ever. Cancel to stop."""
    while True:
        await asyncio.sleep(COUNT_INTERVAL_S)
        counts = inference.running_counts()
        if counts:
            try:
                await ledger.count(counts)
            except StoreUnavailable:
                _log.warning("running counts could not be written")


async def watch_open_holds(ledger: Ledger, metrics: Metrics) -> None:
    """Tell the metrics how many holds are open, for ever. Cancel to stop."""
    while True:
        try:
            metrics.holds_open(await ledger.open_holds())
        except StoreUnavailable:
            _log.warning("open holds could not be counted")
        await asyncio.sleep(HOLDS_INTERVAL_S)
