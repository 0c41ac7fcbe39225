"""Random traffic, and what it adds up to, computed from the receipts alone."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tests.contract.storage.books import BY, a_count

from bandari.adapters.storage import Store
from bandari.domain.accounts import Account
from bandari.domain.allowance import Subject
from bandari.domain.keys import ApiKey
from bandari.domain.ledger import Charge, Ending, Hold, Line, Receipt, TransactionKind
from bandari.domain.pricing import TOKEN, RateCard, token_card
from bandari.domain.reports import HOUR_MS, Dimension, Selection, Spent, UsageRow
from bandari.domain.usage import Usage

ASSETS = (TOKEN, "KES")
MODELS = ("m", "n/large", "o")
END_USERS = (None, "ann", "bob", "=cmd", "Zoë")
GROUPS = ("default", "gold")
BEGIN_MS = 1_767_218_400_000
"""Two hours before the end of 2025, so that days, months and the year change."""


@dataclass
class Traffic:
    """Customers who are served at random, at times that go on and now and then back."""

    random: random.Random
    accounts: list[Account] = field(default_factory=list)
    keys: list[ApiKey] = field(default_factory=list)
    cards: list[RateCard] = field(default_factory=list)
    charged: list[tuple[int, Receipt]] = field(default_factory=list)
    """Each with the id of its account."""
    epoch: int = 0
    served: int = 0

    async def open(self, store: Store) -> None:
        self.epoch = await store.ledger.open_epoch(1)
        cards = [token_card(model) for model in MODELS]
        shillings = [RateCard(model, "KES", 5, 1, 7, 9) for model in MODELS]
        self.cards = list(await store.rate_cards.pin([*cards, *shillings]))
        for number in range(3):
            account = await store.accounts.create_account(f"customer {number}", 1, BY)
            self.accounts.append(account)
            for index in range(2):
                digest = (number * 10 + index).to_bytes(32)
                self.keys.append(
                    await store.keys.create_key(
                        account.id, f"key {index}", GROUPS[index], digest, "…abcd", 1, BY
                    )
                )
            await self.credit(store, account)

    async def credit(self, store: Store, account: Account) -> None:
        """To its own wallets, and one to an end user's."""
        for asset, end_user in ((TOKEN, ""), ("KES", ""), (TOKEN, "ann")):
            await store.accounts.transfer(
                *(account.id, asset, 300, Line.CASH, TransactionKind.CREDIT),
                *("credit", 1, BY, end_user),
            )

    async def serve(self, store: Store, count: int) -> None:
        """So many answers at once; some are charged nothing, some more than there is."""
        await asyncio.gather(*(self._serve(store) for _ in range(count)))

    async def _serve(self, store: Store) -> None:
        draw = self.random
        self.served += 1
        hold_id = f"receipt-{self.served}"
        key = draw.choice(self.keys)
        card = draw.choice(self.cards)
        end_user = draw.choice(END_USERS)
        is_his = end_user == "ann" and card.asset == TOKEN and draw.random() < 0.5
        hold = Hold(
            *(hold_id, key.account_id, card.asset, 0, self.epoch, key.id, card.model, card.id, 1),
            end_user,
            sub_wallet="ann" if is_his else "",
        )
        ended_ms = BEGIN_MS + self.served * 60_000 + draw.randrange(HOUR_MS)
        if draw.random() < 0.1:
            ended_ms -= draw.randrange(40 * HOUR_MS)
        input_tokens = draw.randrange(50)
        cached = draw.randrange(input_tokens + 1)
        count = a_count(input_tokens, draw.randrange(30), cached_tokens=cached)
        amount = draw.choice((0, 0, 1, draw.randrange(20), draw.randrange(400)))
        assert (await store.ledger.place(hold)).placed
        charge = Charge(hold_id, amount, count, Ending.COMPLETED, "local:m", ended_ms)
        receipt = await store.ledger.post(charge)
        self.charged.append((key.account_id, receipt))

    def some_selection(self) -> Selection:
        """For usage: its times are whole hours."""
        draw = self.random
        hours = sorted(draw.sample(range(-40, self.served // 60 + 2), 2))
        start, end = (BEGIN_MS + hour * HOUR_MS for hour in hours)
        return Selection(
            account_id=draw.choice((None, None, draw.choice(self.accounts).id)),
            key_id=draw.choice((None, None, draw.choice(self.keys).id)),
            end_user=draw.choice((None, None, "", "ann", "=cmd", "nobody")),
            model=draw.choice((None, None, *MODELS)),
            start_ms=draw.choice((None, start)),
            end_ms=draw.choice((None, end)),
        )

    def selected(self, selection: Selection) -> Sequence[tuple[int, Receipt]]:
        return [
            (account_id, receipt)
            for account_id, receipt in self.charged
            if selection.account_id in (None, account_id)
            and selection.key_id in (None, receipt.key_id)
            and selection.end_user in (None, receipt.end_user or "")
            and selection.model in (None, receipt.model)
            and (selection.start_ms is None or receipt.ended_ms >= selection.start_ms)
            and (selection.end_ms is None or receipt.ended_ms < selection.end_ms)
        ]

    def usage(self, selection: Selection, by: Sequence[Dimension]) -> Sequence[UsageRow]:
        """What ``Reports.usage`` has to say, from the receipts."""
        sums: defaultdict[tuple[int | str, ...], list[Receipt]] = defaultdict(list)
        for _, receipt in self.selected(selection):
            apart = tuple(_TOLD_APART[dimension](receipt) for dimension in by)
            sums[*apart, receipt.asset].append(receipt)
        return [_row(by, key, sums[key]) for key in sorted(sums)]

    def spent(self, subject: Subject, identity: tuple[int | str, ...], since: int) -> list[Spent]:
        """What ``Reports.spent`` has to say, from the receipts."""
        members = {key.id for key in self.keys if key.group == identity[0]}
        belongs: dict[Subject, Callable[[int, Receipt], bool]] = {
            Subject.KEY: lambda _, receipt: receipt.key_id == identity[0],
            Subject.ACCOUNT: lambda account_id, _: account_id == identity[0],
            Subject.GROUP: lambda _, receipt: receipt.key_id in members,
            Subject.END_USER: lambda account_id, receipt: (
                (account_id, receipt.end_user) == identity
            ),
            Subject.MODEL: lambda _, receipt: receipt.model == identity[0],
        }
        hours: dict[int, Spent] = {}
        for account_id, receipt in self.charged:
            hour = _hour(receipt)
            if not belongs[subject](account_id, receipt) or hour < since - since % HOUR_MS:
                continue
            before = hours.get(hour, Spent(hour, 0, 0, {}))
            amount = before.amounts.get(receipt.asset, 0) + receipt.amount
            hours[hour] = Spent(
                hour,
                before.requests + 1,
                before.tokens + receipt.usage.total_tokens,
                {**before.amounts, receipt.asset: amount},
            )
        return [hours[hour] for hour in sorted(hours)]


def _hour(receipt: Receipt) -> int:
    return receipt.ended_ms - receipt.ended_ms % HOUR_MS


def _at(receipt: Receipt) -> datetime:
    return datetime.fromtimestamp(receipt.ended_ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return int(at.timestamp()) * 1000


_MIDNIGHT = {"hour": 0, "minute": 0, "second": 0, "microsecond": 0}
_TOLD_APART: dict[Dimension, Callable[[Receipt], int | str]] = {
    Dimension.HOUR: _hour,
    Dimension.DAY: lambda receipt: _ms(_at(receipt).replace(**_MIDNIGHT)),  # type: ignore[arg-type]
    Dimension.MONTH: lambda receipt: _ms(_at(receipt).replace(day=1, **_MIDNIGHT)),  # type: ignore[arg-type]
    Dimension.ACCOUNT: lambda receipt: receipt.account,
    Dimension.KEY: lambda receipt: receipt.key_id,
    Dimension.END_USER: lambda receipt: receipt.end_user or "",
    Dimension.MODEL: lambda receipt: receipt.model,
}
_FIELDS = {Dimension.ACCOUNT: "account", Dimension.KEY: "key_id"}
_FIELDS |= {Dimension.END_USER: "end_user", Dimension.MODEL: "model"}


def _row(
    by: Sequence[Dimension], key: tuple[int | str, ...], charged: Sequence[Receipt]
) -> UsageRow:
    usages = [receipt.usage for receipt in charged]
    apart = {_FIELDS.get(name, "start_ms"): value for name, value in zip(by, key, strict=False)}
    return UsageRow(
        asset=str(key[-1]),
        requests=len(charged),
        usage=Usage(
            *(sum(getattr(usage, name) for usage in usages) for name in Usage.__struct_fields__)
        ),
        amount=sum(receipt.amount for receipt in charged),
        overrun=sum(receipt.overrun for receipt in charged),
        **apart,  # type: ignore[arg-type]
    )
