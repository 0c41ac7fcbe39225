"""The books: chart of accounts, postings, holds, charges and receipts.

Double entry. Every transaction's postings sum to zero per asset; a wallet's balance is the sum of
its postings; what is held is the sum of its open holds; ``balance - held >= 0`` always. Amounts are
integers in the asset's smallest unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from bandari.domain.estimate import Basis
from bandari.domain.pricing import FULL_PRICE, PriceRatio
from bandari.domain.recordings import FrameGroup, OpenedRecording, RecordingEnd
from bandari.domain.usage import CountRule, Usage

MAX_AMOUNT = 2**53 - 1
"""The largest amount of one posting, so that every client can read it as a JSON number."""


class Line(StrEnum):
    """The lines of the chart of accounts that are not wallets."""

    REVENUE = "revenue"
    CASH = "cash"
    PROMOTIONS = "promotions"
    SUSPENSE = "suspense"
    REFUNDS = "refunds"
    OVERRUNS = "overruns"
    RECEIVABLE = "receivable"


class TransactionKind(StrEnum):
    CHARGE = "charge"
    CREDIT = "credit"
    ADJUSTMENT = "adjustment"
    TRANSFER = "transfer"
    """Between two wallets of one account."""


class Ending(StrEnum):
    """How an answer ended, as the receipt says it."""

    COMPLETED = "completed"
    CLIENT_LEFT = "client_left"
    CANCELLED = "cancelled"
    UPSTREAM_FAILED = "upstream_failed"
    OUT_OF_BALANCE = "out_of_balance"
    LIMIT_REACHED = "limit_reached"
    TOO_LARGE = "too_large"
    SERVER_STOPPED = "server_stopped"
    SERVER_DIED = "server_died"


class Posting(Struct, frozen=True):
    """One side of a transaction: ``amount`` is added to a wallet (by id) or to a line of the
    chart.
    """

    asset: str
    amount: int
    wallet_id: int | None = None
    line: Line | None = None

    def __post_init__(self) -> None:
        if (self.wallet_id is None) == (self.line is None):
            raise ValueError("a posting goes to a wallet or to a line of the chart, not to both")
        if abs(self.amount) > MAX_AMOUNT:
            raise ValueError("a posting's amount is at most 2^53 - 1")


def is_balanced(postings: Iterable[Posting]) -> bool:
    """Whether the postings sum to zero in every asset."""
    sums: dict[str, int] = {}
    for posting in postings:
        sums[posting.asset] = sums.get(posting.asset, 0) + posting.amount
    return not any(sums.values())


class Wallet(Struct, frozen=True):
    """An account's balance in one asset; ``held`` of it is promised to answers that are running.

    ``end_user`` is empty for the account's own, and names whose sub-wallet it is.
    """

    id: int
    account_id: int
    asset: str
    balance: int
    held: int
    end_user: str = ""

    @property
    def free(self) -> int:
        return self.balance - self.held


class Count(Struct, frozen=True):
    """The tokens of one answer, how they were counted, and what an estimate has to go by.

    ``basis`` is kept whatever the rule is: an estimate can be done again from it, and a report is
    what later estimates learn from. None in books that were written before it was kept.
    """

    usage: Usage
    rule: CountRule
    basis: Basis | None = None


class Hold(Struct, frozen=True):
    """A durable promise of ``amount`` from the account's wallet in ``asset`` to one answer.

    It ends exactly once: posted, voided or (in a dead server's epoch) expired.

    ``id`` becomes the receipt's id. ``rate_card_id`` and ``price_ratio`` pin the price. The running
    count is what a later server charges when this one dies. ``sub_wallet`` names the end user whose
    wallet pays; empty: the account's own. ``recording`` is opened with it, where it is durable.
    """

    id: str
    account_id: int
    asset: str
    amount: int
    epoch: int
    key_id: int
    model: str
    rate_card_id: int
    created_ms: int
    end_user: str | None = None
    counted: Count | None = None
    sub_wallet: str = ""
    price_ratio: PriceRatio = FULL_PRICE
    recording: OpenedRecording | None = None


class Charge(Struct, frozen=True):
    """What an ended answer costs; what ``amount`` exceeds the hold by may go to overruns.

    ``repeated_tokens`` are those of an answer that was not generated but repeated from the cache:
    its ``count`` is of nothing. ``recording`` ends with it, where it is durable.
    """

    hold_id: str
    amount: int
    count: Count
    ending: Ending
    target: str
    ended_ms: int
    finish_reason: str | None = None
    reasoning_effort: str | None = None
    repeated_tokens: int = 0
    recording: RecordingEnd | None = None


class Receipt(Struct, frozen=True):
    """What was charged for one answer, and why. ``amount`` is what left the wallet.

    ``overrun`` is what the answer cost beyond that, borne by the operator. ``balance_after`` is the
    wallet's balance right after the charge, in the asset's smallest unit. ``repeated_tokens`` are
    those of an answer that was repeated from the cache; then ``usage`` is nothing.
    """

    id: str
    account: str
    key_id: int
    model: str
    target: str
    asset: str
    amount: int
    overrun: int
    balance_after: int
    rate_card_version: int
    usage: Usage
    rule: CountRule
    basis: Basis | None
    ending: Ending
    created_ms: int
    ended_ms: int
    end_user: str | None = None
    finish_reason: str | None = None
    reasoning_effort: str | None = None
    price_ratio: PriceRatio = FULL_PRICE
    repeated_tokens: int = 0


class RunningCount(Struct, frozen=True):
    """How far an answer has come; made durable in groups while it runs, with its frames if they
    are.
    """

    hold_id: str
    count: Count
    frames: FrameGroup | None = None


class Difference(Struct, frozen=True):
    """One finding of ``ledger verify``: what the books say, and what the postings say."""

    subject: str
    stored: int
    derived: int


class Verification(Struct, frozen=True):
    """What ``ledger verify`` looked at, and every difference it found (the first 1,000)."""

    wallets: int
    transactions: int
    postings: int
    open_holds: int
    receipts: int
    differences: tuple[Difference, ...]

    @property
    def is_clean(self) -> bool:
        return not self.differences
