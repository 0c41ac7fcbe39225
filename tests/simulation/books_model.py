"""The books as they should be: plain numbers, told of every write that committed.

Rule 1: nothing here looks at the database. What a write returned comes in, and must be what the
rules of ``docs/billing.md`` and of the ``Ledger`` port say.
Rule 2: prices and rounding are done again here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace
from tests.simulation.trace import Violation

from bandari.domain.ledger import Charge, Count, Hold, Receipt, RunningCount, Wallet
from bandari.domain.pricing import PriceRatio, RateCard
from bandari.domain.usage import Usage
from bandari.service.ports import Placement


@dataclass(slots=True)
class Purse:
    """A wallet."""

    id: int
    account_id: int
    asset: str
    end_user: str = ""
    balance: int = 0
    held: int = 0

    @property
    def free(self) -> int:
        return self.balance - self.held

    def as_wallet(self) -> Wallet:
        return Wallet(self.id, self.account_id, self.asset, self.balance, self.held, self.end_user)


@dataclass(slots=True)
class OpenHold:
    hold: Hold
    purse: Purse
    amount: int
    counted: Count | None = None


@dataclass(slots=True)
class Ended:
    """How a hold ended: with a receipt or without one, and by which process.

    ``is_known`` is whether that process was told.
    """

    hold: Hold
    card: RateCard
    at: float
    last_count: Count | None
    receipt: Receipt | None
    by: str = ""
    is_known: bool = False

    def price(self, usage: Usage) -> int:
        return price(self.card, self.hold.price_ratio, usage)


@dataclass(slots=True)
class BooksModel:
    cards: dict[int, RateCard] = field(default_factory=dict)
    purses: dict[tuple[int, str, str], Purse] = field(default_factory=dict)
    """By account, asset, and whose sub-wallet it is; empty for the account's own."""
    holds: dict[str, OpenHold] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    transactions: int = 0
    touched: dict[str, None] = field(default_factory=dict)
    """Holds that the last commits changed; whoever compares them clears it."""

    # One method for each write of the port: what it returned, and what it was given.

    def placed(self, result: Placement, hold: Hold) -> None:
        purse = self.purses.get((hold.account_id, hold.asset, hold.sub_wallet))
        if result.is_taken:
            expect(result == Placement(False, None, True), "no hold: its key is taken", result)
            expect(_has_key(hold), "a key that is taken", hold)
            return
        if purse is None:
            expect(result == Placement(False, None), "a hold without a wallet", result)
            return
        if purse.free < hold.amount:
            expect(
                result == Placement(False, purse.as_wallet()), "a hold beyond the wallet", result
            )
            return
        expect(hold.id not in self.holds and hold.id not in self.ended, "an id used twice", hold.id)
        purse.held += hold.amount
        self.holds[hold.id] = OpenHold(hold, purse, hold.amount)
        self.touched[hold.id] = None
        expect(result == Placement(True, purse.as_wallet()), "a hold that was placed", result)

    def extended(self, granted: int, hold_id: str, amount: int, least: int) -> None:
        own = self.holds.get(hold_id)
        right = 0
        if own is not None:
            possible = min(amount, own.purse.free)
            right = possible if possible >= least else 0
            own.purse.held += right
            own.amount += right
            self.touched[hold_id] = None
        expect(granted == right, f"an extension of {hold_id} by {right}", granted)

    def counted(self, _: None, counts: Sequence[RunningCount]) -> None:
        for count in counts:
            own = self.holds.get(count.hold_id)
            if own is not None:
                own.counted = count.count
                self.touched[count.hold_id] = None

    def posted(self, receipt: Receipt | None, charge: Charge, at: float) -> Ended | None:
        own = self.holds.pop(charge.hold_id, None)
        if own is None:
            expect(receipt is None, f"no second end of {charge.hold_id}", receipt)
            return None
        if receipt is None:
            raise Violation(f"the open hold {charge.hold_id} was not found")
        purse = own.purse
        cost = self._cost(own.hold, charge)
        purse.held -= own.amount
        taken = min(cost, purse.free)
        purse.balance -= taken
        self._expect_receipt(own, charge, receipt, cost, taken)
        return self._end(own, at, receipt)

    def charged(
        self, result: Receipt | Placement | None, hold: Hold, charge: Charge, at: float
    ) -> Ended | None:
        """A hold that was placed and posted in one."""
        purse = self.purses.get((hold.account_id, hold.asset, hold.sub_wallet))
        if hold.id in self.ended:
            expect(result is None, f"no second charge of {hold.id}", result)
            return None
        cost = self._cost(hold, charge)
        if isinstance(result, Placement) and result.is_taken:
            expect(_has_key(hold), "a key that is taken", hold)
            return None
        if purse is None or purse.free < cost:
            wallet = None if purse is None else purse.as_wallet()
            expect(result == Placement(False, wallet), "a charge beyond the wallet", result)
            return None
        if not isinstance(result, Receipt):
            raise Violation(f"the wallet covers {charge}, and it was not charged: {result}")
        own = OpenHold(hold, purse, cost)
        purse.balance -= cost
        self._expect_receipt(own, charge, result, cost, cost)
        return self._end(own, at, result)

    def _cost(self, hold: Hold, charge: Charge) -> int:
        card, ratio = self.cards[hold.rate_card_id], hold.price_ratio
        cost = price(card, ratio, charge.count.usage)
        if charge.repeated_tokens:
            expect(charge.count.usage == Usage(), "nothing generated where it is repeated", charge)
            cost = rounded(charge.repeated_tokens * card.cache_hit_per_million, ratio)
        expect(charge.amount == cost, f"the price {cost} of {charge.hold_id}", charge)
        return cost

    def _expect_receipt(
        self, own: OpenHold, charge: Charge, receipt: Receipt, cost: int, taken: int
    ) -> None:
        self.transactions += 1
        card, count = self.cards[own.hold.rate_card_id], charge.count
        right = (
            *(own.hold.id, own.hold.key_id, own.hold.model, own.hold.asset),
            *(taken, cost - taken, own.purse.balance, card.version),
            *(count.usage, count.rule, count.basis),
            *(charge.ending, charge.target, own.hold.created_ms, charge.ended_ms),
            *(own.hold.end_user, own.hold.price_ratio, charge.repeated_tokens),
        )
        told = (
            *(receipt.id, receipt.key_id, receipt.model, receipt.asset),
            *(receipt.amount, receipt.overrun, receipt.balance_after, receipt.rate_card_version),
            *(receipt.usage, receipt.rule, receipt.basis, receipt.ending, receipt.target),
            *(receipt.created_ms, receipt.ended_ms, receipt.end_user, receipt.price_ratio),
            receipt.repeated_tokens,
        )
        expect(told == right, f"the receipt {right}", told)

    def voided(self, was_open: bool, hold_id: str, at: float) -> Ended | None:
        own = self.holds.pop(hold_id, None)
        expect(was_open == (own is not None), f"void of {hold_id}: {own is not None}", was_open)
        if own is None:
            return None
        own.purse.held -= own.amount
        return self._end(own, at, None)

    def transferred(
        self, result: Wallet | None, account_id: int, asset: str, amount: int, end_user: str
    ) -> None:
        purse = self.purses.get((account_id, asset, end_user))
        if purse is None and amount > 0 and result is not None:
            purse = self._new_purse(result.id, account_id, asset, end_user)
        if purse is None or purse.free + amount < 0:
            expect(result is None, "nothing taken out of an empty wallet", result)
            return
        purse.balance += amount
        self.transactions += 1
        expect(result == purse.as_wallet(), f"a transfer of {amount}", result)

    def moved(
        self,
        result: tuple[Wallet, Wallet] | None,
        account_id: int,
        end_user: str,
        asset: str,
        amount: int,
    ) -> None:
        """From the account's own wallet to its end user's, or back where it is negative."""
        names = ("", end_user)
        purses = [self.purses.get((account_id, asset, name)) for name in names]
        giver = purses[0 if amount > 0 else 1]
        if giver is None or giver.free < abs(amount):
            expect(result is None, "nothing moved out of an empty wallet", result)
            return
        if result is None:
            raise Violation(f"{giver} has as much free, and nothing was moved")
        own, his = (
            purse or self._new_purse(wallet.id, account_id, asset, name)
            for purse, wallet, name in zip(purses, result, names, strict=True)
        )
        own.balance -= amount
        his.balance += amount
        self.transactions += 1
        expect(result == (own.as_wallet(), his.as_wallet()), f"{amount} moved", result)

    def _new_purse(self, wallet_id: int, account_id: int, asset: str, end_user: str) -> Purse:
        purse = Purse(wallet_id, account_id, asset, end_user)
        self.purses[account_id, asset, end_user] = purse
        return purse

    def _end(self, own: OpenHold, at: float, receipt: Receipt | None) -> Ended:
        hold = own.hold
        expect(hold.id not in self.ended, "one end of every hold", hold.id)
        ended = Ended(hold, self.cards[hold.rate_card_id], at, own.counted, receipt)
        self.ended[hold.id] = ended
        self.touched[hold.id] = None
        return ended


