"""The port ``Ledger`` in memory, by its contract, and able to fail or to wait when told to.

``failing["post"] = [fault, ...]`` raises those, one a call, before anything has happened, and
``losing["place"] = [fault, ...]`` after it has: the answer is lost;
``held_up("post")`` gives a ``Gate`` that every further call of that method passes before it does
anything. ``log`` has every write that took effect, in order. ``recordings`` are those that were
opened with its holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace
from tests.support.gates import Gate
from tests.support.recordings_in_memory import RecordingsInMemory

from bandari.domain.estimate import Experience
from bandari.domain.ledger import (
    Charge,
    Hold,
    Receipt,
    RunningCount,
    Verification,
    Wallet,
)
from bandari.domain.pricing import RateCard
from bandari.service.ports import HoldAlreadyEnded, Placement


class BooksInMemory:
    def __init__(self, *cards: RateCard) -> None:
        self.cards = {card.id: card for card in cards}
        self.wallets: dict[tuple[int, str, str], Wallet] = {}
        self.holds: dict[str, Hold] = {}
        self.receipts: dict[str, Receipt] = {}
        self.voided: list[str] = []
        self.log: list[tuple[str, str, int]] = []
        self.failing: dict[str, list[BaseException]] = defaultdict(list)
        self.losing: dict[str, list[BaseException]] = defaultdict(list)
        self.before_place: Callable[[Hold], None] | None = None
        self._gates: dict[str, Gate] = {}
        self._epochs: dict[int, bool] = {}
        self.recordings = RecordingsInMemory(self.holds, self.receipts)

    # What a test arranges and looks at.

    def credit(self, account_id: int, asset: str, amount: int, end_user: str = "") -> None:
        key, number = (account_id, asset, end_user), len(self.wallets) + 1
        wallet = self.wallets.get(key) or Wallet(number, account_id, asset, 0, 0, end_user)
        self.wallets[key] = replace(wallet, balance=wallet.balance + amount)
        assert self.wallets[key].free >= 0, "a test may not take what is held"

    def wallet(self, account_id: int = 1, asset: str = "TOKEN", end_user: str = "") -> Wallet:
        return self.wallets[account_id, asset, end_user]

    def held_up(self, method: str) -> Gate:
        self._gates[method] = Gate()
        return self._gates[method]

    def no_longer_held_up(self, method: str) -> None:
        self._gates.pop(method).open()

    def epoch_died(self, epoch: int) -> None:
        self._epochs[epoch] = False

    def writes(self, name: str) -> list[int]:
        """The amounts of the writes of that name."""
        return [amount for what, _, amount in self.log if what == name]

    # The port.

    async def open_epoch(self, now_ms: int) -> int:
        await self._before("open_epoch")
        epoch = len(self._epochs) + 1
        self._epochs[epoch] = True
        return epoch

    async def close_epoch(self, epoch: int, now_ms: int) -> None:
        await self._before("close_epoch")
        self._epochs[epoch] = False

    async def dead_holds(self, limit: int) -> Sequence[tuple[Hold, RateCard]]:
        await self._before("dead_holds")
        dead = [hold for hold in self.holds.values() if not self._epochs.get(hold.epoch, True)]
        return [
            (hold, replace(self.cards[hold.rate_card_id], ratio=hold.price_ratio))
            for hold in dead[:limit]
        ]

    async def place(self, hold: Hold) -> Placement:
        await self._before("place")
        if self.before_place is not None:
            self.before_place(hold)
        placement = self._place(hold)
        if placement.placed and self.losing["place"]:
            raise self.losing["place"].pop(0)
        return placement

    async def charge(self, hold: Hold, charge: Charge) -> Receipt | Placement:
        await self._before("charge")
        assert (hold.id, hold.amount) == (charge.hold_id, charge.amount)
        if hold.id in self.receipts:
            raise HoldAlreadyEnded(hold.id)
        placement = self._place(hold, "charge")
        outcome = self._post(charge) if placement.placed else placement
        if self.losing["charge"]:
            raise self.losing["charge"].pop(0)
        return outcome

    async def extend(self, hold_id: str, amount: int, least: int) -> int:
        await self._before("extend")
        assert 0 <= least <= amount
        hold = self.holds.get(hold_id)
        if hold is None:
            return 0
        granted = min(amount, self.wallets[_payer(hold)].free)
        if granted < least or granted == 0:
            return 0
        self._reserve(hold, granted)
        self.holds[hold_id] = replace(hold, amount=hold.amount + granted)
        self.log.append(("extend", hold_id, granted))
        return granted

    async def count(self, counts: Sequence[RunningCount]) -> None:
        await self._before("count")
        for count in counts:
            hold = self.holds.get(count.hold_id)
            if hold is not None:
                self.holds[count.hold_id] = replace(hold, counted=count.count)
                self.log.append(("count", count.hold_id, count.count.usage.output_tokens))
            if count.frames is not None:
                self.recordings.grow(count.frames)

    async def post(self, charge: Charge) -> Receipt:
        await self._before("post")
        receipt = self._post(charge)
        self.log.append(("post", charge.hold_id, charge.amount))
        return receipt

    async def void(self, hold_id: str, recording_id: str | None = None) -> None:
        await self._before("void")
        hold = self._end(hold_id)
        if recording_id is not None:
            self.recordings.remove(recording_id)
        self.voided.append(hold_id)
        self.log.append(("void", hold_id, hold.amount))

    async def experience(self) -> Mapping[str, Experience]:
        return {}

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt | None:
        return self.receipts.get(receipt_id)

    async def open_holds(self) -> int:
        await self._before("open_holds")
        return len(self.holds)

    async def verify(self, on_progress: Callable[[int, int], None] | None = None) -> Verification:
        return Verification(
            wallets=len(self.wallets),
            transactions=len(self.receipts),
            postings=2 * len(self.receipts),
            open_holds=len(self.holds),
            receipts=len(self.receipts),
            differences=(),
        )

    async def _before(self, method: str) -> None:
        gate = self._gates.get(method)
        if gate is not None:
            await gate.passing()
        if self.failing[method]:
            raise self.failing[method].pop(0)

    def _place(self, hold: Hold, name: str = "place") -> Placement:
        if hold.recording is not None and not self.recordings.open(hold):
            return Placement(False, None, is_taken=True)
        wallet = self.wallets.get(_payer(hold))
        if wallet is None or wallet.free < hold.amount:
            if hold.recording is not None:
                self.recordings.remove(hold.recording.id)
            return Placement(False, wallet)
        assert hold.id not in self.holds, "a hold's id is used once"
        self.holds[hold.id] = hold
        self.log.append((name, hold.id, hold.amount))
        return Placement(True, self._reserve(hold, hold.amount))

    def _post(self, charge: Charge) -> Receipt:
        hold = self._end(charge.hold_id)
        wallet = self.wallets[_payer(hold)]
        taken = min(charge.amount, wallet.free)
        wallet = replace(wallet, balance=wallet.balance - taken)
        self.wallets[_payer(hold)] = wallet
        card = self.cards.get(hold.rate_card_id)
        receipt = Receipt(
            id=hold.id,
            account=f"account {hold.account_id}",
            key_id=hold.key_id,
            model=hold.model,
            target=charge.target,
            asset=hold.asset,
            amount=taken,
            overrun=charge.amount - taken,
            balance_after=wallet.balance,
            rate_card_version=1 if card is None else card.version,
            usage=charge.count.usage,
            rule=charge.count.rule,
            basis=charge.count.basis,
            ending=charge.ending,
            created_ms=hold.created_ms,
            ended_ms=charge.ended_ms,
            end_user=hold.end_user,
            finish_reason=charge.finish_reason,
            reasoning_effort=charge.reasoning_effort,
            price_ratio=hold.price_ratio,
            repeated_tokens=charge.repeated_tokens,
        )
        self.receipts[hold.id] = receipt
        if charge.recording is not None:
            self.recordings.end(charge.recording)
        return receipt

    def _reserve(self, hold: Hold, amount: int) -> Wallet:
        wallet = self.wallets[_payer(hold)]
        wallet = replace(wallet, held=wallet.held + amount)
        assert wallet.free >= 0, "balance - held >= 0, always"
        self.wallets[_payer(hold)] = wallet
        return wallet

    def _end(self, hold_id: str) -> Hold:
        hold = self.holds.pop(hold_id, None)
        if hold is None:
            raise HoldAlreadyEnded(hold_id)
        self._reserve(hold, -hold.amount)
        return hold


def _payer(hold: Hold) -> tuple[int, str, str]:
    """The wallet that pays, as ``wallets`` has it."""
    return hold.account_id, hold.asset, hold.sub_wallet
