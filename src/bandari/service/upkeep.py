"""What runs beside the answers: counts made durable while they run, and the books of dead servers.

A server that dies leaves its holds open. Running counts are written every 250 ms, so that the next
server can settle each by its last durable count, and leave nothing locked. What was recorded of the
answer ends with its hold.

Usage is added up here, so that a charge costs no more for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Charge, Ending
from bandari.domain.pricing import charge_for
from bandari.service.inference import Inference
from bandari.service.ports import (
    Clock,
    HoldAlreadyEnded,
    KeptRecordings,
    Ledger,
    Metrics,
    Reports,
)
from bandari.service.responses import StoredResponses
from bandari.service.streams import Streams

COUNT_INTERVAL_S = 0.25
HOLDS_INTERVAL_S = 5.0
LATE_INTERVAL_S = 1.0
DEAD_INTERVAL_S = 10.0
EXPIRED_INTERVAL_S = 60.0
ROLL_UP_INTERVAL_S = 2.0
DEAD_HOLDS_AT_ONCE = 500
RECEIPTS_AT_ONCE = 500
"""How many receipts one commit adds up: charges wait for it, and fewer cost as much each time."""
RECORDINGS_AT_ONCE = 20
"""How many one commit deletes, each with all its frames: charges wait for it."""

_log = logging.getLogger(__name__)


async def settle_dead_holds(ledger: Ledger, clock: Clock) -> int:
    """End every hold of a dead server: charged by its last durable count, or voided without one.

    Returns how many there were.
    """
    settled = 0
    while True:
        dead = await ledger.dead_holds(DEAD_HOLDS_AT_ONCE)
        if not dead:
            if settled:
                _log.warning("settled the holds of a server that died", extra={"settled": settled})
            return settled
        for hold, card in dead:
            try:
                if hold.counted is None or hold.counted.usage.output_tokens == 0:
                    await ledger.void(hold.id)
                else:
                    await ledger.post(
                        Charge(
                            hold_id=hold.id,
                            amount=charge_for(card, hold.counted.usage),
                            count=hold.counted,
                            ending=Ending.SERVER_DIED,
                            target="",
                            ended_ms=clock.now_ms(),
                        )
                    )
            except HoldAlreadyEnded:  # another server settled it first
                continue
            settled += 1


async def end_dead_recordings(recordings: KeptRecordings) -> int:
    """Have those end whose server died, once their holds are settled; returns how many."""
    ended = 0
    while some := await recordings.end_dead(RECORDINGS_AT_ONCE):
        ended += some
    if ended:
        _log.warning("ended the recordings of a server that died", extra={"ended": ended})
    return ended


async def delete_expired_recordings(recordings: KeptRecordings, clock: Clock) -> int:
    """Delete what is older than it may be, a little at a time; returns how many."""
    now_ms = clock.now_ms()
    deleted = 0
    while some := await recordings.delete_expired(now_ms, RECORDINGS_AT_ONCE):
        deleted += some
    return deleted


async def roll_up_all(reports: Reports) -> int:
    """Add up all receipts that are not yet, however many; returns how many there were.

    Whoever waits for a commit has his turn between two chunks.
    """
    added = 0
    while count := await reports.roll_up(RECEIPTS_AT_ONCE):
        added += count
    return added


def start_loops(
    inference: Inference,
    ledger: Ledger,
    clock: Clock,
    metrics: Metrics,
    responses: StoredResponses | None = None,
    reports: Reports | None = None,
    recordings: KeptRecordings | None = None,
    streams: Streams | None = None,
) -> list[asyncio.Task[None]]:
    """All that is done over and over beside the answers. Cancel the tasks to stop."""

    async def write_counts() -> None:
        await inference.write_counts(ledger.count)

    async def settle_dead() -> None:
        await settle_dead_holds(ledger, clock)
        if recordings is not None:
            await end_dead_recordings(recordings)

    async def tell_open_holds() -> None:
        metrics.holds_open(await ledger.open_holds())

    loops: list[tuple[str, Callable[[], Awaitable[object]], float]] = [
        ("running counts", write_counts, COUNT_INTERVAL_S),
        ("holds of dead servers", settle_dead, DEAD_INTERVAL_S),
        ("late settlements", inference.settle_late, LATE_INTERVAL_S),
        ("open holds", tell_open_holds, HOLDS_INTERVAL_S),
    ]
    if responses is not None:
        loops += [
            ("late responses", responses.write_late, LATE_INTERVAL_S),
            ("responses of dead servers", responses.fail_dead, DEAD_INTERVAL_S),
            ("expired responses", responses.delete_expired, EXPIRED_INTERVAL_S),
        ]
    if recordings is not None:
        delete_expired = partial(delete_expired_recordings, recordings, clock)
        loops.append(("expired recordings", delete_expired, EXPIRED_INTERVAL_S))
    if streams is not None:
        loops.append(("recordings in memory", streams.tidy, HOLDS_INTERVAL_S))
    if reports is not None:
        loops.append(("usage", partial(roll_up_all, reports), ROLL_UP_INTERVAL_S))
    return [asyncio.create_task(repeat(*loop)) for loop in loops]


async def repeat(what: str, step: Callable[[], Awaitable[object]], interval_s: float) -> None:
    """Do ``step`` over and over, ``interval_s`` apart, whatever becomes of it. Cancel to stop."""
    while True:
        await asyncio.sleep(interval_s)
        try:
            await step()
        except StoreUnavailable:
            _log.warning("%s: the ledger cannot be reached", what)
        except Exception:  # noqa: BLE001 - the edge of a task that nobody awaits
            _log.exception("%s failed", what)