def expect(holds: bool, what: str, found: object) -> None:
    if not holds:
        raise Violation(f"expected {what}, found {found}")


def price(card: RateCard, ratio: PriceRatio, usage: Usage) -> int:
    """What the usage costs by ``docs/billing.md``, rounded once, a half up."""
    fresh = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
    by_kind = (
        (fresh, card.input_per_million),
        (usage.cached_tokens, card.cached_input_per_million),
        (usage.cache_write_tokens, card.cache_write_per_million),
        (usage.output_tokens, card.output_per_million),
    )
    millionths = sum(tokens * per_million for tokens, per_million in by_kind)
    return rounded(millionths + card.per_request * 1_000_000, ratio)


def rounded(millionths: int, ratio: PriceRatio) -> int:
    """By the ratio, a half up."""
    part = 1_000_000 * ratio.denominator
    units, rest = divmod(millionths * ratio.numerator, part)
    return units + (2 * rest >= part)


def _has_key(hold: Hold) -> bool:
    return hold.recording is not None and hold.recording.idempotency_key is not None


def dead_hold_is_right(
    model: BooksModel, hold: Hold, card: RateCard, alive: Mapping[int, object]
) -> None:
    """A hold that was handed out to be settled for a dead server."""
    own = model.holds.get(hold.id)
    if own is None:
        raise Violation(f"the dead hold {hold.id} is not open")
    expect(hold.epoch not in alive, f"no living server's hold {hold.id}", hold.epoch)
    right = replace(model.cards[own.hold.rate_card_id], ratio=own.hold.price_ratio)
    expect(card == right, f"the card {right} of {hold.id}", card)
    expect(hold.amount == own.amount, f"the amount {own.amount} of {hold.id}", hold.amount)
    expect(hold.counted == own.counted, f"the count {own.counted} of {hold.id}", hold.counted)
