"""The rules of the audit. No I/O: the books of one moment are handed in, differences come out.

First the wallets, then the open holds, then the transactions in the order of their numbers with
their postings and receipts; one pass is enough, and what it remembers grows with the wallets only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from bandari.domain.ledger import Difference, Line, TransactionKind, Verification

MAX_DIFFERENCES = 1_000

_CHARGE = TransactionKind.CHARGE.value
_OVERRUNS = Line.OVERRUNS.value

PostingRow = tuple[int, str, int, int | None, str | None]
"""Transaction, asset, amount, wallet, line."""
ReceiptRow = tuple[int, str, int, int, int, int]
"""Transaction, id, wallet, amount, overrun, balance after."""


class Audit:
    """Each method takes in rows; ``close`` says what was found."""

    def __init__(self) -> None:
        self._differences: list[Difference] = []
        self._wallets: dict[int, tuple[str, int, int]] = {}
        self._promised: defaultdict[int, int] = defaultdict(int)
        # The sum of each wallet's postings so far: all known wallets, and whatever else is named.
        self._posted: dict[int, int] = {}
        self._holds = self._transactions = self._postings = self._receipts = 0

    def wallet(self, wallet_id: int, asset: str, balance: int, held: int) -> None:
        self._wallets[wallet_id] = (asset, balance, held)
        self._posted[wallet_id] = 0
        if balance < held:
            self._note(f"wallet {wallet_id}: free, which is never negative", balance - held, 0)

    def hold(self, hold_id: str, wallet_id: int, amount: int, receipt_id: str | None) -> None:
        """``receipt_id``: the id of this hold's receipt, which an open hold must not have."""
        self._holds += 1
        self._promised[wallet_id] += amount
        if wallet_id not in self._wallets:
            self._note(f"hold {hold_id}: wallet", wallet_id, 0)
        if receipt_id is not None:
            self._note(f"hold {hold_id}: open, although it has a receipt", 1, 0)

    def transactions(
        self,
        kinds: Iterable[tuple[int, str]],
        postings: Iterable[PostingRow],
        receipts: Iterable[ReceiptRow],
    ) -> None:
        """All that belongs to some transactions, each (number, kind), after all earlier ones.

        Postings and receipts of transactions that do not exist belong here by their numbers.
        """
        kind_of = dict(kinds)
        posted: defaultdict[int, list[PostingRow]] = defaultdict(list)
        for posting in postings:
            posted[posting[0]].append(posting)
        billed: defaultdict[int, list[ReceiptRow]] = defaultdict(list)
        for receipt in receipts:
            billed[receipt[0]].append(receipt)
        self._transactions += len(kind_of)
        for number in sorted({*kind_of, *posted, *billed}):
            self._transaction(
                number, kind_of.get(number), posted.get(number, ()), billed.get(number, ())
            )

    def close(self) -> Verification:
        for wallet_id, (_, balance, held) in self._wallets.items():
            if balance != self._posted[wallet_id]:
                self._note(f"wallet {wallet_id}: balance", balance, self._posted[wallet_id])
            promised = self._promised.get(wallet_id, 0)
            if held != promised:
                self._note(f"wallet {wallet_id}: held", held, promised)
        return Verification(
            len(self._wallets),
            self._transactions,
            self._postings,
            self._holds,
            self._receipts,
            tuple(self._differences),
        )

    def _transaction(
        self,
        number: int,
        kind: str | None,
        postings: Sequence[PostingRow],
        receipts: Sequence[ReceiptRow],
    ) -> None:
        sums: dict[str, int] = {}
        taken: dict[int, int] = {}
        overrun = 0
        self._postings += len(postings)
        for _, asset, amount, wallet_id, line in postings:
            sums[asset] = sums.get(asset, 0) + amount
            if line == _OVERRUNS:
                overrun -= amount
            if wallet_id is not None:
                taken[wallet_id] = taken.get(wallet_id, 0) - amount
                self._posted[wallet_id] = self._posted.get(wallet_id, 0) + amount
                wallet = self._wallets.get(wallet_id)
                if wallet is None or wallet[0] != asset:
                    name = f"a posting of transaction {number}: wallet with its asset"
                    self._note(name, wallet_id, 0)
            if kind is None:
                self._note(f"a posting of transaction {number}: transaction", number, 0)
        for total in sums.values():
            if total:
                self._note(f"transaction {number}: sum of its postings", 0, total)
        if kind == _CHARGE and len(receipts) != 1:
            self._note(f"transaction {number}: receipts of a charge", len(receipts), 1)
        for receipt in receipts:
            self._receipts += 1
            self._receipt(receipt, kind, taken.get(receipt[2], 0), overrun)

    def _receipt(self, receipt: ReceiptRow, kind: str | None, taken: int, overran: int) -> None:
        number, receipt_id, wallet_id, amount, overrun, balance_after = receipt
        if kind != _CHARGE:
            self._note(f"receipt {receipt_id}: transaction of its charge", number, 0)
        if amount != taken:
            self._note(f"receipt {receipt_id}: amount", amount, taken)
        if overrun != overran:
            self._note(f"receipt {receipt_id}: overrun", overrun, overran)
        # A wallet that is not there and has no postings: its receipt's amount said so.
        balance = self._posted.get(wallet_id, balance_after)
        if balance_after != balance:
            self._note(f"receipt {receipt_id}: balance after", balance_after, balance)

    def _note(self, subject: str, stored: int, derived: int) -> None:
        if len(self._differences) < MAX_DIFFERENCES:
            self._differences.append(Difference(subject, stored, derived))
