"""What is set aside for one answer that is being made: money held, and a claim on its limits.

Owns how both reach ahead of the answer as it goes, and that both end with it, once.
"""

from __future__ import annotations

import asyncio
import math

from bandari.domain.ledger import Charge, Count, Ending, Hold, Receipt
from bandari.domain.outcome import Allow
from bandari.domain.pricing import (
    RateCard,
    ceiling_for,
    charge_for,
    charge_for_repeated,
    output_tokens_within,
)
from bandari.domain.recordings import RecordingEnd
from bandari.service.claims import Claim
from bandari.service.ports import HoldAlreadyEnded, Ledger

ROLL_TOKENS = 1024
"""Output tokens per choice that a hold reaches ahead."""


class Reservation:
    """An open hold and how far it reaches. Ends once: ``post`` or ``void``.

    Below ``sure_output`` tokens of output there is nothing to ask ``covers`` for. ``claim`` is what
    is reserved of the limits for the same answer, and ends with the hold.
    """

    __slots__ = (
        "_charged",
        "_claim",
        "_extension",
        "_held",
        "_input",
        "_is_denied",
        "_knows_input",
        "_ledger",
        "_recording_id",
        "card",
        "choices",
        "exact_input",
        "hold_id",
        "is_limited",
        "max_tokens",
        "shortened",
        "sure_output",
    )

    def __init__(
        self,
        ledger: Ledger,
        hold: Hold,
        card: RateCard,
        input_tokens: int,
        choices: int,
        claim: Claim | None = None,
    ) -> None:
        self._ledger = ledger
        self._recording_id = None if hold.recording is None else hold.recording.id
        self._held = hold.amount
        self._input = input_tokens
        self._knows_input = False
        self._claim = claim
        self._charged: tuple[int, int] | None = None
        """Tokens and amount that the ledger was told, whether it has heard or not."""
        self._extension: asyncio.Task[bool] | None = None
        self._is_denied = False
        self.card = card
        self.choices = choices
        self.hold_id = hold.id
        self.exact_input: int | None = None
        self.max_tokens: int | None = None
        self.shortened = False
        self.is_limited = False
        """Whether it is a limit, and not the wallet, that it may not go beyond."""
        self._set_sure_output()

    def know_input(self, tokens: int) -> None:
        """The prompt's exact count is known now; what its bound held too much covers output."""
        self._knows_input = True
        if tokens != self._input:
            self._input = tokens
            self._set_sure_output()

    def _set_sure_output(self) -> None:
        covered = self.covered_output
        if covered is None:
            self.sure_output = math.inf
        else:
            self.sure_output = covered - ROLL_TOKENS * self.choices // 2

    @property
    def limit(self) -> int | None:
        """The most output tokens, over all choices, that the answer was asked to have."""
        return None if self.max_tokens is None else self.max_tokens * self.choices

    @property
    def covered_output(self) -> int | None:
        """Output tokens, over all choices, that hold and claim cover; None where nothing bounds
        them.
        """
        paid = output_tokens_within(self.card, self._input, self._held)
        claimed = None if self._claim is None else self._claim.covered_output(self._input)
        if paid is None or claimed is None:
            return claimed if paid is None else paid
        return min(paid, claimed)

    @property
    def standing(self) -> Allow | None:
        """What is left of the limits at this moment, if there are any."""
        return None if self._claim is None else self._claim.standing()

    async def covers(self, output_tokens: int) -> bool:
        """Whether the answer may go on after ``output_tokens``. Rolls the hold on as needed.

        Extends in the background while there is still room, so that the stream has no gap; waits
        for the extension only when the room is used up. What was denied is asked for again only
        then.
        """
        while True:
            covered = self.covered_output
            if covered is None or output_tokens < self.sure_output:
                return True
            if self.limit is not None and covered >= self.limit:
                return True
            if self._extension is None:
                if self._is_denied and output_tokens < covered:
                    return True
                self._extension = asyncio.create_task(self._extend(output_tokens, covered))
            if output_tokens < covered:
                if self._extension.done():
                    self._take_extension()
                return True
            # What is under way was asked for when the answer was not as long: it may not be enough.
            await asyncio.wait({self._extension})
            self._take_extension()
            if self._is_denied:
                return False

    async def post(
        self,
        count: Count,
        ending: Ending,
        *,
        target: str,
        ended_ms: int,
        finish_reason: str | None,
        reasoning_effort: str | None,
        repeated_tokens: int | None = None,
        recording: RecordingEnd | None = None,
    ) -> Receipt:
        """Charge exactly what was counted and end the hold. Durable when this returns.

        ``repeated_tokens`` are those of an answer that was not generated but came from the cache:
        they have their own price, and ``count`` is of nothing.
        """
        await self._settle_extension()
        amount = (
            charge_for(self.card, count.usage)
            if repeated_tokens is None
            else charge_for_repeated(self.card, repeated_tokens)
        )
        charge = Charge(
            hold_id=self.hold_id,
            amount=amount,
            count=count,
            ending=ending,
            target=target,
            ended_ms=ended_ms,
            finish_reason=finish_reason,
            reasoning_effort=reasoning_effort,
            repeated_tokens=repeated_tokens or 0,
            recording=recording,
        )
        tokens = count.usage.total_tokens
        self._charged = tokens, charge.amount
        if self._claim is not None:
            self._claim.begin_posting()
        try:
            receipt = await self._ledger.post(charge)
        except HoldAlreadyEnded:
            self._end_claim(tokens, charge.amount)
            raise
        self._end_claim(tokens, receipt.amount)
        return receipt

    async def void(self) -> None:
        """End the hold without a charge, and its durable recording with it."""
        await self._settle_extension()
        try:
            await self._ledger.void(self.hold_id, self._recording_id)
        except HoldAlreadyEnded:
            # A charge whose answer was lost has ended it; or it ended as nothing.
            self._end_claim(*(self._charged or (0, 0)))
            raise
        self._end_claim(0, 0)

    def abandon(self) -> None:
        """The hold is ended by others. Where a charge was tried, what came of it is seen then."""
        if self._charged is None:
            self._end_claim(0, 0)

    def _end_claim(self, tokens: int, amount: int) -> None:
        if self._claim is None:
            return
        if tokens or amount:
            self._claim.settle(tokens, amount)
        else:
            self._claim.release()

    async def _extend(self, produced: int, covered: int) -> bool:
        """Reach ahead of what is produced and covered, by one token at least. Whether it does now.

        First as far as the limits let it, then as the wallet does. Counted from what is held, so
        that a prompt larger than its bound is made up for too.
        """
        reached = max(produced, covered)
        furthest = reached + ROLL_TOKENS * self.choices
        if self.limit is not None:
            furthest = max(reached + 1, min(furthest, self.limit))
        if self._claim is not None:
            self._claim.progress(produced + (self._input if self._knows_input else 0))
            furthest = self._claim.grow(self._input, furthest, reached + 1)
            if furthest == 0:
                self.is_limited = True
                return False
        least = ceiling_for(self.card, self._input, reached + 1) - self._held
        want = ceiling_for(self.card, self._input, furthest) - self._held
        if want <= 0:
            return True
        granted = await self._ledger.extend(self.hold_id, want, max(least, 1))
        self._held += granted
        self.is_limited = False
        return granted > 0 or least <= 0

    def _take_extension(self) -> None:
        extension, self._extension = self._extension, None
        assert extension is not None, "only what was asked for can be taken"
        self._is_denied = not extension.result()
        self._set_sure_output()

    async def _settle_extension(self) -> None:
        """An extension under way has to end before the hold does; whether it failed is all one."""
        if self._extension is not None:
            await asyncio.wait({self._extension})
            self._extension.exception()
            self._extension = None
