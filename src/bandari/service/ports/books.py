"""The ledger: holds, charges and receipts; and the rate cards that price them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from bandari.domain.estimate import Experience
from bandari.domain.ledger import Charge, Hold, Receipt, RunningCount, Verification, Wallet
from bandari.domain.pricing import RateCard


class Placement(Struct, frozen=True):
    """The answer to a hold: whether it stands, and the wallet right after (or as it refused).

    ``wallet`` is None when the account has no wallet in that asset. ``is_taken``: another recording
    has the Idempotency-Key of the one that was to be opened with the hold; nothing was done then.
    """

    placed: bool
    wallet: Wallet | None
    is_taken: bool = False


class Ledger(Protocol):
    """The books. A method that writes returns only once its effect is durable."""

    async def open_epoch(self, now_ms: int) -> int:
        """Register this server as alive and return its epoch."""
        ...

    async def close_epoch(self, epoch: int, now_ms: int) -> None:
        """Say that this server has ended in order. Its holds are all ended by then."""
        ...

    async def dead_holds(self, limit: int) -> Sequence[tuple[Hold, RateCard]]:
        """Open holds of epochs whose server is no longer alive, with their pinned cards."""
        ...

    async def place(self, hold: Hold) -> Placement:
        """Set the hold's amount aside if the wallet has as much free; never below zero.

        Its durable recording, if it has one, is opened in the same transaction; no hold without the
        recording, and no recording without the hold.
        """
        ...

    async def charge(self, hold: Hold, charge: Charge) -> Receipt | Placement:
        """Place a hold and post its charge in one transaction; the placement if it is refused.

        The hold is for as much as the charge, and of the same id. Raises ``HoldAlreadyEnded`` where
        it was charged before.
        """
        ...

    async def extend(self, hold_id: str, amount: int, least: int) -> int:
        """Add up to ``amount`` to an open hold, as much as is free but not less than ``least``.

        Returns what was added, 0 when less than ``least`` is free.
        """
        ...

    async def count(self, counts: Sequence[RunningCount]) -> None:
        """Remember how far running answers have come, and keep the frames that come with it.

        Counts of holds already ended are ignored, and so are frames of recordings that are not
        there any more, or have ended.
        """
        ...

    async def post(self, charge: Charge) -> Receipt:
        """End a hold with its exact charge, and return the receipt.

        What the charge exceeds the hold by is taken from what is free; the rest is booked to
        overruns. Its durable recording, if it has one, ends in the same transaction. Raises
        ``HoldAlreadyEnded`` when the hold was posted or voided before.
        """
        ...

    async def void(self, hold_id: str, recording_id: str | None = None) -> None:
        """End a hold without a charge, and delete its durable recording in the same transaction.

        Raises ``HoldAlreadyEnded`` when it had ended before; then the recording stays as it is.
        """
        ...

    async def experience(self) -> Mapping[str, Experience]:
        """What the latest receipts show of the targets' tokenizers, by target."""
        ...

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        """The receipt of that id; with ``account_id``, only if it is that account's."""
        ...

    async def open_holds(self) -> int:
        """How many holds are open, in all epochs."""
        ...

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        """Re-derive every balance, hold and receipt from the postings, as they are at one moment.

        ``on_progress`` is called with (transactions done, transactions in all).
        """
        ...


class HoldAlreadyEnded(Exception):
    """The hold was posted, voided or expired before."""


class RateCards(Protocol):
    async def pin(self, cards: Sequence[RateCard]) -> Sequence[RateCard]:
        """The same cards with their ids and versions; changed prices make a new version."""
        ...
